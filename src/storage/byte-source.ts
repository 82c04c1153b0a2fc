import { LRUCache } from "lru-cache";
import { ImageFormatError } from "../image/errors.ts";
import { forEachConcurrent } from "./concurrency.ts";
import { ObjectChangedError, StorageError } from "./errors.ts";
import type { ObjectInfo, ObjectStore } from "./object-store.ts";

export interface ByteRange {
  offset: number;
  length: number;
}

/**
 * Small reads are widened to blocks of this size: a TIFF directory and the values it points to then take one request.
 */
const BLOCK_BYTES = 64 * 1024;
const CACHED_BLOCKS = 64;
const CACHED_PARTS = 64;

/** Ranges closer than this are merged: the extra bytes cost less than the latency of a request. */
const COALESCE_GAP_BYTES = 16 * 1024;
const COALESCE_MAX_BYTES = 8 * 2 ** 20;

/** A Worker may have six connections waiting for headers; further ones would queue. */
const MAX_PARALLEL_READS = 6;

/** A cache of ranges of an object by offset, bounded in bytes. */
class ByteCache {
  readonly #maxBytes: number;
  readonly #parts: LRUCache<number, Uint8Array> | undefined;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    if (maxBytes > 0) {
      this.#parts = new LRUCache({ maxSize: maxBytes, sizeCalculation: (part) => part.length || 1 });
    }
  }

  get({ offset, length }: ByteRange): Uint8Array | undefined {
    const part = this.#parts?.get(offset);
    return part?.length === length ? part : undefined;
  }

  keep({ offset, length }: ByteRange, bytes: Uint8Array): void {
    if (length > this.#maxBytes / 4 || this.#parts?.has(offset)) return;
    // A copy, unless the range is the whole buffer: a view would keep the buffer alive.
    this.#parts?.set(offset, bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice());
  }
}

/**
 * One object read by ranges, pinned to the etag it had when opened. `read` is for metadata and uses a small block
 * cache. `readRanges` is for tiles: exact ranges, neighbours merged, cached while there is space.
 */
export class ByteSource {
  readonly key: string;
  readonly byteLength: number;
  readonly etag: string;
  readonly #store: ObjectStore;
  readonly #tiles: ByteCache;
  /** Values, not promises: on Workers a promise belongs to the request that made it. */
  readonly #blocks = new LRUCache<number, Uint8Array>({ max: CACHED_BLOCKS });
  /** What `readWithin` has read, by offset. */
  readonly #parts = new LRUCache<number, Uint8Array>({ max: CACHED_PARTS });
  #bytesRead = 0;

  /** @param cacheBytes of stored tiles, cached for reads of their neighbours */
  constructor(store: ObjectStore, key: string, info: ObjectInfo, cacheBytes = 0) {
    this.#tiles = new ByteCache(cacheBytes);
    this.key = key;
    this.byteLength = info.byteLength;
    this.etag = info.etag;
    this.#store = store;
  }

  /** Bytes requested from the storage so far. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /**
   * Reads bytes `[offset, offset + length)` through the block cache.
   * @throws {ImageFormatError} when the range ends behind the object: the file is cut short or its header is wrong
   */
  async read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    this.checkInside({ offset, length });
    return this.readUpTo(offset, length, signal);
  }

  /**
   * Reads bytes `[offset, offset + length)`, and on a miss those of `around` with them, and no others: for metadata among data
   * that must not be read. Shorter at the end of the object.
   * @param around contains the range
   */
  async readWithin(range: ByteRange, around: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    const inside = this.#cut(range);
    const known = this.#inBlocks(inside) ?? this.#inParts(inside);
    if (known) return known;
    const wider = this.#cut(around);
    const bytes = await this.#fetch(wider, signal);
    if (wider.length <= BLOCK_BYTES) this.#parts.set(wider.offset, bytes);
    const from = inside.offset - wider.offset;
    return bytes.slice(from, from + inside.length);
  }

  /** Like `read`, but shorter at the end of the object. */
  async readUpTo(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    const start = Math.min(offset, this.byteLength);
    const end = Math.min(offset + length, this.byteLength);
    const firstBlock = Math.floor(start / BLOCK_BYTES);
    const endBlock = Math.ceil(end / BLOCK_BYTES);
    if (endBlock - firstBlock > CACHED_BLOCKS / 2)
      return this.#fetch({ offset: start, length: end - start }, signal);

    const out = new Uint8Array(end - start);
    let missingFrom = -1;
    for (let b = firstBlock; b <= endBlock; b++) {
      const missing = b < endBlock && !this.#blocks.has(b);
      if (missing && missingFrom < 0) missingFrom = b;
      if (!missing && missingFrom >= 0) {
        await this.#fetchBlocks(missingFrom, b, signal);
        missingFrom = -1;
      }
    }
    for (let b = firstBlock; b < endBlock; b++) {
      const at = b * BLOCK_BYTES;
      const block = this.#blocks.get(b) ?? (await this.#fetch(this.#blockRange(b, b + 1), signal));
      this.#blocks.set(b, block);
      const from = Math.max(start, at);
      out.set(block.subarray(from - at, Math.min(end, at + block.length) - at), from - start);
    }
    return out;
  }

  /**
   * Reads exact ranges; ranges close to each other share a request. @returns the ranges in the given order
   * @throws {ImageFormatError} when a range ends behind the object
   */
  async readRanges(ranges: readonly ByteRange[], signal?: AbortSignal): Promise<Uint8Array[]> {
    for (const range of ranges) this.checkInside(range);
    const results = ranges.map((range) => this.#tiles.get(range) ?? this.#inBlocks(range));
    const order = ranges
      .map((_, i) => i)
      .filter((i) => results[i] === undefined)
      .sort((a, b) => ranges[a]!.offset - ranges[b]!.offset);
    const groups: { range: ByteRange; members: number[] }[] = [];
    for (const i of order) {
      const { offset, length } = ranges[i]!;
      const last = groups.at(-1);
      const lastEnd = last ? last.range.offset + last.range.length : 0;
      const end = Math.max(lastEnd, offset + length);
      if (
        last &&
        offset - lastEnd <= COALESCE_GAP_BYTES &&
        (end - last.range.offset <= COALESCE_MAX_BYTES || end === lastEnd)
      ) {
        last.range.length = end - last.range.offset;
        last.members.push(i);
      } else {
        groups.push({ range: { offset, length }, members: [i] });
      }
    }
    await forEachConcurrent(groups, MAX_PARALLEL_READS, async ({ range, members }) => {
      const bytes = await this.#fetch(range, signal);
      for (const i of members) {
        const from = ranges[i]!.offset - range.offset;
        const part = bytes.subarray(from, from + ranges[i]!.length);
        results[i] = part;
        this.#tiles.keep(ranges[i]!, part);
      }
    });
    return results as Uint8Array[];
  }

  #cut({ offset, length }: ByteRange): ByteRange {
    const start = Math.min(offset, this.byteLength);
    return { offset: start, length: Math.min(length, this.byteLength - start) };
  }

  /** A copy of the range, if it lies in cached blocks. */
  #inBlocks({ offset, length }: ByteRange): Uint8Array | undefined {
    if (length > BLOCK_BYTES) return undefined;
    const first = Math.floor(offset / BLOCK_BYTES);
    const end = Math.max(first + 1, Math.ceil((offset + length) / BLOCK_BYTES));
    const out = new Uint8Array(length);
    for (let b = first; b < end; b++) {
      const block = this.#blocks.get(b);
      if (block === undefined) return undefined;
      const at = b * BLOCK_BYTES;
      const from = Math.max(offset, at);
      out.set(block.subarray(from - at, Math.min(offset + length, at + block.length) - at), from - offset);
    }
    return out;
  }

  #inParts({ offset, length }: ByteRange): Uint8Array | undefined {
    for (const [at, part] of this.#parts.entries())
      if (at <= offset && offset + length <= at + part.length) {
        this.#parts.get(at);
        return part.slice(offset - at, offset - at + length);
      }
    return undefined;
  }

  #blockRange(first: number, end: number): ByteRange {
    const offset = first * BLOCK_BYTES;
    return { offset, length: Math.min(end * BLOCK_BYTES, this.byteLength) - offset };
  }

  async #fetchBlocks(first: number, end: number, signal?: AbortSignal): Promise<void> {
    const bytes = await this.#fetch(this.#blockRange(first, end), signal);
    for (let b = first; b < end; b++) {
      const at = (b - first) * BLOCK_BYTES;
      this.#blocks.set(b, end - first === 1 ? bytes : bytes.slice(at, at + BLOCK_BYTES));
    }
  }

  async #fetch({ offset, length }: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    if (length === 0) return new Uint8Array(0);
    const bytes = await this.#store.getRange(this.key, offset, length, { ifMatch: this.etag, signal });
    if (bytes === undefined) throw new ObjectChangedError(this.key);
    if (bytes.length !== length) {
      throw new StorageError(
        `${this.key}: asked for ${length} bytes at ${offset} and got ${bytes.length}; try again`,
        { retryable: true },
      );
    }
    this.#bytesRead += length;
    return bytes;
  }

  /** @throws {ImageFormatError} when the range ends behind the object */
  checkInside({ offset, length }: ByteRange): void {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.byteLength)) {
      throw new ImageFormatError(
        `${this.key} is cut short or damaged: it points to bytes ${offset} to ${offset + length} but ends at ${this.byteLength}; copy the file again`,
      );
    }
  }
}
