import type { ListedObject, ObjectStore } from "./object-store.ts";

/**
 * A store as it was when it was listed: `head` and `list` need no request, and later objects do not exist in it.
 * Bytes come from the store itself; a read with the listed etag notices objects that were replaced since.
 */
export function snapshotStore(store: ObjectStore, objects: Iterable<ListedObject>): ObjectStore {
  const known = new Map([...objects].map((object) => [object.key, object]));
  return {
    head: async (key) => {
      const found = known.get(key);
      return found && { byteLength: found.byteLength, etag: found.etag };
    },
    get: async (key, options) => (known.has(key) ? store.get(key, options) : undefined),
    getRange: async (key, offset, length, options) =>
      known.has(key) ? store.getRange(key, offset, length, options) : undefined,
    put: (key, bytes, options) => store.put(key, bytes, options),
    list: async function* (prefix) {
      for (const key of [...known.keys()].sort()) if (key.startsWith(prefix)) yield key;
    },
  };
}
