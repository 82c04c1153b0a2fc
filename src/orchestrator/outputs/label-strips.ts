import type { LabelMapInfo, LabelStore, LabelTile } from "../../image/label-sink.ts";
import { product } from "../../tiling/grid/raster.ts";
import { stripHeight } from "../../tiling/grid/strip-height.ts";
import type { ClassRows } from "../../tiling/objects/connected-components.ts";
import { type LabelBits, labelBits, PackedLabels } from "../../tiling/objects/packed-labels.ts";

/** One row of chunks of a 2-D label map, by column; absent where all is background. */
export interface TileRow {
  row: number;
  tiles: readonly (PackedLabels | undefined)[];
}

/** Hears of every chunk, once and in raster order. */
export interface TileVisitor {
  /** @param tile undefined where all is background */
  tile(index: readonly number[], tile: LabelTile | undefined): void;
  /** Waits for what was begun with the chunks told so far. */
  settle?(): Promise<void>;
}

/** A row of chunks is whole in memory, and the next read ahead, only up to this size: on the widest slides memory matters more. */
const WIDE_ROW_BYTES = 8 << 20;
/** Chunks of a wider row that are whole in memory. */
const WIDE_AT_ONCE = 4;

/** How chunks of a label map that is wide wait; undefined for one that is not. @param wideRowBytes default 8 MiB */
export function packedBitDepth(
  { shape, chunk, dtype, classes }: LabelMapInfo,
  wideRowBytes = WIDE_ROW_BYTES,
): LabelBits | undefined {
  const columns = Math.ceil(shape.at(-1)! / chunk.at(-1)!);
  return dtype === "uint8" && columns * product(chunk) > wideRowBytes ? labelBits(classes.length) : undefined;
}

/** Reads the rows of chunks of a map of classes from top to bottom. `bits`: of `packedBitDepth`. */
export async function* readTileRows(
  labelStore: LabelStore,
  visitor: TileVisitor,
  { bits, signal }: { bits: LabelBits | undefined; signal?: AbortSignal },
): AsyncGenerator<TileRow> {
  const { shape, chunk } = labelStore.info;
  const rows = Math.ceil(shape[0]! / chunk[0]!);
  const columns = Math.ceil(shape[1]! / chunk[1]!);
  const atOnce = bits === undefined ? columns : WIDE_AT_ONCE;
  const read = (row: number, from: number) =>
    Promise.all(
      Array.from({ length: Math.min(atOnce, columns - from) }, (_, n) =>
        labelStore.readTile([row, from + n], { signal }),
      ),
    );
  let next: ReturnType<typeof read> | undefined;
  for (let row = 0; row < rows; row++) {
    const tiles: (PackedLabels | undefined)[] = [];
    for (let from = 0; from < columns; from += atOnce) {
      const present = await (next ?? read(row, from));
      next = undefined;
      if (bits === undefined && row + 1 < rows) {
        next = read(row + 1, 0);
        // Met when it is awaited, or never when something else fails first.
        next.catch(() => undefined);
      }
      signal?.throwIfAborted();
      present.forEach((tile, n) => {
        visitor.tile([row, from + n], tile);
        tiles.push(tile && new PackedLabels(tile.data as Uint8Array, bits ?? 8));
      });
      await visitor.settle?.();
    }
    yield { row, tiles };
  }
}

/** Lays the chunks of a row side by side, some rows at a time. The buffer is used again for the next band. */
export class StripBuffer {
  readonly #info: LabelMapInfo;
  readonly #data: Uint8Array;
  readonly #bandRows: number;
  /** Of one chunk. */
  readonly #line: Uint8Array;

  constructor(info: LabelMapInfo) {
    this.#info = info;
    const width = info.shape[1]!;
    this.#bandRows = stripHeight(width);
    this.#data = new Uint8Array(this.#bandRows * width);
    this.#line = new Uint8Array(info.chunk[1]!);
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
    for (let from = 0; from < rows; from += this.#bandRows) {
      const height = Math.min(this.#bandRows, rows - from);
      tiles.forEach((tile, column) => {
        if (tile === undefined) return;
        const x0 = column * tileWidth;
        const line = this.#line.subarray(0, Math.min(width - x0, tileWidth));
        for (let y = 0; y < height; y++) {
          tile.unpack((from + y) * tileWidth, line);
          this.#data.set(line, y * width + x0);
        }
      });
      yield { data: this.#data, height, occupied };
    }
  }
}
