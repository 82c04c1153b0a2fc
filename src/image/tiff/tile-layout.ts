import type { ByteRange } from "../byte-source.ts";
import { ImageFormatError } from "../errors.ts";
import type { TiffPage } from "./page.ts";
import { COMPRESSION, TAG } from "./tags.ts";

/** Where each tile of a page lies in the file. Uncompressed strips are cut into bands of about this size. */
const BAND_BYTES = 2 ** 20;

export interface TileLayout {
  tileWidth: number;
  tileHeight: number;
  tilesAcross: number;
  tilesDown: number;
  /** Bytes of a tile; `undefined` where the file leaves it out (sparse). `plane` is 0 unless planes are separate. */
  range(row: number, column: number, plane: number): ByteRange | undefined;
}

/**
 * Reads the offset tables of a page.
 * @throws {ImageFormatError} when they do not fit the number of tiles
 */
export async function readTileLayout(page: TiffPage, signal?: AbortSignal): Promise<TileLayout> {
  const { directory, tiled, width, height, tileWidth, tileHeight } = page;
  const key = page.file.source.key;
  const tilesAcross = Math.ceil(width / tileWidth);
  const tilesDown = Math.ceil(height / tileHeight);
  const planes = page.planar === 2 ? page.samplesPerPixel : 1;
  const expected = tilesAcross * tilesDown * planes;
  const offsetTag = tiled ? TAG.tileOffsets : TAG.stripOffsets;
  const countTag = tiled ? TAG.tileByteCounts : TAG.stripByteCounts;
  const offsets = await directory.numbers(offsetTag, signal);
  if (offsets === undefined || offsets.length < expected) {
    throw new ImageFormatError(
      `${key} is damaged: ${width} × ${height} pixels need ${expected} ${tiled ? "tiles" : "strips"}, its header lists ${offsets?.length ?? 0}`,
    );
  }
  let counts = await directory.numbers(countTag, signal);
  if (counts === undefined && page.compression === COMPRESSION.none) {
    // Old writers leave the counts out where they follow from the size.
    const rowBytes = (width * page.samplesPerPixel * page.bitsPerSample) / 8 / planes;
    counts = Array.from(
      offsets,
      (_, i) => rowBytes * Math.min(tileHeight, height - (i % tilesDown) * tileHeight),
    );
  }
  if (counts === undefined || counts.length < expected) {
    throw new ImageFormatError(
      `${key} is damaged: its header lists ${expected} ${tiled ? "tile" : "strip"} offsets but ${counts?.length ?? 0} sizes`,
    );
  }
  const lengths = counts;
  const whole: TileLayout = {
    tileWidth,
    tileHeight,
    tilesAcross,
    tilesDown,
    range(row, column, plane) {
      const index = (plane * tilesDown + row) * tilesAcross + column;
      const length = lengths[index]!;
      const offset = offsets[index]!;
      return length === 0 || offset === 0 ? undefined : { offset, length };
    },
  };
  return !tiled && page.compression === COMPRESSION.none ? bandsOf(page, whole) : whole;
}

/** Rows of an uncompressed strip lie one behind another: a strip as tall as the image need not be read whole. */
function bandsOf(page: TiffPage, strips: TileLayout): TileLayout {
  const samples = page.planar === 2 ? 1 : page.samplesPerPixel;
  const rowBytes = (page.width * samples * page.bitsPerSample) / 8;
  const rows = Math.max(1, Math.min(strips.tileHeight, Math.floor(BAND_BYTES / rowBytes)));
  // Bands may not cross strips.
  if (strips.tilesDown > 1 || rows === strips.tileHeight) return strips;
  return {
    tileWidth: page.width,
    tileHeight: rows,
    tilesAcross: 1,
    tilesDown: Math.ceil(page.height / rows),
    range(row, _column, plane) {
      const strip = strips.range(0, 0, plane);
      if (strip === undefined) return undefined;
      const from = row * rows * rowBytes;
      const length = Math.min(rows, page.height - row * rows) * rowBytes;
      return { offset: strip.offset + from, length };
    },
  };
}
