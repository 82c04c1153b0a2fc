import type { LabelMapInfo, LabelTile } from "../../image/label-sink.ts";
import { classesInTile, segmentationFrameSize, tilesOfChunk } from "../../tiling/grid/segmentation-frame.ts";

/** Collects the classes, without background, of each tile of a 2-D label map from its chunks. */
export class PresentClasses {
  readonly tiles: number[][];
  readonly #info: LabelMapInfo;

  constructor(info: LabelMapInfo) {
    this.#info = info;
    const [height, width] = segmentationFrameSize(info.chunk);
    const count = Math.ceil(info.shape[0]! / height) * Math.ceil(info.shape[1]! / width);
    this.tiles = Array.from({ length: count }, () => []);
  }

  add(chunkIndex: readonly number[], tile: LabelTile): void {
    const { chunk, shape } = this.#info;
    const [, width] = segmentationFrameSize(chunk);
    for (const { index, x } of tilesOfChunk(chunkIndex, chunk, shape)) {
      this.tiles[index] = classesInTile(tile.data as Uint8Array, chunk[1]!, x, width);
    }
  }
}
