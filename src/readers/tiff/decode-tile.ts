import { decodeAnyJpeg } from "../../codecs/decode-jpeg.ts";
import { type DecodedImage, decodeJpeg2000 } from "../../codecs/decoders.ts";
import { completeJpeg, parseJpegHeader } from "../../codecs/jpeg/stream.ts";
import { parseJpeg2000Size } from "../../codecs/jpeg2000-size.ts";
import { ycbcrToRgb } from "../../codecs/ycbcr.ts";
import { ImageFormatError } from "../../image/errors.ts";
import { allocate, type Raster, type SampleArray } from "../../tiling/grid/raster.ts";
import { firstChannels, invert, resolvePalette, widen } from "./colors.ts";
import { decompress } from "./decompress.ts";
import type { TiffPage } from "./page.ts";
import { rowBytes, toSamples } from "./samples.ts";
import { COMPRESSION, PHOTOMETRIC } from "./tags.ts";

/** What decoding needs besides the tile's own bytes, read once per page. */
export interface DecodeTables {
  jpegTables: Uint8Array | undefined;
}

/** Stored size of a tile: that of the page, or at the lower border the remaining rows of a strip. */
export interface TileExtent {
  width: number;
  height: number;
}

/**
 * Decodes one tile, or one plane of it, to interleaved samples `[height, width, samples]` as stored.
 * @throws {ImageFormatError} when the bytes do not hold the tile that the tags announce
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
      return codedTile(await decodeAnyJpeg(stream), samples, page);
    }
    case COMPRESSION.aperioRgb:
    case COMPRESSION.aperioYCbCr:
    case COMPRESSION.jpeg2000: {
      const size = parseJpeg2000Size(bytes);
      checkSize(size.width, size.height, extent, page);
      const decoded = await decodeJpeg2000(bytes);
      // openjpeg's wrapper converts subsampled chroma to RGB itself.
      if (page.compression === COMPRESSION.aperioYCbCr && !size.subsampled) ycbcrToRgb(decoded);
      return codedTile(decoded, samples, page);
    }
    default: {
      const { width, height } = extent;
      const rowLength = rowBytes(width * samples, page.format);
      const { bytes: raw, owned } = await decompress(bytes, page.compression, {
        expected: rowLength * height,
        mostBytes: rowLength * Math.max(height, page.tileHeight),
        reversed: page.bitsReversed,
        fax: page.fax && { kind: page.fax, width, height },
      });
      const data = toSamples(raw, owned, {
        format: page.format,
        littleEndian: page.file.littleEndian,
        predictor: page.predictor,
        height,
        rowSamples: width * samples,
        pixelSamples: samples,
      });
      return { data, shape: [height, width, samples] };
    }
  }
}

/**
 * Drops alpha, inverts grey, resolves the palette: `[height, width, channels]` as in `page.channels`. May change the
 * tile in place.
 */
export function toChannels(tile: Raster, page: TiffPage): Raster {
  const { palette, photometric, format } = page;
  if (palette?.kind === "colors") return resolvePalette(firstChannels(tile, 1, format.dtype), palette);
  const coded = page.compression === COMPRESSION.jpeg;
  if (format.bits < 8 && palette === undefined && !coded) widen(tile.data, format.bits);
  // For signed and floating-point samples black is undefined: they stay as stored, as in libvips and Pillow.
  const inverted = photometric === PHOTOMETRIC.whiteIsZero && format.kind === "uint";
  if (inverted) invert(tile.data, Math.max(8, format.bits));
  return firstChannels(tile, page.channels, page.dtype);
}

/**
 * Interleaves parts `[height, width, n]` of equal height and width into one tile as they arrive, so that only one
 * part is held beside it.
 */
export class Interleaver {
  readonly #channels: number;
  #out: { data: SampleArray; height: number; width: number } | undefined;
  #first: Raster | undefined;
  #next = 0;

  constructor(channels: number) {
    this.#channels = channels;
  }

  add(part: Raster): void {
    const [height, width, own] = part.shape as [number, number, number];
    if (own === this.#channels && this.#first === undefined) {
      this.#first = part;
      return;
    }
    this.#out ??= {
      data: new (part.data.constructor as new (length: number) => SampleArray)(
        height * width * this.#channels,
      ),
      height,
      width,
    };
    const { data } = this.#out;
    if (height !== this.#out.height || width !== this.#out.width || this.#next + own > this.#channels)
      throw new ImageFormatError("the channels of a tile have different sizes");
    const step = this.#channels;
    for (let c = 0; c < own; c++, this.#next++) {
      const end = height * width * own;
      for (let from = c, to = this.#next; from < end; from += own, to += step) data[to] = part.data[from]!;
    }
  }

  get tile(): Raster {
    if (this.#first) return this.#first;
    const { data, height, width } = this.#out!;
    return { data, shape: [height, width, this.#channels] };
  }
}

/**
 * Reads the markers of a coded tile without decoding it.
 * @throws {ImageFormatError} when no decoder can read it
 */
export function checkTileHead(head: Uint8Array, compression: number): void {
  if (compression === COMPRESSION.jpeg) parseJpegHeader(head);
  else parseJpeg2000Size(head);
}

/** A tile that the file omits. */
export function emptyTile(page: TiffPage, { width, height }: TileExtent, fill: number): Raster {
  const data = allocate(page.dtype, width * height * page.channels);
  // A value outside the type would wrap around.
  data[0] = fill;
  data.fill(page.palette?.kind !== "colors" && Object.is(data[0], fill) ? fill : 0);
  return { data, shape: [height, width, page.channels] };
}

/**
 * Checks the stream's own header, so that a small tile cannot make a huge picture be decoded. A coded last strip may
 * have the full rows of a strip; a coded tile may never be larger than the tags announce.
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

function codedTile(decoded: DecodedImage, samples: number, page: TiffPage): Raster {
  if (decoded.components !== samples) {
    throw new ImageFormatError(
      `a tile is damaged: it holds ${decoded.components} channels where the tags announce ${samples}`,
    );
  }
  const { dtype } = page.format;
  const fits = decoded.data.constructor === allocate(dtype, 0).constructor;
  // A codec's type follows the stream: convert it to the wider type of the tags.
  const data = fits ? decoded.data : allocate(dtype, decoded.data.length);
  if (!fits) data.set(decoded.data);
  return { data, shape: [decoded.height, decoded.width, samples] };
}
