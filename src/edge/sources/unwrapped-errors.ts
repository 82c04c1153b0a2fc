import { HttpError } from "../../service/http-error.ts";
import { StorageError } from "../../storage/errors.ts";
import type { ObjectStore } from "../../storage/object-store.ts";

/**
 * The same store, whose refusals come out as they were thrown by its `fetch`. `HttpStore` takes whatever `fetch` throws
 * for a lost connection and would have it tried again.
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
