import { sha256Hex } from "./digest.ts";
import type { ListedObject } from "./object-store.ts";

/**
 * One etag for all objects below a prefix, made of their names, etags and sizes: another where any object was added,
 * removed or written anew, and the same in whatever order and with or without quotes a storage lists them.
 * @param objects with keys relative to the prefix
 */
export async function prefixEtag(objects: Iterable<ListedObject>): Promise<string> {
  const about = [...objects]
    .map(({ key, etag, byteLength }) => [key, etag.replace(/^"(.*)"$/s, "$1"), byteLength] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return sha256Hex(JSON.stringify(about), 16);
}
