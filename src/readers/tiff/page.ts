import type { FaxCoding } from "../../codecs/fax.ts";
import { ImageFormatError } from "../../image/errors.ts";
import { type ImageLimits, MAX_SIDE } from "../../image/limits.ts";
import type { DType } from "../../tiling/grid/raster.ts";
import { type Palette, parseColorMap } from "./colors.ts";
import type { TiffDirectory, TiffFile } from "./directory.ts";
import { rowBytes, type SampleFormat, sampleFormat } from "./samples.ts";
import { COMPRESSION, PHOTOMETRIC, TAG, UNSUPPORTED_COMPRESSIONS } from "./tags.ts";

/** The tags that describe how a page's samples are stored, checked and with their defaults. */
export interface TiffPage {
  file: TiffFile;
  directory: TiffDirectory;
  width: number;
  height: number;
  tiled: boolean;
  /** Tile size, or image width and rows per strip. */
  tileWidth: number;
  tileHeight: number;
  compression: number;
  photometric: number;
  /** 1 interleaved, 2 each sample in its own tiles. */
  planar: 1 | 2;
  predictor: number;
  /** Whether the bits of each byte are reversed. */
  bitsReversed: boolean;
  /** Encoding of a black and white page. */
  fax: FaxCoding["kind"] | undefined;
  samplesPerPixel: number;
  format: SampleFormat;
  palette: Palette | undefined;
  /** Type of the resulting samples. */
  dtype: DType;
  /** Number of resulting channels: without alpha, a palette resolved to RGB. */
  channels: number;
  /** GDAL's value for tiles that the file omits. */
  noData: number | undefined;
  /** Bytes between this plane and the one that the directory describes (`stack.ts`). */
  planeShift: number;
}

/** A page before it is known whether it can be decoded: enough to tell the image from levels and labels. */
export interface PageOutline {
  directory: TiffDirectory;
  width: number;
  height: number;
  tiled: boolean;
  /** Whether it is a reduced copy, by either of the two tags that say so. */
  reduced: boolean;
  /** A transparency mask. */
  mask: boolean;
}

export async function outlinePage(directory: TiffDirectory, signal?: AbortSignal): Promise<PageOutline> {
  const subfile = (await directory.number(TAG.newSubfileType, signal)) ?? 0;
  const photometric = await directory.number(TAG.photometric, signal);
  return {
    directory,
    width: (await directory.number(TAG.imageWidth, signal)) ?? 0,
    height: (await directory.number(TAG.imageLength, signal)) ?? 0,
    tiled: directory.has(TAG.tileWidth),
    reduced: (subfile & 1) === 1 || (await directory.number(TAG.subfileType, signal)) === 2,
    mask: (subfile & 4) === 4 || photometric === PHOTOMETRIC.mask,
  };
}

/**
 * Reads and checks the tags of a page that will be decoded.
 * @throws {ImageFormatError} when the page is stored in a way that is not supported, or its sizes are absurd
 */
export async function readPage(
  file: TiffFile,
  directory: TiffDirectory,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<TiffPage> {
  const formatError = (reason: string) => new ImageFormatError(`${file.source.key}: ${reason}`);
  const sizes = await readSizes(directory, formatError, signal);
  const coding = await readCoding(directory, formatError, signal);
  const samples = await readSamples(directory, coding, formatError, signal);
  const page: TiffPage = {
    file,
    directory,
    ...sizes,
    ...coding,
    ...samples,
    // With one sample per pixel there is nothing to separate.
    planar: samples.samplesPerPixel === 1 ? 1 : coding.planar,
    fax: await faxKind(directory, coding.compression, samples, formatError, signal),
    noData: await readNoData(directory, signal),
    planeShift: 0,
  };
  checkTileBytes(page, limits, formatError);
  return page;
}

type FormatError = (reason: string) => ImageFormatError;

async function readSizes(directory: TiffDirectory, formatError: FormatError, signal?: AbortSignal) {
  const { width, height, tiled } = await outlinePage(directory, signal);
  if (![width, height].every((n) => Number.isInteger(n) && n >= 1 && n <= MAX_SIDE)) {
    throw formatError(
      `its header states an image of ${width} × ${height} pixels, which is impossible; the file is damaged`,
    );
  }
  const rows = (await directory.number(TAG.rowsPerStrip, signal)) ?? height;
  const tileWidth = tiled ? ((await directory.number(TAG.tileWidth, signal)) ?? 0) : width;
  const tileHeight = tiled
    ? ((await directory.number(TAG.tileLength, signal)) ?? 0)
    : Math.min(rows === 0 ? height : rows, height);
  if (![tileWidth, tileHeight].every((n) => Number.isInteger(n) && n >= 1 && n <= MAX_SIDE)) {
    throw formatError(`its header states tiles of ${tileWidth} × ${tileHeight} pixels; the file is damaged`);
  }
  return { width, height, tiled, tileWidth, tileHeight };
}

async function readCoding(directory: TiffDirectory, formatError: FormatError, signal?: AbortSignal) {
  const compression = (await directory.number(TAG.compression, signal)) ?? COMPRESSION.none;
  const known: readonly number[] = Object.values(COMPRESSION);
  if (!known.includes(compression)) {
    const name = UNSUPPORTED_COMPRESSIONS[compression] ?? "unknown";
    throw formatError(
      `its pixels are stored with compression ${compression} (${name}), which is not supported; convert it, for instance with "vips tiffsave --tile --pyramid --compression deflate"`,
    );
  }
  const planar = (await directory.number(TAG.planarConfiguration, signal)) ?? 1;
  if (planar !== 1 && planar !== 2)
    throw formatError(`its planar configuration ${planar} is unknown; the file is damaged`);
  return {
    compression,
    planar: planar as 1 | 2,
    predictor: (await directory.number(TAG.predictor, signal)) ?? 1,
    bitsReversed: (await directory.number(TAG.fillOrder, signal)) === 2,
  };
}

async function readSamples(
  directory: TiffDirectory,
  { compression }: { compression: number },
  formatError: FormatError,
  signal?: AbortSignal,
) {
  const samplesPerPixel = (await directory.number(TAG.samplesPerPixel, signal)) ?? 1;
  const bits = Array.from((await directory.numbers(TAG.bitsPerSample, signal)) ?? [1]);
  const formats = Array.from((await directory.numbers(TAG.sampleFormat, signal)) ?? [1]);
  if (samplesPerPixel < 1 || samplesPerPixel > 1024) {
    throw formatError(`its header states ${samplesPerPixel} samples per pixel; the file is damaged`);
  }
  if (bits.some((b) => b !== bits[0]) || formats.some((f) => f !== formats[0])) {
    throw formatError(
      `its channels have different sample types (${bits.slice(0, 8).join(", ")} bits), which is not supported`,
    );
  }
  const format = sampleFormat(bits[0]!, formats[0]!);
  if (format === undefined) {
    throw formatError(
      `its samples have ${bits[0]} bits (sample format ${formats[0]}), which is not supported; convert to 8 or 16 bits`,
    );
  }
  const photometric = (await directory.number(TAG.photometric, signal)) ?? PHOTOMETRIC.blackIsZero;
  if (photometric === PHOTOMETRIC.whiteIsZero && format.bits === 64 && format.kind === "uint")
    throw formatError(
      "it has 64-bit samples with white as 0, which is not supported; convert to 8 or 16 bits",
    );
  const extra = Array.from((await directory.numbers(TAG.extraSamples, signal)) ?? []);
  const palette = await readColorMap(directory, photometric, signal);
  const stated = channelCount(photometric, samplesPerPixel, extra);
  const channels = palette?.kind === "lut" && stated !== undefined ? 1 : stated;
  const coded = isImageCoded(compression);
  if (channels === undefined || (photometric === PHOTOMETRIC.ycbcr && !coded)) {
    throw formatError(
      `its colours are stored as photometric interpretation ${photometric} with ${samplesPerPixel} samples, which is not supported; convert it to RGB`,
    );
  }
  if (photometric === PHOTOMETRIC.palette && palette === undefined)
    throw formatError("it is damaged: its colour map is missing; export it again");
  const dtype: DType = palette?.kind === "colors" ? "uint8" : format.dtype;
  return { samplesPerPixel, format, photometric, palette, channels, dtype };
}

async function readColorMap(directory: TiffDirectory, photometric: number, signal?: AbortSignal) {
  if (photometric !== PHOTOMETRIC.palette) return undefined;
  const map = await directory.numbers(TAG.colorMap, signal);
  return map && map.length >= 3 ? parseColorMap(map) : undefined;
}

async function faxKind(
  directory: TiffDirectory,
  compression: number,
  { samplesPerPixel, format }: Pick<TiffPage, "samplesPerPixel" | "format">,
  formatError: FormatError,
  signal?: AbortSignal,
): Promise<FaxCoding["kind"] | undefined> {
  const kinds = {
    [COMPRESSION.faxRuns]: "rle",
    [COMPRESSION.faxT4]: "t4",
    [COMPRESSION.faxT6]: "t6",
  } as const;
  const kind: FaxCoding["kind"] | undefined = kinds[compression as keyof typeof kinds];
  if (kind !== undefined && (samplesPerPixel !== 1 || format.bits !== 1)) {
    throw formatError(
      `it is packed as black and white, and has ${samplesPerPixel} samples of ${format.bits} bits; export it again`,
    );
  }
  const twoDimensions = kind === "t4" && (((await directory.number(TAG.t4Options, signal)) ?? 0) & 1) === 1;
  return twoDimensions ? "t4-2d" : kind;
}

async function readNoData(directory: TiffDirectory, signal?: AbortSignal): Promise<number | undefined> {
  const text = (await directory.text(TAG.gdalNoData, signal, 64))?.trim();
  if (!text) return undefined;
  const value = Number(text);
  return Number.isNaN(value) && !/^[-+]?nan/i.test(text) ? undefined : value;
}

/** Unpacked bytes of a tile; coded pictures are held twice or more while they are decoded. */
function checkTileBytes(page: TiffPage, limits: ImageLimits, formatError: FormatError): void {
  const { tileWidth, tileHeight, samplesPerPixel, tiled, compression, format } = page;
  const bytes = tileHeight * rowBytes(tileWidth * samplesPerPixel, format);
  const decoded =
    tileHeight * tileWidth * Math.max(samplesPerPixel, page.channels) * Math.ceil(format.bits / 8);
  // An uncompressed strip of the whole image can be read in parts: see `tile-layout.ts`.
  if (!tiled && compression === COMPRESSION.none && tileHeight >= page.height) return;
  const limit = Math.floor(limits.tileBytes / decoderCopies(page));
  const needed = Math.max(bytes, decoded);
  if (needed > limit) {
    throw formatError(
      `one ${tiled ? "tile" : "strip"} of ${tileWidth} × ${tileHeight} pixels needs ${needed} bytes, over the limit of ${limit}; convert it to a tiled pyramid, for instance with "vips tiffsave --tile --pyramid"`,
    );
  }
}

/** How often a decoder holds a tile, besides the result. */
function decoderCopies({ compression }: TiffPage): number {
  if (compression === COMPRESSION.jpeg || compression === COMPRESSION.zstd) return 2;
  // openjpeg uses 32 bits for each sample.
  return isImageCoded(compression) ? 8 : 1;
}

/** The same page with its indices as samples, when the colour map only states how they were displayed. */
export function asGrey(page: TiffPage): TiffPage {
  if (page.palette?.kind !== "colors") return page;
  return { ...page, palette: { kind: "lut", color: undefined }, channels: 1, dtype: page.format.dtype };
}

/** Whether tiles are images in their own right (JPEG, JPEG 2000), with their own colour space. */
export function isImageCoded(compression: number): boolean {
  return (
    compression === COMPRESSION.jpeg ||
    compression === COMPRESSION.aperioRgb ||
    compression === COMPRESSION.aperioYCbCr ||
    compression === COMPRESSION.jpeg2000
  );
}

/** Channels without alpha; undefined for colours that are not supported. */
function channelCount(photometric: number, samples: number, extra: readonly number[]): number | undefined {
  // 1 and 2 are alpha; 0 is "unspecified": alpha behind RGB by convention, but a channel in multi-channel grey.
  const alpha = extra.filter((kind) => kind === 1 || kind === 2).length;
  switch (photometric) {
    case PHOTOMETRIC.whiteIsZero:
    case PHOTOMETRIC.blackIsZero:
      return Math.max(1, samples - alpha);
    case PHOTOMETRIC.rgb:
    case PHOTOMETRIC.ycbcr:
      return samples < 3 ? undefined : samples <= 4 ? 3 : samples - alpha;
    case PHOTOMETRIC.palette:
      return samples - extra.length === 1 ? 3 : undefined;
    default:
      return undefined;
  }
}
