import { Gunzip } from "fflate";
import { ImageFormatError } from "../image/errors.ts";
import type { ByteSource } from "../storage/byte-source.ts";
import { ObjectChangedError, StorageError } from "../storage/errors.ts";

/** Stored bytes read at a time. Inflated they pass in pieces of the platform's choice, 64 KiB at most. */
const PIECE_BYTES = 256 * 1024;

/** What Deflate can make of a byte at most (RFC 1951: 258 bytes from two bits), with room for framing. */
const MAX_RATIO = 1032;

/** The most a gzip file can hold: what promises more is refused before any of it is read. */
export function maxInflatedBytes(byteLength: number): number {
  return byteLength * MAX_RATIO;
}

/** Stored bytes inflated at a time in JavaScript: a bomb makes 33 MB of them. */
const JS_PIECE_BYTES = 32 * 1024;

/** fflate's code for bytes that do not begin as a gzip member does. */
const INVALID_HEADER = 6;

/**
 * `"native"` is the fast one, off the thread. It knows one member only (the Compression Standard forbids more), and on
 * Workers it ends with the request that made it; `"js"` has neither limit.
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

  /** The next `length` inflated bytes, fewer only at the end. */
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

  /** Lets `length` inflated bytes go by; false when there are fewer. */
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

  /** Whether there is anything in the piece at hand. */
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
      // What came before the damage was handed out first.
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
      // Never said to be the last: whoever reads knows how much there must be, and gets what there is.
      try {
        gunzip.push(part, false);
      } catch (cause) {
        // Behind a member lies something that is none: padding, or what a transfer left. gzip and Python pass over it.
        const trailing = (cause as { code?: number }).code === INVALID_HEADER;
        if (trailing && (begun || inflated.length > 0)) ended = true;
        else failure = cause;
      }
      begun ||= inflated.length > 0;
    }
    return inflated.shift();
  };
}
