import { MAX_PREFIX_OBJECTS } from "../../contracts/folder-limits.ts";
import { ZARR_NODES } from "../../readers/zarr/zarr-reader.ts";
import type { ListedObject, ObjectInfo, ObjectStore } from "../../storage/object-store.ts";
import { prefixEtag } from "../../storage/prefix-etag.ts";
import { snapshotStore } from "../../storage/snapshot-store.ts";
import { isObjectKey } from "../shared/object-key.ts";
import { sourceRefusedError } from "./allowed-fetch.ts";
import type { SourceStore } from "./open-source-store.ts";

/** The content at an address. */
export type ResolvedSource =
  | { kind: "object"; info: ObjectInfo; store: ObjectStore }
  /** The etag is known once it is opened. */
  | { kind: "zarr"; store: ObjectStore }
  /** `objects` have keys as in `store`, which is a snapshot of them. */
  | { kind: "prefix"; info: ObjectInfo; store: ObjectStore; objects: readonly ListedObject[] };

/**
 * Distinguishes an object, an OME-Zarr, and a prefix of other objects, like opening an image on disk.
 * @returns undefined where nothing is there
 * @throws {HttpError} 422 where too many objects lie below the prefix
 */
export async function resolveSource(
  { store, key, uri, objects }: SourceStore,
  signal: AbortSignal,
): Promise<ResolvedSource | undefined> {
  const isNamedZarr = key.toLowerCase().endsWith(".zarr");
  if (isNamedZarr && (await isZarr(store, key, signal))) return { kind: "zarr", store };
  const info = await store.head(key, { signal });
  if (info) return { kind: "object", info, store };
  if (!isNamedZarr && (await isZarr(store, key, signal))) return { kind: "zarr", store };
  const found = objects ? await objectsBelow(objects, key, uri, signal) : [];
  if (found.length === 0) return undefined;
  const etag = await prefixEtag(found.map((o) => ({ ...o, key: o.key.slice(key.length + 1) })));
  const byteLength = found.reduce((sum, o) => sum + o.byteLength, 0);
  return { kind: "prefix", info: { etag, byteLength }, store: snapshotStore(store, found), objects: found };
}

async function isZarr(store: ObjectStore, key: string, signal: AbortSignal): Promise<boolean> {
  for (const name of ZARR_NODES) if (await store.head(`${key}/${name}`, { signal })) return true;
  return false;
}

async function objectsBelow(
  objects: NonNullable<SourceStore["objects"]>,
  key: string,
  uri: string,
  signal: AbortSignal,
): Promise<ListedObject[]> {
  const found: ListedObject[] = [];
  let others = 0;
  for await (const object of objects(`${key}/`, { signal })) {
    // Other keys are folder markers of some consoles, or keys that no reader opens.
    if (!isObjectKey(object.key)) {
      if (++others > MAX_PREFIX_OBJECTS)
        throw sourceRefusedError(
          `more than ${MAX_PREFIX_OBJECTS} objects below ${uri} have invalid keys; give the prefix of one series`,
        );
      continue;
    }
    if (found.push(object) > MAX_PREFIX_OBJECTS)
      throw sourceRefusedError(
        `more than ${MAX_PREFIX_OBJECTS} objects lie below ${uri}; give the prefix of one series, or one archive of it`,
      );
  }
  return found;
}
