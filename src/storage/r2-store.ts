import type { R2Bucket, R2Object } from "@cloudflare/workers-types";
import { ObjectChangedError, StorageError } from "./errors.ts";
import { checkKey } from "./key.ts";
import type {
  ListedObject,
  ObjectInfo,
  ObjectStore,
  PutOptions,
  RangeOptions,
  ReadOptions,
  StoredObject,
} from "./object-store.ts";

/** Internal error, unavailable, too many requests, slow down: the codes for which R2's manual advises a retry. */
const RETRYABLE = new Set([10001, 10043, 10054, 10058]);

export interface R2StoreOptions {
  /** Prepended to every key, with its final "/". */
  prefix?: string;
  /** Keys per page of a listing; R2 returns at most 1000, which is the default. */
  pageSize?: number;
  /** Largest object that is read whole; a larger one is an error. */
  maxWholeBytes?: number;
}

/**
 * An R2 bucket through a Worker's binding. The binding takes no signal: an aborted call still runs, and its result is
 * dropped.
 */
export class R2Store implements ObjectStore {
  readonly #bucket: R2Bucket;
  readonly #prefix: string;
  readonly #pageSize: number | undefined;
  readonly #maxWholeBytes: number;

  constructor(bucket: R2Bucket, options: R2StoreOptions = {}) {
    this.#bucket = bucket;
    this.#prefix = options.prefix ?? "";
    this.#pageSize = options.pageSize;
    this.#maxWholeBytes = options.maxWholeBytes ?? Number.POSITIVE_INFINITY;
  }

  async head(key: string, options?: ReadOptions): Promise<ObjectInfo | undefined> {
    const found = await this.#call(key, options, (name) => this.#bucket.head(name));
    return found ? toObjectInfo(found) : undefined;
  }

  async get(key: string, options?: ReadOptions): Promise<StoredObject | undefined> {
    return this.#call(key, options, async (name) => {
      const found = await this.#bucket.get(name);
      if (found && found.size > this.#maxWholeBytes) {
        await found.body.cancel().catch(() => {});
        throw tooLargeError(key, found.size, this.#maxWholeBytes);
      }
      return found ? { ...toObjectInfo(found), bytes: new Uint8Array(await found.arrayBuffer()) } : undefined;
    });
  }

  async getRange(
    key: string,
    offset: number,
    length: number,
    options?: RangeOptions,
  ): Promise<Uint8Array | undefined> {
    if (length === 0) return new Uint8Array(0);
    // A suffix range always reaches to the end: bytes beyond `length` are cut off below.
    const range = offset < 0 ? { suffix: -offset } : { offset, length };
    const onlyIf = options?.ifMatch === undefined ? undefined : { etagMatches: options.ifMatch };
    return this.#call(key, options, async (name) => {
      const found = await this.#bucket.get(name, { range, onlyIf }).catch(async (error: unknown) => {
        // R2 rejects a range that begins behind the end (the emulator without a code); the size tells this case
        // apart.
        const whole = await this.#bucket.head(name);
        if (whole && (whole.size === 0 || offset >= whole.size)) return new Uint8Array(0);
        throw error;
      });
      if (!found) return undefined;
      if (found instanceof Uint8Array) return found;
      if (!("arrayBuffer" in found)) throw new ObjectChangedError(key);
      return new Uint8Array(await found.arrayBuffer()).subarray(0, length);
    });
  }

  async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<boolean> {
    const written = await this.#call(key, options, (name) =>
      this.#bucket.put(name, bytes, {
        onlyIf: options?.ifNoneMatch === "*" ? { etagDoesNotMatch: "*" } : undefined,
        httpMetadata: options?.contentType ? { contentType: options.contentType } : undefined,
      }),
    );
    return written !== null;
  }

  async *list(prefix: string, options?: ReadOptions): AsyncIterable<string> {
    for await (const { key } of this.objects(prefix, options)) yield key;
  }

  /** Like `list`, with what is known of each object: R2 returns both in one response. */
  async *objects(prefix: string, options?: ReadOptions): AsyncIterable<ListedObject> {
    let cursor: string | undefined;
    do {
      options?.signal?.throwIfAborted();
      const page = await this.#guard(`${prefix}*`, () =>
        this.#bucket.list({ prefix: this.#prefix + prefix, cursor, limit: this.#pageSize }),
      );
      for (const object of page.objects)
        yield { key: object.key.slice(this.#prefix.length), ...toObjectInfo(object) };
      cursor = page.truncated ? page.cursor : undefined;
    } while (cursor !== undefined);
  }

  async #call<T>(
    key: string,
    options: ReadOptions | undefined,
    call: (name: string) => Promise<T>,
  ): Promise<T> {
    checkKey(key);
    options?.signal?.throwIfAborted();
    const answer = await this.#guard(key, () => call(this.#prefix + key));
    options?.signal?.throwIfAborted();
    return answer;
  }

  async #guard<T>(key: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (cause) {
      if (cause instanceof ObjectChangedError || cause instanceof StorageError) throw cause;
      const retryable = RETRYABLE.has(parseErrorCode(cause) ?? 0);
      throw new StorageError(
        `R2 refuses ${this.#prefix}${key} (${(cause as Error).message}); ${retryable ? "try again later" : "check the bucket's binding"}`,
        { retryable, cause },
      );
    }
  }
}

function tooLargeError(key: string, byteLength: number, limit: number): StorageError {
  return new StorageError(
    `${key} has ${byteLength} bytes, over the ${limit} that are read at once; write it in smaller chunks`,
    { retryable: false },
  );
}

function toObjectInfo(object: R2Object): ObjectInfo {
  return { byteLength: object.size, etag: object.etag };
}

/** R2's errors carry their number only in the message: "get: … (10001)". */
function parseErrorCode(error: unknown): number | undefined {
  const match = /\((\d{5})\)\s*$/.exec((error as Error)?.message ?? "");
  return match ? Number(match[1]) : undefined;
}
