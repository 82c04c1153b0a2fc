import { sha256Hex } from "./digest.ts";
import { ObjectChangedError, StorageError } from "./errors.ts";
import type { ObjectInfo, ObjectStore, RangeOptions, ReadOptions, StoredObject } from "./object-store.ts";

/** Bytes that are in memory or behind a handle: a `File` of a browser, a `Blob`, an array. */
export type BlobLike = Blob | Uint8Array;

/**
 * One object without a disk or a server, under `key`; read-only. A `Blob` is read by ranges, so a `File` may be larger
 * than memory. The etag of bytes is their hash, and that of a file its size and time. A `Blob` without a time has an
 * etag of its own in each store, so that nothing is ever continued with other bytes.
 */
export class BlobStore implements ObjectStore {
  readonly #key: string;
  readonly #content: BlobLike;
  readonly #byteLength: number;
  #etag: string | undefined;

  constructor(key: string, content: BlobLike) {
    this.#key = key;
    this.#content = content;
    this.#byteLength = content instanceof Uint8Array ? content.length : content.size;
  }

  async head(key: string, options?: ReadOptions): Promise<ObjectInfo | undefined> {
    options?.signal?.throwIfAborted();
    if (key !== this.#key) return undefined;
    this.#etag ??= await computeEtag(this.#content);
    return { byteLength: this.#byteLength, etag: this.#etag };
  }

  async get(key: string, options?: ReadOptions): Promise<StoredObject | undefined> {
    const info = await this.head(key, options);
    return info && { ...info, bytes: await this.#slice(0, this.#byteLength) };
  }

  async getRange(
    key: string,
    offset: number,
    length: number,
    options?: RangeOptions,
  ): Promise<Uint8Array | undefined> {
    const info = await this.head(key, options);
    if (info === undefined) return undefined;
    if (options?.ifMatch !== undefined && options.ifMatch !== info.etag) throw new ObjectChangedError(key);
    const start = offset < 0 ? Math.max(0, this.#byteLength + offset) : offset;
    return this.#slice(start, start + length);
  }

  /** @throws {StorageError} always: nothing can be written */
  async put(key: string): Promise<boolean> {
    throw new StorageError(`${key} cannot be written: its store is read-only`, { retryable: false });
  }

  async *list(prefix: string, options?: ReadOptions): AsyncIterable<string> {
    options?.signal?.throwIfAborted();
    if (this.#key.startsWith(prefix)) yield this.#key;
  }

  async #slice(start: number, end: number): Promise<Uint8Array> {
    if (this.#content instanceof Uint8Array) return this.#content.slice(start, end);
    try {
      return new Uint8Array(await this.#content.slice(start, end).arrayBuffer());
    } catch (cause) {
      // File API, section 9: a file that changed after it was chosen cannot be read any more.
      if ((cause as Error)?.name === "NotReadableError") throw new ObjectChangedError(this.#key);
      throw new StorageError(`${this.#key} cannot be read: ${(cause as Error)?.message ?? cause}`, {
        retryable: false,
        cause,
      });
    }
  }
}

async function computeEtag(content: BlobLike): Promise<string> {
  if (content instanceof Uint8Array) return `"${await sha256Hex(content, 16)}"`;
  const { lastModified } = content as Partial<File>;
  return lastModified === undefined
    ? `"${crypto.randomUUID()}"`
    : `"${content.size.toString(16)}-${lastModified.toString(16)}"`;
}
