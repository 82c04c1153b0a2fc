import type { LabelMapInfo, LabelSink, LabelTile } from "../../image/label-sink.ts";
import { PyramidBuilder } from "../../tiling/objects/label-pyramid.ts";
import type { LabelBits } from "../../tiling/objects/packed-labels.ts";

/** Hands the tiles of level 0 and the levels that follow from them to all sinks. */
export class PyramidWriter {
  readonly #sinks: readonly LabelSink[];
  readonly #builder: PyramidBuilder;
  #writes: Promise<void>[] = [];

  /** @param packBits of chunks that wait for others */
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
      // `settle` meets the failure, unless something else fails before: then nobody asks any more.
      write.catch(() => undefined);
      this.#writes.push(write);
    }
  }
}
