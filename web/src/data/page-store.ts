import { StorageError } from "../../../src/storage/errors.ts";
import { HttpStore } from "../../../src/storage/http-store.ts";
import type { ObjectStore } from "../../../src/storage/object-store.ts";

/** Where a page finds objects: addresses and the token, in a form that workers can be sent. */
export interface StoreAddress {
  /** Keys are appended to it. */
  base: string;
  /** Lists the keys that start with `?prefix=`, as a JSON array. */
  list?: string;
  /** Sent as a bearer token; never a part of an address. */
  token?: string;
}

/** What the readers ask for first. */
const HEAD_BYTES = 64 * 1024;

/** Objects of the server that served the page, read by ranges. Unlike a plain web server it can list keys. */
export function openPageStore({ base, list, token }: StoreAddress): ObjectStore {
  const headers: Record<string, string> = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  const store = new HttpStore(base, { headers, headBytes: HEAD_BYTES });
  return {
    head: (key, options) => store.head(key, options),
    get: (key, options) => store.get(key, options),
    getRange: (key, offset, length, options) => store.getRange(key, offset, length, options),
    put: (key, bytes, options) => store.put(key, bytes, options),
    async *list(prefix, options) {
      if (list === undefined) return yield* store.list(prefix);
      const response = await fetch(`${list}?prefix=${encodeURIComponent(prefix)}`, {
        headers,
        signal: options?.signal,
      });
      if (!response.ok)
        throw new StorageError(`the list of files cannot be read (status ${response.status}); try again`, {
          retryable: response.status >= 500,
        });
      for (const key of (await response.json()) as string[]) yield key;
    },
  };
}
