import { HttpError } from "../../service/http-error.ts";
import { StorageError } from "../../storage/errors.ts";
import type { ObjectStore } from "../../storage/object-store.ts";

/**
 * The same store, but errors that its `fetch` threw on purpose come out unwrapped. `HttpStore` takes every error of `fetch`
 * for a lost connection, which would be retried.
 */
export function withUnwrappedErrors(store: ObjectStore): ObjectStore {
  const plain = <T>(answer: Promise<T>): Promise<T> =>
    answer.catch((error: unknown) => {
      const cause = error instanceof StorageError ? error.cause : undefined;
      throw cause instanceof HttpError || cause instanceof StorageError ? cause : error;
    });
  return {
    head: (key, o) => plain(store.head(key, o)),
    get: (key, o) => plain(store.get(key, o)),
    getRange: (key, offset, length, o) => plain(store.getRange(key, offset, length, o)),
    put: (key, bytes, o) => plain(store.put(key, bytes, o)),
    list: (prefix, o) => store.list(prefix, o),
  };
}
