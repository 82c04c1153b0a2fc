import type { LabelMapInfo, LabelStore, LabelTile } from "../../image/label-sink.ts";
import { product } from "../../tiling/grid/raster.ts";
import { stripHeight } from "../../tiling/grid/strip-height.ts";
import type { ClassRows } from "../../tiling/objects/connected-components.ts";
import { type LabelBits, labelBits, PackedLabels } from "../../tiling/objects/packed-labels.ts";

/** One row of chunks of a 2-D label map, by column; undefined if all background. */
export interface TileRow {
  row: number;
  tiles: readonly (PackedLabels | undefined)[];
}

/** Visits every chunk once, in raster order. */
export interface TileVisitor {
  /** @param tile undefined if all background */
  tile(index: readonly number[], tile: LabelTile | undefined): void;
  /** Awaits the work started for the chunks so far. */
  settle?(): Promise<void>;
}

/** Up to this size a row of chunks is held unpacked and the next one is read ahead. Wider rows save memory instead. */
const WIDE_ROW_BYTES = 8 << 20;
/** Unpacked chunks of a wider row. */
const WIDE_AT_ONCE = 4;

/** Bits a sample for the waiting chunks of a wide label map; undefined if the map is not wide. @param wideRowBytes default 8 MiB */
export function packedBitDepth(
  { shape, chunk, dtype, classes }: LabelMapInfo,
  wideRowBytes = WIDE_ROW_BYTES,
): LabelBits | undefined {
  const columns = Math.ceil(shape.at(-1)! / chunk.at(-1)!);
  return dtype === "uint8" && columns * product(chunk) > wideRowBytes ? labelBits(classes.length) : undefined;
}

/** Reads the rows of chunks of a label map from top to bottom. `bits`: from `packedBitDepth`. */
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
        // The error is thrown when the row is awaited; until then it is handled here.
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

/** Assembles strips of full-width rows from a row of chunks. The buffer is reused for the next strip. */
export class StripBuffer {
  readonly #info: LabelMapInfo;
  readonly #data: Uint8Array;
  readonly #stripHeight: number;
  /** One row of a chunk. */
  readonly #line: Uint8Array;

  constructor(info: LabelMapInfo) {
    this.#info = info;
    const width = info.shape[1]!;
    this.#stripHeight = stripHeight(width);
    this.#data = new Uint8Array(this.#stripHeight * width);
    this.#line = new Uint8Array(info.chunk[1]!);
  }

  /** Only occupied columns are written; the others must not be read. */
  *strips({ row, tiles }: TileRow): Generator<ClassRows> {
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
    for (let from = 0; from < rows; from += this.#stripHeight) {
      const height = Math.min(this.#stripHeight, rows - from);
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
