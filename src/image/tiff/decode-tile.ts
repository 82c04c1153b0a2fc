import { unzlibSync } from "fflate";
import { getDecoder } from "geotiff";
import { allocate, bytesPerSample, type Raster, type SampleArray } from "../../tiling/raster.ts";
import { type DecodedImage, decodeJpeg, decodeJpeg2000 } from "../codecs.ts";
import { ImageFormatError } from "../errors.ts";
import { completeJpeg, parseJpegHeader } from "../jpeg/stream.ts";
import { parseJpeg2000Size } from "../jpeg2000-size.ts";
import { ycbcrToRgb } from "../ycbcr.ts";
import { loadZstd } from "../zstd.ts";
import { decodeLzw } from "./lzw.ts";
import type { TiffPage } from "./page.ts";
import { COMPRESSION, PHOTOMETRIC } from "./tags.ts";

/** What decoding needs besides the tile's own bytes, read once per page. */
export interface DecodeTables {
  jpegTables: Uint8Array | undefined;
  /** `[3, 2^bits]`, 16-bit. */
  colorMap: ArrayLike<number> | undefined;
}

/** Stored size of a tile: the tile of the page, or at the lower border the rows a strip has left. */
export interface TileExtent {
  width: number;
  height: number;
}

/**
 * Decodes one tile, or one plane of it, to interleaved samples `[height, width, samples]` as stored.
 * @throws {ImageFormatError} when the bytes do not hold the tile the tags announce
 */
export async function decodeTile(
  bytes: Uint8Array,
  page: TiffPage,
  extent: TileExtent,
  tables: DecodeTables,
): Promise<Raster> {
  const samples = page.planar === 2 ? 1 : page.samplesPerPixel;
  switch (page.compression) {
    case COMPRESSION.jpeg: {
      const color = page.photometric === PHOTOMETRIC.ycbcr ? "ycbcr" : "rgb";
      const stream = completeJpeg(bytes, tables.jpegTables, color);
      const { width, height } = parseJpegHeader(stream);
      checkSize(width, height, extent, page);
      return codedTile(await decodeJpeg(stream), samples);
    }
    case COMPRESSION.aperioRgb:
    case COMPRESSION.aperioYCbCr:
    case COMPRESSION.jpeg2000: {
      const size = parseJpeg2000Size(bytes);
      checkSize(size.width, size.height, extent, page);
      const decoded = await decodeJpeg2000(bytes);
      // openjpeg's wrapper turns subsampled chroma into RGB by itself.
      if (page.compression === COMPRESSION.aperioYCbCr && !size.subsampled) ycbcrToRgb(decoded);
      return codedTile(decoded, samples);
    }
    default: {
      const rowBytes = extent.width * samples * bytesPerSample(page.dtype);
      const mostBytes = rowBytes * Math.max(extent.height, page.tileHeight);
      const raw = await decompress(bytes, page.compression, rowBytes * extent.height, mostBytes);
      return { data: toSamples(raw, page, extent, samples), shape: [extent.height, extent.width, samples] };
    }
  }
}

/** Alpha left off, inverted grey turned, palette resolved: `[height, width, channels]` as `page.channels` says. */
export function toChannels(tile: Raster, page: TiffPage, tables: DecodeTables): Raster {
  const [height, width, samples] = tile.shape as [number, number, number];
  let { data } = tile;
  if (page.photometric === PHOTOMETRIC.palette) return resolvePalette(tile, tables);
  if (page.photometric === PHOTOMETRIC.whiteIsZero && (page.dtype === "uint8" || page.dtype === "uint16")) {
    const max = page.dtype === "uint8" ? 255 : 65535;
    data = data.map((v: number) => max - v) as SampleArray;
  }
  const channels = page.channels;
  if (channels === samples) return { data, shape: tile.shape };
  const out = allocate(page.dtype, height * width * channels);
  for (let p = 0, from = 0, to = 0; p < height * width; p++, from += samples, to += channels) {
    for (let c = 0; c < channels; c++) out[to + c] = data[from + c]!;
  }
  return { data: out, shape: [height, width, channels] };
}

/** Parts `[height, width, n]` of equal height and width to one interleaved tile, their channels in order. */
export function interleave(parts: readonly Raster[]): Raster {
  const first = parts[0]!;
  if (parts.length === 1) return first;
  const [height, width] = first.shape as [number, number];
  const pixels = height * width;
  const channels = parts.reduce((sum, part) => sum + part.shape[2]!, 0);
  const out = new (first.data.constructor as new (length: number) => SampleArray)(pixels * channels);
  let channel = 0;
  for (const { data, shape } of parts) {
    const own = shape[2]!;
    if (shape[0] !== height || shape[1] !== width) {
      throw new ImageFormatError("the channels of a tile have different sizes");
    }
    for (let c = 0; c < own; c++, channel++) {
      for (let p = 0, from = c, to = channel; p < pixels; p++, from += own, to += channels)
        out[to] = data[from]!;
    }
  }
  return { data: out, shape: [height, width, channels] };
}

/**
 * Reads the markers of a coded tile and decodes nothing.
 * @throws {ImageFormatError} when no decoder would read it
 */
export function checkTileHead(head: Uint8Array, compression: number): void {
  if (compression === COMPRESSION.jpeg) parseJpegHeader(head);
  else parseJpeg2000Size(head);
}

/**
 * On the stream's own header, so that a small tile cannot ask for a huge one to be decoded. A coded last strip
 * may have the full rows of a strip; a coded tile may never be larger than the tags announce.
 */
function checkSize(width: number, height: number, extent: TileExtent, page: TiffPage): void {
  if (
    width < extent.width ||
    height < extent.height ||
    width > page.tileWidth ||
    height > Math.max(extent.height, page.tileHeight)
  ) {
    throw new ImageFormatError(
      `a tile is damaged: it holds ${width} × ${height} pixels where the tags announce ${extent.width} × ${extent.height}`,
    );
  }
}

function codedTile(decoded: DecodedImage, samples: number): Raster {
  if (decoded.components !== samples) {
    throw new ImageFormatError(
      `a tile is damaged: it holds ${decoded.components} channels where the tags announce ${samples}`,
    );
  }
  return { data: decoded.data, shape: [decoded.height, decoded.width, samples] };
}

/** `expected` bytes of a tile; a coded last strip may hold `mostBytes`, the rows of a whole one. */
async function decompress(
  bytes: Uint8Array,
  compression: number,
  expected: number,
  mostBytes: number,
): Promise<Uint8Array> {
  let raw: Uint8Array;
  if (compression === COMPRESSION.none) {
    raw = bytes;
  } else if (compression === COMPRESSION.lzw) {
    raw = decodeLzw(bytes, expected);
  } else if (compression === COMPRESSION.deflate || compression === COMPRESSION.deflateOld) {
    try {
      // Into a buffer of the announced size: a tile that unpacks to more cannot grow without bound.
      raw = unzlibSync(bytes, { out: new Uint8Array(expected) });
    } catch (cause) {
      throw new ImageFormatError("a Deflate tile is damaged or cut short", { cause });
    }
  } else if (compression === COMPRESSION.zstd) {
    // Not geotiff's, which compiles WebAssembly from bytes, as no Worker may, and unpacks what a frame states.
    const unzstd = await loadZstd();
    try {
      raw = unzstd(bytes, mostBytes);
    } catch (cause) {
      throw new ImageFormatError("a Zstandard tile is damaged, cut short or too large", { cause });
    }
  } else {
    try {
      const decoder = await getDecoder(compression, {
        tileWidth: 0,
        tileHeight: 0,
        predictor: 1,
        bitsPerSample: 8,
        planarConfiguration: 1,
      });
      raw = new Uint8Array(await decoder.decodeBlock(bytes.slice().buffer));
    } catch (cause) {
      throw new ImageFormatError(`a tile is damaged or cut short (compression ${compression})`, { cause });
    }
  }
  if (raw.length < expected) {
    throw new ImageFormatError(
      `a tile is damaged: it unpacks to ${raw.length} bytes where the tags announce ${expected}`,
    );
  }
  return raw.length === expected ? raw : raw.subarray(0, expected);
}

/** Byte order, then the predictor undone (TIFF 6.0 section 14; TechNote 3 for floating point). */
function toSamples(raw: Uint8Array, page: TiffPage, extent: TileExtent, samples: number): SampleArray {
  const size = bytesPerSample(page.dtype);
  const floatPredictor = page.predictor === 3;
  if (page.predictor === 2 || page.predictor === 1 || floatPredictor) {
    // Own, aligned bytes: `raw` may be part of a larger read that others look at.
    const bytes = raw.slice();
    if (floatPredictor) undoFloatPredictor(bytes, extent, samples, size);
    else if (size > 1 && !page.file.littleEndian) swapBytes(bytes, size);
    const count = extent.width * extent.height * samples;
    // Named first: of `new (f().constructor as T)(…)` the compiler (TypeScript 7.0) drops the parentheses.
    const Samples = allocate(page.dtype, 0).constructor as new (
      b: ArrayBuffer,
      o: number,
      n: number,
    ) => SampleArray;
    const data = new Samples(bytes.buffer as ArrayBuffer, 0, count);
    if (page.predictor === 2) undoDifferences(data, extent, samples);
    return data;
  }
  throw new ImageFormatError(`predictor ${page.predictor} is not supported`);
}

function undoDifferences(data: SampleArray, { width, height }: TileExtent, samples: number): void {
  const rowLength = width * samples;
  // Typed arrays wrap around on assignment, as the predictor wants.
  for (let y = 0; y < height; y++) {
    const end = (y + 1) * rowLength;
    for (let i = y * rowLength + samples; i < end; i++) data[i] = data[i]! + data[i - samples]!;
  }
}

function undoFloatPredictor(
  bytes: Uint8Array,
  { width, height }: TileExtent,
  samples: number,
  size: number,
): void {
  const rowBytes = width * samples * size;
  const values = width * samples;
  const row = new Uint8Array(rowBytes);
  for (let y = 0; y < height; y++) {
    const at = y * rowBytes;
    for (let i = samples; i < rowBytes; i++) bytes[at + i] = bytes[at + i]! + bytes[at + i - samples]!;
    row.set(bytes.subarray(at, at + rowBytes));
    // Stored most significant bytes first, plane by plane; little-endian wanted.
    for (let v = 0; v < values; v++) {
      for (let b = 0; b < size; b++) bytes[at + v * size + b] = row[(size - 1 - b) * values + v]!;
    }
  }
}

function swapBytes(bytes: Uint8Array, size: number): void {
  for (let i = 0; i + size <= bytes.length; i += size) bytes.subarray(i, i + size).reverse();
}

function resolvePalette(tile: Raster, tables: DecodeTables): Raster {
  const [height, width] = tile.shape as [number, number];
  const map = tables.colorMap;
  if (map === undefined) throw new ImageFormatError("a palette image is damaged: its colour map is missing");
  const entries = Math.floor(map.length / 3);
  const out = new Uint8Array(height * width * 3);
  const { data } = tile;
  for (let p = 0; p < data.length; p++) {
    const index = data[p]!;
    if (index >= entries)
      throw new ImageFormatError(`a palette image is damaged: colour ${index} of ${entries}`);
    for (let c = 0; c < 3; c++) out[3 * p + c] = map[c * entries + index]! >> 8;
  }
  return { data: out, shape: [height, width, 3] };
}
