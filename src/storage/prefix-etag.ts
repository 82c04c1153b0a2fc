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
  const text = new TextEncoder().encode(JSON.stringify(about));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", text));
  return Array.from(digest.subarray(0, 16), (b) => b.toString(16).padStart(2, "0")).join("");
}
