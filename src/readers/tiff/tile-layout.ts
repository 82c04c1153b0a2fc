import { ImageFormatError } from "../../image/errors.ts";
import type { ByteRange } from "../../storage/byte-source.ts";
import type { TiffPage } from "./page.ts";
import { rowBytes } from "./samples.ts";
import { COMPRESSION, TAG } from "./tags.ts";

/** Uncompressed strips are cut into bands of about this size. */
const BAND_BYTES = 2 ** 20;

/** One tile, or one plane of it (0 unless planes are stored separately). */
export interface TileAddress {
  row: number;
  column: number;
  plane: number;
}

/** Offset of each tile of a page in the file. */
export interface TileLayout {
  tileWidth: number;
  tileHeight: number;
  tilesAcross: number;
  tilesDown: number;
  /**
   * Byte range of each tile, `undefined` if the file omits it (sparse). Reads only the needed parts of the tables.
   */
  ranges(tiles: readonly TileAddress[], signal?: AbortSignal): Promise<(ByteRange | undefined)[]>;
}

/**
 * The layout of a page; checks only the length of its offset tables.
 * @throws {ImageFormatError} when they do not match the number of tiles
 */
export function tileLayout(page: TiffPage): TileLayout {
  const { directory, tiled, width, height, tileWidth, tileHeight } = page;
  const { key } = page.file.source;
  const tilesAcross = Math.ceil(width / tileWidth);
  const tilesDown = Math.ceil(height / tileHeight);
  const planes = page.planar === 2 ? page.samplesPerPixel : 1;
  const expected = tilesAcross * tilesDown * planes;
  const unit = tiled ? "tiles" : "strips";
  // Old writers list tiles under the tags of strips, and libtiff accepts that.
  const offsets = directory.array(TAG.tileOffsets) ?? directory.array(TAG.stripOffsets);
  if (offsets === undefined || offsets.length < expected) {
    throw new ImageFormatError(
      `${key} is damaged: ${width} × ${height} pixels need ${expected} ${unit}, its header lists ${offsets?.length ?? 0}`,
    );
  }
  const counts = directory.array(TAG.tileByteCounts) ?? directory.array(TAG.stripByteCounts);
  // Old writers omit the counts if they follow from the size.
  const raw = page.compression === COMPRESSION.none;
  const implied = raw && (counts === undefined || page.planeShift > 0);
  // A coded strip without a count may reach to the end of the file: its decoder stops earlier.
  const open = !raw && counts === undefined && expected === 1;
  if (!implied && !open && (counts === undefined || counts.length < expected)) {
    throw new ImageFormatError(
      `${key} is damaged: its header lists ${expected} offsets of ${unit} but ${counts?.length ?? 0} sizes`,
    );
  }
  const storedRow = storedRowBytes(page);
  const fileBytes = page.file.source.byteLength;
  const whole: TileLayout = {
    tileWidth,
    tileHeight,
    tilesAcross,
    tilesDown,
    async ranges(tiles, signal) {
      const indices = tiles.map(({ row, column, plane }) => (plane * tilesDown + row) * tilesAcross + column);
      const at = await offsets.at(indices, signal);
      const lengths = implied
        ? tiles.map(
            ({ row }) => storedRow * (tiled ? tileHeight : Math.min(tileHeight, height - row * tileHeight)),
          )
        : open
          ? at.map((offset) => Math.max(0, fileBytes - offset))
          : await counts!.at(indices, signal);
      return at.map((offset, i) => {
        const length = lengths[i]!;
        return length === 0 || offset === 0 ? undefined : { offset: offset + page.planeShift, length };
      });
    },
  };
  return !tiled && page.compression === COMPRESSION.none ? splitIntoBands(page, whole) : whole;
}

function storedRowBytes(page: TiffPage): number {
  const samples = page.planar === 2 ? 1 : page.samplesPerPixel;
  return rowBytes(page.tileWidth * samples, page.format);
}

/** Rows of an uncompressed strip are contiguous: a strip as tall as the image need not be read whole. */
function splitIntoBands(page: TiffPage, strips: TileLayout): TileLayout {
  const storedRow = storedRowBytes(page);
  const rows = Math.max(1, Math.min(strips.tileHeight, Math.floor(BAND_BYTES / storedRow)));
  // Bands must not cross strips.
  if (strips.tilesDown > 1 || rows === strips.tileHeight) return strips;
  return {
    tileWidth: page.width,
    tileHeight: rows,
    tilesAcross: 1,
    tilesDown: Math.ceil(page.height / rows),
    async ranges(tiles, signal) {
      const found = await strips.ranges(
        tiles.map(({ plane }) => ({ row: 0, column: 0, plane })),
        signal,
      );
      return found.map((strip, i) => {
        if (strip === undefined) return undefined;
        const { row } = tiles[i]!;
        const length = Math.min(rows, page.height - row * rows) * storedRow;
        return { offset: strip.offset + row * rows * storedRow, length };
      });
    },
  };
}
