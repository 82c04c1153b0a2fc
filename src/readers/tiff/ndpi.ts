import { decodeJpeg } from "../../codecs/decoders.ts";
import {
  planRestartGrid,
  type RestartGrid,
  scanRestarts,
  stackIntervals,
  tileIntervals,
} from "../../codecs/jpeg/restart-grid.ts";
import { completeJpeg, type JpegHeader, parseJpegHeader } from "../../codecs/jpeg/stream.ts";
import { ImageFormatError } from "../../image/errors.ts";
import { RGB_CHANNELS } from "../../image/image-source.ts";
import { type ImageLimits, MAX_SIDE } from "../../image/limits.ts";
import type { Raster } from "../../tiling/grid/raster.ts";
import { TiledImage, type TileGrid } from "../base/tiled-image.ts";
import type { TiffDirectory, TiffFile } from "./directory.ts";
import { outlinePage } from "./page.ts";
import { reducedPages } from "./pyramid.ts";
import { resolutionSpacing } from "./resolution.ts";
import { COMPRESSION, PHOTOMETRIC, TAG, UNSUPPORTED_COMPRESSIONS } from "./tags.ts";

/** The JPEG header of a strip had 660 bytes in every known file; the larger read is for longer ones. */
const HEAD_BYTES = 4 * 1024;
const LARGE_HEAD_BYTES = 64 * 1024;

/** One focal plane at one magnification: a single strip with one JPEG, however large. */
interface NdpiPage {
  directory: TiffDirectory;
  width: number;
  height: number;
  lens: number;
  strip: { offset: number; length: number };
  color: "rgb" | "ycbcr";
}

/**
 * Hamamatsu NDPI. Each level is one JPEG with restart markers, whose offsets the file lists (tag 65426); a region
 * decodes only the intervals it intersects. Pages with a negative lens are macro (-1) and focus map (-2) and are
 * never read.
 */
export async function openNdpi(
  file: TiffFile,
  directories: readonly TiffDirectory[],
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<TiledImage> {
  const { source } = file;
  if (source.byteLength >= 2 ** 32) {
    throw new ImageFormatError(
      `${source.key}: NDPI files of 4 GiB and more are not yet supported; convert it to OME-TIFF, for instance with bioformats2raw and raw2ometiff`,
    );
  }
  const pages = (await Promise.all(directories.map((d) => readNdpiPage(file, d, signal)))).filter(
    (page) => page !== undefined,
  );
  pages.sort((a, b) => b.width * b.height - a.width * a.height);
  const [base, ...rest] = pages;
  if (base === undefined) {
    throw new ImageFormatError(
      `${source.key}: this NDPI file holds no slide image in focus; export it again`,
    );
  }
  const grids = await Promise.all(
    [base, ...reducedPages(base, rest)].map((page) => ndpiLevel(file, page, limits, signal)),
  );
  return new TiledImage(
    {
      format: "Hamamatsu NDPI",
      axes: "yx",
      dtype: "uint8",
      channels: RGB_CHANNELS,
      spacing: await resolutionSpacing(base.directory, signal),
      objectivePower: base.lens,
      bounds: undefined,
      details: Object.keys(file.notes).length > 0 ? { ...file.notes } : undefined,
      etag: source.etag,
      byteLength: source.byteLength,
    },
    grids,
    limits,
    () => source.bytesRead,
  );
}

/** Undefined for pages that are not levels: macro, focus map, and planes out of focus. */
async function readNdpiPage(
  file: TiffFile,
  directory: TiffDirectory,
  signal?: AbortSignal,
): Promise<NdpiPage | undefined> {
  const lens = (await directory.number(TAG.ndpiSourceLens, signal)) ?? 0;
  const focus = (await directory.number(TAG.ndpiFocalPlane, signal)) ?? 0;
  if (!(lens > 0) || focus !== 0) return undefined;
  const { width, height } = await outlinePage(directory, signal);
  const key = file.source.key;
  const compression = (await directory.number(TAG.compression, signal)) ?? COMPRESSION.none;
  const samples = (await directory.number(TAG.samplesPerPixel, signal)) ?? 1;
  if (compression !== COMPRESSION.jpeg || samples !== 3) {
    const name = UNSUPPORTED_COMPRESSIONS[compression] ?? `compression ${compression}`;
    throw new ImageFormatError(
      `${key}: this NDPI file stores ${samples} samples as ${name}, which is not supported; convert it to OME-TIFF`,
    );
  }
  if (![width, height].every((n) => n >= 1 && n <= MAX_SIDE)) {
    throw new ImageFormatError(
      `${key}: its header states an image of ${width} × ${height} pixels; the file is damaged`,
    );
  }
  const offset = (await directory.number(TAG.stripOffsets, signal)) ?? 0;
  const length = (await directory.number(TAG.stripByteCounts, signal)) ?? 0;
  if (offset + length > file.source.byteLength) {
    throw new ImageFormatError(
      `${key} is cut short: a level ends at byte ${offset + length} and the file at ${file.source.byteLength}; copy it again`,
    );
  }
  const photometric = await directory.number(TAG.photometric, signal);
  const color = photometric === PHOTOMETRIC.ycbcr ? "ycbcr" : "rgb";
  return { directory, width, height, lens, strip: { offset, length }, color };
}

async function ndpiLevel(
  file: TiffFile,
  page: NdpiPage,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<TileGrid> {
  const { source } = file;
  const { head, header } = await readHead(file, page, HEAD_BYTES, signal);
  const grid = planRestartGrid(header, page.width, page.height);
  if (grid === undefined) return wholeStripLevel(file, page, limits);
  if (grid.tileWidth * grid.tileHeight * 3 > limits.tileBytes) {
    throw new ImageFormatError(
      `${source.key}: its restart intervals are too large to decode; convert it to OME-TIFF`,
    );
  }
  return restartLevel(file, page, header, grid, head);
}

/** The stream up to its first entropy-coded byte. */
async function readHead(
  file: TiffFile,
  page: NdpiPage,
  byteLength: number,
  signal?: AbortSignal,
): Promise<{ head: Uint8Array; header: JpegHeader }> {
  const { source } = file;
  const length = Math.min(byteLength, page.strip.length);
  const [bytes] = await source.readRanges([{ offset: page.strip.offset, length }], signal);
  try {
    const header = parseJpegHeader(bytes!);
    return { head: bytes!.slice(0, header.scanDataOffset), header };
  } catch (cause) {
    if (byteLength < LARGE_HEAD_BYTES && length < page.strip.length) {
      return readHead(file, page, LARGE_HEAD_BYTES, signal);
    }
    throw new ImageFormatError(`${source.key}: ${(cause as Error).message}; copy the file again`, { cause });
  }
}

function restartLevel(
  file: TiffFile,
  page: NdpiPage,
  header: JpegHeader,
  grid: RestartGrid,
  head: Uint8Array,
): TileGrid {
  const { source } = file;
  const count = grid.mcuRows * grid.intervalsAcross;
  let starts: ArrayLike<number> | undefined;

  async function readTogether(positions: readonly (readonly number[])[], signal?: AbortSignal) {
    starts ??= await intervalStarts(file, page, header, count, signal);
    const known = starts;
    const intervals = positions.map(([row, column]) => tileIntervals(grid, row!, column!));
    const ranges = intervals.flat().map((i) => {
      const end = i + 1 < count ? known[i + 1]! : page.strip.length;
      return { offset: page.strip.offset + known[i]!, length: end - known[i]! };
    });
    const bytes = await source.readRanges(ranges, signal);
    let next = 0;
    return intervals.map((list) => list.map(() => bytes[next++]!));
  }

  return {
    shape: [page.height, page.width],
    tileShape: [grid.tileHeight, grid.tileWidth],
    readTiles(positions, signal) {
      const together = readTogether(positions, signal);
      return positions.map(async (_, i) => {
        const stacked = stackIntervals(head, header, grid, (await together)[i]!);
        return decode(source.key, completeJpeg(stacked, undefined, page.color));
      });
    },
  };
}

/** Decodes a level without usable restart markers whole, if it is small enough. */
function wholeStripLevel(file: TiffFile, page: NdpiPage, limits: ImageLimits): TileGrid {
  const { source } = file;
  // The codec holds it twice.
  if (page.width * page.height * 3 > limits.tileBytes / 2) {
    throw new ImageFormatError(
      `${source.key}: its level of ${page.width} × ${page.height} pixels is one JPEG without restart markers, too large to decode at once; convert it to OME-TIFF`,
    );
  }
  return {
    shape: [page.height, page.width],
    tileShape: [page.height, page.width],
    readTiles(positions, signal) {
      return positions.map(async () => {
        const [bytes] = await source.readRanges([page.strip], signal);
        const { width, height } = parseJpegHeader(bytes!);
        if (width !== page.width || height !== page.height) {
          throw new ImageFormatError(
            `${source.key} is damaged: a level of ${page.width} × ${page.height} pixels holds ${width} × ${height}`,
          );
        }
        return decode(source.key, completeJpeg(bytes!, undefined, page.color));
      });
    },
  };
}

/** Offsets of the intervals in the strip: listed by the file, or found by searching for the markers. */
async function intervalStarts(
  file: TiffFile,
  page: NdpiPage,
  header: JpegHeader,
  count: number,
  signal?: AbortSignal,
): Promise<ArrayLike<number>> {
  const { source } = file;
  const { strip, directory } = page;
  const low = await directory.numbers(TAG.ndpiMcuStarts, signal, count);
  const listed =
    low !== undefined &&
    low.length === count &&
    low[0] === header.scanDataOffset &&
    !directory.has(TAG.ndpiMcuStartsHigh) &&
    isAscending(low, strip.length);
  if (listed) return low;
  try {
    return await scanRestarts(
      async (offset, length) =>
        (await source.readRanges([{ offset: strip.offset + offset, length }], signal))[0]!,
      header.scanDataOffset,
      strip.length,
      count,
    );
  } catch (cause) {
    if (!(cause instanceof ImageFormatError)) throw cause;
    throw new ImageFormatError(`${source.key} is damaged: ${cause.message}; copy it again`, { cause });
  }
}

function isAscending(values: ArrayLike<number>, end: number): boolean {
  for (let i = 1; i < values.length; i++) if (values[i]! <= values[i - 1]!) return false;
  return values.length === 0 || values[values.length - 1]! < end;
}

async function decode(key: string, stream: Uint8Array): Promise<Raster> {
  try {
    const { data, width, height, components } = await decodeJpeg(stream);
    return { data, shape: [height, width, components] };
  } catch (cause) {
    if (!(cause instanceof ImageFormatError)) throw cause;
    throw new ImageFormatError(`${key}: ${cause.message}; copy the file again`, { cause });
  }
}
