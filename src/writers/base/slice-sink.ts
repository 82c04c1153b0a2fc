import type { ByteSink } from "../../image/byte-sink.ts";
import type { LabelMapInfo, LabelSink, LabelTile, WrittenOutput } from "../../image/label-sink.ts";
import { SliceBlock } from "../../tiling/grid/slice-block.ts";

/** Writes the slices of a volume, each once and in the order of z. */
export interface SliceWriter {
  /** `data`: class indices `[y, x]`, undefined for a slice of background. Valid only during the call. */
  writeSlice(z: number, data: Uint8Array | undefined): Promise<void>;
  finish(): Promise<WrittenOutput>;
}

/**
 * A label sink whose file holds level 0 slice by slice. Tiles must come in the order of z; tiles of other levels are
 * ignored. It holds the slices of one row of chunks.
 */
export class SliceSink implements LabelSink {
  readonly #sink: ByteSink;
  readonly #writer: SliceWriter;
  readonly #slab: SliceBlock;
  readonly #slabs: number;
  #current = 0;
  #written: Promise<void> = Promise.resolve();

  constructor(sink: ByteSink, info: LabelMapInfo, writer: SliceWriter) {
    if (info.axes !== "zyx" || info.dtype !== "uint8")
      throw new RangeError(`only volumes of class indices have slices, not ${info.dtype} along ${info.axes}`);
    this.#sink = sink;
    this.#writer = writer;
    this.#slab = new SliceBlock(info.shape, info.chunk);
    this.#slabs = Math.ceil(info.shape[0]! / info.chunk[0]!);
  }

  writeTile(level: number, index: readonly number[], tile: LabelTile): Promise<void> {
    if (level > 0) return Promise.resolve();
    // Calls may overlap: they take effect in the order of the calls.
    this.#written = this.#written.then(async () => {
      const slab = index[0]!;
      if (slab < this.#current)
        throw new RangeError(`chunk ${index.join(",")} comes after those of row ${this.#current}`);
      await this.#writeUpTo(slab);
      this.#slab.place(index, tile.data as Uint8Array);
    });
    return this.#written;
  }

  async finalize(): Promise<WrittenOutput> {
    await this.#written;
    await this.#writeUpTo(this.#slabs);
    return this.#writer.finish();
  }

  async abort(): Promise<void> {
    await this.#written.catch(() => undefined);
    await this.#sink.abort();
  }

  async #writeUpTo(slab: number): Promise<void> {
    for (; this.#current < slab; this.#current++) {
      for (const { z, data } of this.#slab.slices(this.#current)) await this.#writer.writeSlice(z, data);
      this.#slab.clear();
    }
  }
}
