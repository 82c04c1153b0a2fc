import type { LabelMapInfo, LabelStage, LabelTile } from "../../image/label-sink.ts";
import type { ClassRows } from "../../tiling/instances.ts";

/** One row of chunks of a 2-D label map: `tiles[column]`, absent where all is background. */
export interface TileRow {
  row: number;
  tiles: readonly (LabelTile | undefined)[];
}

/** A row of chunks is read ahead only up to this size: on the widest slides memory matters more than latency. */
const READ_AHEAD_BYTES = 8 << 20;

/** Reads the rows of chunks from top to bottom. */
export async function* tileRows(stage: LabelStage, signal?: AbortSignal): AsyncGenerator<TileRow> {
  const { shape, chunk } = stage.info;
  const rows = Math.ceil(shape[0]! / chunk[0]!);
  const columns = Math.ceil(shape[1]! / chunk[1]!);
  const read = async (row: number) => ({
    row,
    tiles: await Promise.all(Array.from({ length: columns }, (_, c) => stage.readTile([row, c], { signal }))),
  });
  const ahead = columns * chunk[0]! * chunk[1]! <= READ_AHEAD_BYTES;
  let next: Promise<TileRow> | undefined;
  for (let row = 0; row < rows; row++) {
    const present = await (next ?? read(row));
    if (ahead && row + 1 < rows) {
      next = read(row + 1);
      // Met when it is awaited, or never when something else fails first.
      next.catch(() => undefined);
    }
    signal?.throwIfAborted();
    yield present;
  }
}

/** Rows laid side by side at a time: few enough to stay in cache and to weigh nothing on the widest slide. */
const BAND_ROWS = 64;

/** Lays the tiles of a row side by side, some rows at a time. The buffer is used again for the next band. */
export class BandBuffer {
  readonly #info: LabelMapInfo;
  readonly #data: Uint8Array;

  constructor(info: LabelMapInfo) {
    this.#info = info;
    this.#data = new Uint8Array(BAND_ROWS * info.shape[1]!);
  }

  /** Only occupied columns are written and may be read. */
  *bands({ row, tiles }: TileRow): Generator<ClassRows> {
    const [tileHeight, tileWidth] = this.#info.chunk as [number, number];
    const [mapHeight, width] = this.#info.shape as [number, number];
    const rows = Math.min(tileHeight, mapHeight - row * tileHeight);
    const occupied: [number, number][] = [];
    tiles.forEach((tile, column) => {
      if (tile === undefined) return;
      const x0 = column * tileWidth;
      const x1 = Math.min(width, x0 + tileWidth);
      const last = occupied.at(-1);
      if (last?.[1] === x0) last[1] = x1;
      else occupied.push([x0, x1]);
    });
    for (let from = 0; from < rows; from += BAND_ROWS) {
      const height = Math.min(BAND_ROWS, rows - from);
      tiles.forEach((tile, column) => {
        if (tile === undefined) return;
        const x0 = column * tileWidth;
        const length = Math.min(width - x0, tileWidth);
        for (let y = 0; y < height; y++) {
          const at = (from + y) * tileWidth;
          this.#data.set(tile.data.subarray(at, at + length), y * width + x0);
        }
      });
      yield { data: this.#data, height, occupied };
    }
  }
}
