import type { LabelMapInfo } from "../../image/label-sink.ts";
import { classesInTile, frameTile, tilesOfChunk } from "../../tiling/frame-tile.ts";
import type { TileRow } from "./label-bands.ts";

/** Which classes but background each tile of a 2-D label map holds, gathered while its chunks go by. */
export class PresentClasses {
  readonly tiles: number[][];
  readonly #info: LabelMapInfo;

  constructor(info: LabelMapInfo) {
    this.#info = info;
    const [height, width] = frameTile(info.chunk);
    const count = Math.ceil(info.shape[0]! / height) * Math.ceil(info.shape[1]! / width);
    this.tiles = Array.from({ length: count }, () => []);
  }

  addRow({ row, tiles }: TileRow): void {
    const { chunk, shape } = this.#info;
    const [, width] = frameTile(chunk);
    for (const [column, tile] of tiles.entries()) {
      if (tile === undefined) continue;
      for (const { index, x } of tilesOfChunk([row, column], chunk, shape)) {
        this.tiles[index] = classesInTile(tile.data as Uint8Array, chunk[1]!, x, width);
      }
    }
  }
}
