import type { LabelMapInfo, LabelSink, LabelTile } from "../../image/label-sink.ts";
import { PyramidBuilder } from "../../tiling/objects/label-pyramid.ts";
import type { LabelBits } from "../../tiling/objects/packed-labels.ts";

/** Builds the levels above 0 from the tiles of level 0, and writes all levels to all sinks. */
export class PyramidWriter {
  readonly #sinks: readonly LabelSink[];
  readonly #builder: PyramidBuilder;
  #writes: Promise<void>[] = [];

  /** @param packBits bits a sample of chunks that wait for their neighbours */
  constructor(sinks: readonly LabelSink[], info: LabelMapInfo, packBits?: LabelBits) {
    this.#sinks = sinks;
    this.#builder = new PyramidBuilder({
      ...info,
      packBits,
      onTile: (level, index, data) => data && this.#write(level, index, { data }),
    });
  }

  add(index: readonly number[], tile: LabelTile | undefined): void {
    if (this.#sinks.length === 0) return;
    if (tile !== undefined) this.#write(0, index, tile);
    this.#builder.add(index, tile?.data);
  }

  async settle(): Promise<void> {
    const writes = this.#writes;
    this.#writes = [];
    await Promise.all(writes);
  }

  #write(level: number, index: readonly number[], tile: LabelTile): void {
    for (const sink of this.#sinks) {
      const write = sink.writeTile(level, index, tile);
      // `settle` throws the error; until then it is handled here.
      write.catch(() => undefined);
      this.#writes.push(write);
    }
  }
}
