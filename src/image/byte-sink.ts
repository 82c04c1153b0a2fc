import type { WrittenOutput } from "./label-sink.ts";

/**
 * A file that grows only at its end, so that a disk file and a multipart upload are written alike.
 * The first bytes may be written provisionally and are replaced by `finish(head)` once they are known.
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
