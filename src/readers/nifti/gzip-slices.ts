import pLimit from "p-limit";
import { type GzipImplementation, GzipStream } from "../../codecs/gzip-stream.ts";
import { ImageFormatError } from "../../image/errors.ts";
import type { ByteSource } from "../../storage/byte-source.ts";

export interface SliceLayout {
  /** Inflated bytes before the first slice. */
  offset: number;
  sliceBytes: number;
  count: number;
}

/** Passes over the file before more slices are cached: reading a volume takes a few. */
const PATIENT_PASSES = 4;

/**
 * Slices of a gzip file, which can only be read front to back. The last slices are cached as stored: a plan reads z
 * block by block, and regions that share a block find its slices here. An earlier slice means inflating from the
 * beginning again; if that happens often (slices along another axis), more slices are cached, up to a limit.
 */
export class GzipSlices {
  readonly #source: ByteSource;
  readonly #layout: SliceLayout;
  readonly #maxKept: number;
  readonly #kept = new Map<number, Uint8Array>();
  #capacity: number;
  #implementation: GzipImplementation;
  #stream: GzipStream | undefined;
  /** The next slice of the stream. */
  #next = 0;
  #passes = 0;
  /** One read at a time: all share the stream. */
  readonly #mutex = pLimit(1);

  /**
   * @param keptBytes cache of slices at first
   * @param maxKeptBytes largest cache of slices
   */
  constructor(
    source: ByteSource,
    layout: SliceLayout,
    implementation: GzipImplementation,
    keptBytes: number,
    maxKeptBytes: number,
  ) {
    this.#source = source;
    this.#implementation = implementation;
    this.#layout = layout;
    const slices = (bytes: number) => Math.max(1, Math.floor(bytes / layout.sliceBytes));
    this.#capacity = Math.min(layout.count, slices(keptBytes));
    this.#maxKept = Math.min(layout.count, Math.max(this.#capacity, slices(maxKeptBytes)));
  }

  /** Slice `z` as stored. The bytes are shared: do not write to them. */
  read(z: number, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#mutex(() => this.#kept.get(z) ?? this.#inflateTo(z, signal));
  }

  /** Drops the cache; a later `read` begins again. */
  async close(): Promise<void> {
    this.#kept.clear();
    const stream = this.#stream;
    this.#stream = undefined;
    await stream?.close();
  }

  async #inflateTo(z: number, signal?: AbortSignal): Promise<Uint8Array> {
    try {
      return await this.#forwardTo(z, signal);
    } catch (error) {
      await this.close();
      if (this.#implementation === "js" || signal?.aborted || !(error instanceof ImageFormatError))
        throw error;
      // The file may have several members: the retry with the other implementation shows.
      this.#implementation = "js";
      return this.#forwardTo(z, signal).catch(async (again) => {
        await this.close();
        throw again;
      });
    }
  }

  async #forwardTo(z: number, signal?: AbortSignal): Promise<Uint8Array> {
    signal?.throwIfAborted();
    const { offset, sliceBytes } = this.#layout;
    if (this.#stream === undefined || this.#next > z) await this.#restart();
    const stream = this.#stream!;
    if (this.#next === 0 && !(await stream.skip(offset, signal))) throw this.#cutShort();
    while (true) {
      const slice = await stream.take(sliceBytes, signal);
      if (slice.length < sliceBytes) throw this.#cutShort();
      const at = this.#next++;
      this.#keep(at, slice);
      if (at === z) return slice;
    }
  }

  async #restart(): Promise<void> {
    await this.close();
    if (++this.#passes > PATIENT_PASSES) this.#capacity = Math.min(this.#maxKept, 2 * this.#capacity);
    this.#stream = new GzipStream(this.#source, this.#implementation);
    this.#next = 0;
  }

  #keep(z: number, slice: Uint8Array): void {
    this.#kept.set(z, slice);
    this.#kept.delete(z - this.#capacity);
  }

  #cutShort(): ImageFormatError {
    return new ImageFormatError(
      `${this.#source.key} is cut short: it holds fewer slices than its header states; copy the file again`,
    );
  }
}
