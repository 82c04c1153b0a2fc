import { sha256Hex } from "./digest.ts";
import type { ListedObject } from "./object-store.ts";

/**
 * One etag for all objects below a prefix, made of their names, etags and sizes. It changes when an object is added,
 * removed or rewritten; it does not depend on the order of the listing or on quotes around etags.
 * @param objects with keys relative to the prefix
 */
export async function prefixEtag(objects: Iterable<ListedObject>): Promise<string> {
  const about = [...objects]
    .map(({ key, etag, byteLength }) => [key, etag.replace(/^"(.*)"$/s, "$1"), byteLength] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return sha256Hex(JSON.stringify(about), 16);
}
