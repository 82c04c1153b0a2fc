import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { FsStore } from "../storage/fs-store.ts";
import { locate } from "../storage/locate.ts";
import { parseSourceAddress } from "../storage/source-address.ts";

/** What one request tells of a source. */
export type SourceState =
  /** `etag` changes with the content. */
  | { kind: "there"; etag: string; byteLength: number }
  /** Nothing under this name, or several objects in a bucket: opening it tells. */
  | { kind: "unknown" };

/**
 * Looks a source up without opening it: one request, or for a local directory its files' times and sizes.
 * @throws {StorageError} when the storage cannot be reached
 */
export async function lookUpSource(source: string, signal?: AbortSignal): Promise<SourceState> {
  const address = parseSourceAddress(source);
  if (address.scheme === "file" && statSync(address.path, { throwIfNoEntry: false })?.isDirectory()) {
    return directoryState(address.path, signal);
  }
  const { store, key, close } = await locate(source);
  try {
    const info = await store.head(key, { signal });
    return info ? { kind: "there", ...info } : { kind: "unknown" };
  } finally {
    await close();
  }
}

async function directoryState(directory: string, signal?: AbortSignal): Promise<SourceState> {
  const store = new FsStore(directory);
  const hash = createHash("sha256");
  let byteLength = 0;
  for await (const key of store.list("", { signal })) {
    const info = await store.head(key);
    hash.update(JSON.stringify([key, info?.etag]));
    byteLength += info?.byteLength ?? 0;
  }
  return { kind: "there", etag: hash.digest("hex").slice(0, 32), byteLength };
}
