import type { DType } from "../../tiling/raster.ts";
import { ImageFormatError } from "../errors.ts";
import { type ImageLimits, MAX_SIDE } from "../limits.ts";
import type { TiffDirectory, TiffFile } from "./directory.ts";
import { COMPRESSION, PHOTOMETRIC, TAG, UNREAD_COMPRESSIONS } from "./tags.ts";

/** The tags that say how a page's samples are stored, checked and with their defaults. */
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
  samplesPerPixel: number;
  bitsPerSample: number;
  /** Samples as stored; for JPEG 2000 and JPEG as decoded. */
  dtype: DType;
  /** Channels as handed out: alpha left off, a palette resolved to RGB. */
  channels: number;
  /** 1 marks a page of reduced resolution, 4 a transparency mask. */
  subfileType: number;
}

/** A page without judgement on whether it can be decoded: enough to tell levels from labels. */
export interface PageOutline {
  directory: TiffDirectory;
  width: number;
  height: number;
  tiled: boolean;
  subfileType: number;
}

export async function outlinePage(directory: TiffDirectory, signal?: AbortSignal): Promise<PageOutline> {
  return {
    directory,
    width: (await directory.number(TAG.imageWidth, signal)) ?? 0,
    height: (await directory.number(TAG.imageLength, signal)) ?? 0,
    tiled: directory.has(TAG.tileWidth),
    subfileType: (await directory.number(TAG.newSubfileType, signal)) ?? 0,
  };
}

/**
 * Reads and checks the tags of a page that will be decoded.
 * @throws {ImageFormatError} when the page is stored in a way that is not read, or its sizes are absurd
 */
export async function readPage(
  file: TiffFile,
  directory: TiffDirectory,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<TiffPage> {
  const key = file.source.key;
  const refuse = (reason: string) => new ImageFormatError(`${key}: ${reason}`);
  const { width, height, tiled, subfileType } = await outlinePage(directory, signal);
  const sides = [width, height];
  if (!sides.every((n) => Number.isInteger(n) && n >= 1 && n <= MAX_SIDE)) {
    throw refuse(
      `its header states an image of ${width} × ${height} pixels, which cannot be; the file is damaged`,
    );
  }
  const rows = (await directory.number(TAG.rowsPerStrip, signal)) ?? height;
  const tileWidth = tiled ? ((await directory.number(TAG.tileWidth, signal)) ?? 0) : width;
  const tileHeight = tiled
    ? ((await directory.number(TAG.tileLength, signal)) ?? 0)
    : Math.min(rows === 0 ? height : rows, height);
  if (![tileWidth, tileHeight].every((n) => Number.isInteger(n) && n >= 1 && n <= MAX_SIDE)) {
    throw refuse(`its header states tiles of ${tileWidth} × ${tileHeight} pixels; the file is damaged`);
  }

  const compression = (await directory.number(TAG.compression, signal)) ?? COMPRESSION.none;
  const known: readonly number[] = Object.values(COMPRESSION);
  if (!known.includes(compression)) {
    const name = UNREAD_COMPRESSIONS[compression] ?? "unknown";
    throw refuse(
      `its pixels are stored with compression ${compression} (${name}), which is not supported; convert it, for instance with "vips tiffsave --tile --pyramid --compression deflate"`,
    );
  }
  const samplesPerPixel = (await directory.number(TAG.samplesPerPixel, signal)) ?? 1;
  const bits = Array.from((await directory.numbers(TAG.bitsPerSample, signal)) ?? [1]);
  const formats = Array.from((await directory.numbers(TAG.sampleFormat, signal)) ?? [1]);
  if (samplesPerPixel < 1 || samplesPerPixel > 1024) {
    throw refuse(`its header states ${samplesPerPixel} samples per pixel; the file is damaged`);
  }
  if (bits.some((b) => b !== bits[0]) || formats.some((f) => f !== formats[0])) {
    throw refuse(
      `its channels have different sample types (${bits.join(", ")} bits), which is not supported`,
    );
  }
  const bitsPerSample = bits[0]!;
  const dtype = dtypeOf(bitsPerSample, formats[0]!);
  if (dtype === undefined) {
    throw refuse(
      `its samples have ${bitsPerSample} bits (sample format ${formats[0]}), which is not supported; convert to 8 or 16 bits`,
    );
  }
  const planar = (await directory.number(TAG.planarConfiguration, signal)) ?? 1;
  if (planar !== 1 && planar !== 2)
    throw refuse(`its planar configuration ${planar} is unknown; the file is damaged`);

  const photometric = (await directory.number(TAG.photometric, signal)) ?? PHOTOMETRIC.blackIsZero;
  const extra = Array.from((await directory.numbers(TAG.extraSamples, signal)) ?? []);
  const channels = channelCount(photometric, samplesPerPixel, extra);
  const coded = isImageCoded(compression);
  if (channels === undefined || (photometric === PHOTOMETRIC.ycbcr && !coded)) {
    throw refuse(
      `its colours are stored as photometric interpretation ${photometric} with ${samplesPerPixel} samples, which is not supported; convert it to RGB`,
    );
  }
  const tileBytes = tileWidth * tileHeight * samplesPerPixel * Math.ceil(bitsPerSample / 8);
  // An uncompressed strip can be read in parts: see `tile-layout.ts`.
  if (tileBytes > limits.tileBytes && (tiled || compression !== COMPRESSION.none)) {
    throw refuse(
      `one ${tiled ? "tile" : "strip"} of ${tileWidth} × ${tileHeight} pixels needs ${tileBytes} bytes, over the limit of ${limits.tileBytes}; convert it to a tiled pyramid, for instance with "vips tiffsave --tile --pyramid"`,
    );
  }
  return {
    file,
    directory,
    width,
    height,
    tiled,
    tileWidth,
    tileHeight,
    compression,
    photometric,
    planar,
    predictor: (await directory.number(TAG.predictor, signal)) ?? 1,
    samplesPerPixel,
    bitsPerSample,
    dtype,
    channels,
    subfileType,
  };
}

/** Whether tiles are images in their own right (JPEG, JPEG 2000), with their own idea of colour. */
export function isImageCoded(compression: number): boolean {
  return (
    compression === COMPRESSION.jpeg ||
    compression === COMPRESSION.aperioRgb ||
    compression === COMPRESSION.aperioYCbCr ||
    compression === COMPRESSION.jpeg2000
  );
}

function dtypeOf(bits: number, format: number): DType | undefined {
  // 4 is "undefined", which writers use for unsigned data.
  if (format === 1 || format === 4) return ({ 8: "uint8", 16: "uint16", 32: "uint32" } as const)[bits];
  if (format === 2) return ({ 8: "int8", 16: "int16", 32: "int32" } as const)[bits];
  if (format === 3) return ({ 32: "float32", 64: "float64" } as const)[bits];
  return undefined;
}

/** Channels left when alpha is dropped; undefined for colours that are not read. */
function channelCount(photometric: number, samples: number, extra: readonly number[]): number | undefined {
  // 1 and 2 are alpha; 0 is "unspecified": alpha behind RGB by custom, but a channel in multi-channel grey.
  const alpha = extra.filter((kind) => kind === 1 || kind === 2).length;
  switch (photometric) {
    case PHOTOMETRIC.whiteIsZero:
    case PHOTOMETRIC.blackIsZero:
      return Math.max(1, samples - alpha);
    case PHOTOMETRIC.rgb:
    case PHOTOMETRIC.ycbcr:
      return samples < 3 ? undefined : samples <= 4 ? 3 : samples - alpha;
    case PHOTOMETRIC.palette:
      return samples === 1 ? 3 : undefined;
    default:
      return undefined;
  }
}
