import { ObjectChangedError, StorageError } from "../../../src/storage/errors.ts";
import type {
  ListedObject,
  ObjectInfo,
  ObjectStore,
  PutOptions,
  RangeOptions,
  ReadOptions,
  StoredObject,
} from "../../../src/storage/object-store.ts";
import type { StoreCall, StoreReply } from "./protocol.ts";

/** Client of the store in the Worker; throws the same errors. */
export class RemoteStore implements ObjectStore {
  readonly #url: URL;
  readonly #prefix: string;

  readonly #maxWholeBytes: number | undefined;

  constructor(url: URL, prefix: string, maxWholeBytes?: number) {
    this.#url = url;
    this.#prefix = prefix;
    this.#maxWholeBytes = maxWholeBytes;
  }

  head(key: string, options?: ReadOptions): Promise<ObjectInfo | undefined> {
    return this.#call({ method: "head", key }, options);
  }

  async get(key: string, options?: ReadOptions): Promise<StoredObject | undefined> {
    const found = await this.#call<{ bytes: number[] } & ObjectInfo>({ method: "get", key }, options);
    return found && { ...found, bytes: Uint8Array.from(found.bytes) };
  }

  async getRange(key: string, offset: number, length: number, options?: RangeOptions) {
    const { ifMatch } = options ?? {};
    const bytes = await this.#call<number[]>({ method: "getRange", key, offset, length, ifMatch }, options);
    return bytes && Uint8Array.from(bytes);
  }

  async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<boolean> {
    const { ifNoneMatch } = options ?? {};
    return (await this.#call<boolean>({ method: "put", key, bytes: [...bytes], ifNoneMatch }, options))!;
  }

  async *list(prefix: string, options?: ReadOptions): AsyncIterable<string> {
    yield* (await this.#call<string[]>({ method: "list", key: prefix }, options))!;
  }

  async objects(prefix: string): Promise<ListedObject[]> {
    return (await this.#call<ListedObject[]>({ method: "objects", key: prefix }))!;
  }

  async #call<T>(call: Omit<StoreCall, "prefix">, options?: ReadOptions): Promise<T | undefined> {
    const maxWholeBytes = this.#maxWholeBytes;
    const aborted = options?.signal?.aborted;
    const body = JSON.stringify({ ...call, prefix: this.#prefix, aborted, maxWholeBytes });
    const response = await fetch(this.#url, { method: "POST", body });
    const { value, error } = (await response.json()) as StoreReply;
    if (!error) return value as T | undefined;
    if (error.name === "ObjectChangedError") throw new ObjectChangedError(call.key);
    if (error.name === "TypeError") throw new TypeError(error.message);
    if (error.name === "StorageError") throw new StorageError(error.message, { retryable: error.retryable! });
    throw new Error(`${error.name}: ${error.message}`);
  }
}
