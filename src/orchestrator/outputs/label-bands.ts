import type { LabelMapInfo, LabelStage, LabelTile } from "../../image/label-sink.ts";
import type { ClassRows } from "../../tiling/instances.ts";

/** One row of chunks of a 2-D label map: `tiles[column]`, absent where all is background. */
export interface TileRow {
  row: number;
  tiles: readonly (LabelTile | undefined)[];
}

/** Reads the rows of chunks from top to bottom, one ahead of the one in use. */
export async function* tileRows(stage: LabelStage, signal?: AbortSignal): AsyncGenerator<TileRow> {
  const { shape, chunk } = stage.info;
  const rows = Math.ceil(shape[0]! / chunk[0]!);
  const columns = Math.ceil(shape[1]! / chunk[1]!);
  const read = async (row: number) => ({
    row,
    tiles: await Promise.all(Array.from({ length: columns }, (_, c) => stage.readTile([row, c], { signal }))),
  });
  let next = read(0);
  for (let row = 0; row < rows; row++) {
    const present = await next;
    if (row + 1 < rows) {
      next = read(row + 1);
      // Met when it is awaited, or never when something else fails first.
      next.catch(() => undefined);
    }
    signal?.throwIfAborted();
    yield present;
  }
}

/** Lays the tiles of a row side by side. The buffer is used again for the next row. */
export class BandBuffer {
  readonly #info: LabelMapInfo;
  readonly #data: Uint8Array;

  constructor(info: LabelMapInfo) {
    this.#info = info;
    this.#data = new Uint8Array(info.chunk[0]! * info.shape[1]!);
  }

  /** Only occupied columns are written and may be read. */
  fill({ row, tiles }: TileRow): ClassRows {
    const [tileHeight, tileWidth] = this.#info.chunk as [number, number];
    const [mapHeight, width] = this.#info.shape as [number, number];
    const height = Math.min(tileHeight, mapHeight - row * tileHeight);
    const occupied: [number, number][] = [];
    tiles.forEach((tile, column) => {
      if (tile === undefined) return;
      const x0 = column * tileWidth;
      const x1 = Math.min(width, x0 + tileWidth);
      const last = occupied.at(-1);
      if (last?.[1] === x0) last[1] = x1;
      else occupied.push([x0, x1]);
      for (let y = 0; y < height; y++) {
        const at = y * tileWidth;
        this.#data.set(tile.data.subarray(at, at + x1 - x0), y * width + x0);
      }
    });
    return { data: this.#data, height, occupied };
  }
}
