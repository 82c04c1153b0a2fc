import type { WrittenOutput } from "./label-sink.ts";

/**
 * An append-only file: the same interface for a file on disk and for a multipart upload. The first bytes may be
 * provisional; `finish(head)` replaces them.
 */
export interface ByteSink {
  /** Bytes appended so far: the offset of the next `append`. */
  readonly byteLength: number;
  append(bytes: Uint8Array): Promise<void>;
  /** Replaces the first `head.length` bytes (at most 4096) and gives the file its final name. */
  finish(head?: Uint8Array): Promise<WrittenOutput>;
  /** Removes what was written. Harmless after `finish`. */
  abort(): Promise<void>;
}
