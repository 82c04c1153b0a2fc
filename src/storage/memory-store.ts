import { ObjectChangedError } from "./errors.ts";
import { checkKey } from "./key.ts";
import type {
  ObjectInfo,
  ObjectStore,
  PutOptions,
  RangeOptions,
  ReadOptions,
  StoredObject,
} from "./object-store.ts";

/** Objects in a map: for tests, and for bytes that are already in memory. Bytes are copied in and out. */
export class MemoryStore implements ObjectStore {
  readonly #objects = new Map<string, { bytes: Uint8Array; etag: string }>();
  #writes = 0;

  constructor(objects: Record<string, Uint8Array> = {}) {
    for (const [key, bytes] of Object.entries(objects)) this.#set(key, bytes);
  }

  async head(key: string, options?: ReadOptions): Promise<ObjectInfo | undefined> {
    options?.signal?.throwIfAborted();
    const object = this.#objects.get(key);
    return object && { byteLength: object.bytes.length, etag: object.etag };
  }

  async get(key: string, options?: ReadOptions): Promise<StoredObject | undefined> {
    options?.signal?.throwIfAborted();
    const object = this.#objects.get(key);
    return object && { byteLength: object.bytes.length, etag: object.etag, bytes: object.bytes.slice() };
  }

  async getRange(
    key: string,
    offset: number,
    length: number,
    options?: RangeOptions,
  ): Promise<Uint8Array | undefined> {
    options?.signal?.throwIfAborted();
    const object = this.#objects.get(key);
    if (object === undefined) return undefined;
    if (options?.ifMatch !== undefined && options.ifMatch !== object.etag) throw new ObjectChangedError(key);
    const start = offset < 0 ? Math.max(0, object.bytes.length + offset) : offset;
    return object.bytes.slice(start, start + length);
  }

  async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<boolean> {
    options?.signal?.throwIfAborted();
    if (options?.ifNoneMatch === "*" && this.#objects.has(key)) return false;
    this.#set(key, bytes);
    return true;
  }

  async *list(prefix: string, options?: ReadOptions): AsyncIterable<string> {
    for (const key of [...this.#objects.keys()].sort()) {
      options?.signal?.throwIfAborted();
      if (key.startsWith(prefix)) yield key;
    }
  }

  #set(key: string, bytes: Uint8Array): void {
    checkKey(key);
    this.#objects.set(key, { bytes: bytes.slice(), etag: `"${++this.#writes}"` });
  }
}
