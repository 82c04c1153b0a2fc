import { Gunzip } from "fflate";
import { ImageFormatError } from "../image/errors.ts";
import type { ByteSource } from "../storage/byte-source.ts";
import { ObjectChangedError, StorageError } from "../storage/errors.ts";

/** Stored bytes read at a time. The platform returns inflated pieces of 64 KiB at most. */
const PIECE_BYTES = 256 * 1024;

/** Largest expansion of Deflate (RFC 1951: 258 bytes from two bits), with room for framing. */
const MAX_RATIO = 1032;

/** Most bytes that a gzip file of this size can hold: files that state more are rejected unread. */
export function maxInflatedBytes(byteLength: number): number {
  return byteLength * MAX_RATIO;
}

/** Stored bytes that JavaScript inflates at a time: a bomb turns them into 33 MB. */
const JS_PIECE_BYTES = 32 * 1024;

/** fflate's error code for bytes that do not begin a gzip member. */
const INVALID_HEADER = 6;

/**
 * `"native"` (DecompressionStream) is fast and off the thread, but reads one member only (the Compression Standard
 * forbids more), and on Workers ends with the request that created it. `"js"` (fflate) has neither limit.
 */
export type GzipImplementation = "native" | "js";

/**
 * Inflates a gzip file front to back, holding one piece of it.
 *
 * Written by hand around DecompressionStream and fflate: neither reads a file by ranges or stops at a bound.
 */
export class GzipStream {
  readonly #source: ByteSource;
  readonly #next: () => Promise<Uint8Array | undefined>;
  readonly #cancel: () => Promise<unknown>;
  #piece: Uint8Array = new Uint8Array(0);

  constructor(source: ByteSource, implementation: GzipImplementation) {
    this.#source = source;
    if (implementation === "native") {
      const reader = openNativeReader(source);
      this.#next = async () => (await reader.read()).value;
      this.#cancel = () => reader.cancel();
    } else {
      this.#next = openJsReader(source);
      this.#cancel = async () => {};
    }
  }

  /** Reads the next `length` inflated bytes; fewer only at the end. */
  async take(length: number, signal?: AbortSignal): Promise<Uint8Array> {
    const out = new Uint8Array(length);
    let filled = 0;
    while (filled < length && (await this.#fill(signal))) {
      const part = this.#piece.subarray(0, length - filled);
      out.set(part, filled);
      filled += part.length;
      this.#piece = this.#piece.subarray(part.length);
    }
    return filled === length ? out : out.subarray(0, filled);
  }

  /** Skips `length` inflated bytes; false when there are fewer. */
  async skip(length: number, signal?: AbortSignal): Promise<boolean> {
    let left = length;
    while (left > 0 && (await this.#fill(signal))) {
      const part = Math.min(left, this.#piece.length);
      this.#piece = this.#piece.subarray(part);
      left -= part;
    }
    return left === 0;
  }

  async close(): Promise<void> {
    await this.#cancel().catch(() => {});
  }

  /** Makes sure that the current piece has bytes; false at the end. */
  async #fill(signal?: AbortSignal): Promise<boolean> {
    while (this.#piece.length === 0) {
      signal?.throwIfAborted();
      const piece = await this.#next().catch((cause) => this.#fail(cause));
      if (piece === undefined) return false;
      this.#piece = piece;
    }
    return true;
  }

  #fail(cause: unknown): never {
    if (cause instanceof StorageError || cause instanceof ObjectChangedError) throw cause;
    throw new ImageFormatError(
      `${this.#source.key} is cut short or damaged: its gzip data cannot be unpacked; copy the file again`,
      { cause },
    );
  }
}

function openNativeReader(source: ByteSource): ReadableStreamDefaultReader<Uint8Array> {
  let at = 0;
  const stored = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      async pull(controller) {
        const length = Math.min(PIECE_BYTES, source.byteLength - at);
        if (length === 0) return controller.close();
        const [bytes] = await source.readRanges([{ offset: at, length }]);
        at += length;
        controller.enqueue(bytes as Uint8Array<ArrayBuffer>);
      },
    },
    { highWaterMark: 0 },
  );
  return stored.pipeThrough(new DecompressionStream("gzip")).getReader();
}

function openJsReader(source: ByteSource): () => Promise<Uint8Array | undefined> {
  const inflated: Uint8Array[] = [];
  const gunzip = new Gunzip((piece) => {
    inflated.push(piece);
  });
  let at = 0;
  let stored: Uint8Array = new Uint8Array(0);
  let begun = false;
  let ended = false;
  let failure: unknown;
  return async () => {
    while (inflated.length === 0) {
      // The bytes before the damage were returned first.
      if (failure !== undefined) throw failure;
      if (ended) return undefined;
      if (stored.length === 0) {
        const length = Math.min(PIECE_BYTES, source.byteLength - at);
        if (length === 0) return undefined;
        stored = (await source.readRanges([{ offset: at, length }]))[0]!;
        at += length;
      }
      const part = stored.subarray(0, JS_PIECE_BYTES);
      stored = stored.subarray(part.length);
      // Never marked as the last: the reader knows how many bytes there must be.
      try {
        gunzip.push(part, false);
      } catch (cause) {
        // Padding or garbage behind a member: gzip and Python ignore it too.
        const trailing = (cause as { code?: number }).code === INVALID_HEADER;
        if (trailing && (begun || inflated.length > 0)) ended = true;
        else failure = cause;
      }
      begun ||= inflated.length > 0;
    }
    return inflated.shift();
  };
}
