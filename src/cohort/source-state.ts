import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { TRANSIENT_CODES } from "../contracts/failure-codes.ts";
import { FsStore } from "../storage/fs-store.ts";
import { openAddress } from "../storage/open-address.ts";
import { parseSourceAddress } from "../storage/source-address.ts";
import type { Flag } from "./flags.ts";
import type { KeyState } from "./journal.ts";

/** What one request says about a source. */
export type SourceState =
  /** `etag` changes with the content. */
  | { kind: "there"; etag: string; byteLength: number }
  /** No object by this name, or several objects in a bucket: only opening it tells. */
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
  const { store, key, close } = await openAddress(source);
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

/** Query parameters of signed addresses, which differ each time. */
const SIGNATURE = /^x-(amz|goog)-/i;

/**
 * The origin of a source on a web server, for its job's identity: an etag identifies a version of one address, not an
 * address (RFC 9110, 8.8.3). Undefined for files and buckets, whose etags come from content or location.
 */
export function sourceOrigin(source: string): string | undefined {
  if (!/^https?:\/\//i.test(source)) return undefined;
  const url = new URL(source);
  for (const name of [...url.searchParams.keys()]) {
    if (SIGNATURE.test(name)) url.searchParams.delete(name);
  }
  url.username = "";
  url.password = "";
  url.hash = "";
  return url.href;
}

/**
 * Decides whether a done or failed scan runs again, from the state of its source now.
 * @returns "again", a flag for its row in the table, or undefined: keep the result as it is
 */
export function decideRerun(
  state: KeyState | undefined,
  seen: SourceState | "unreachable",
): "again" | Flag | undefined {
  if (state?.status === "failed") {
    if (TRANSIENT_CODES.has(state.code)) return "again";
    if (seen === "unreachable") return undefined;
    const etag = seen.kind === "there" ? seen.etag : undefined;
    return etag === state.etag ? undefined : "again";
  }
  if (state?.status !== "done") return undefined;
  if (seen === "unreachable") return "source-not-checked";
  if (state.etag === undefined) return "again";
  if (seen.kind === "unknown") return "source-gone";
  return seen.etag === state.etag ? undefined : "again";
}
