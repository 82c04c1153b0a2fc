import { ImageFormatError } from "../../image/errors.ts";
import type { Channel, Spacing } from "../../image/image-source.ts";
import type { ImageLimits } from "../../image/limits.ts";
import { orientationNote } from "../../image/orientation.ts";
import { bytesPerSample } from "../../tiling/grid/raster.ts";
import { TiledImage } from "../base/tiled-image.ts";
import type { TiffFile } from "./directory.ts";
import { type LevelOptions, probeFirstTile, tiffLevel } from "./level.ts";
import { outlinePage, type PageOutline, readPage, type TiffPage } from "./page.ts";
import { checkSameSamples, reducedPages } from "./pyramid.ts";
import { PHOTOMETRIC, TAG } from "./tags.ts";
import { type TileLayout, tileLayout } from "./tile-layout.ts";

/** Notes that may change the interpretation of results; that labels were skipped is not one. */
const WARNED = new Set(["pages", "series", "values", "orientation"]);

/** Pages in order, with what is known of the image beside them. */
export interface TiffPicture {
  format: string;
  axes: "yx" | "zyx";
  /** `[level][z][c]`, level 0 first. */
  levels: TiffPage[][][];
  channels: readonly Channel[];
  spacing: Spacing | undefined;
  objectivePower?: number;
  details?: Record<string, string>;
  /** Undefined: that of the file. */
  etag?: string;
}

/** @throws {ImageFormatError} when the pages do not match, or a tile of all of them is too large */
export async function tiffImage(
  file: TiffFile,
  picture: TiffPicture,
  limits: ImageLimits,
  signal?: AbortSignal,
  options?: LevelOptions,
): Promise<TiledImage> {
  const { source } = file;
  const { levels, axes } = picture;
  const first = levels[0]![0]![0]!;
  checkSamePlanes(source.key, levels[0]!.flat());
  const samples = levels.map((pages) => ({
    dtype: pages[0]![0]!.dtype,
    channels: pages[0]!.reduce((sum, page) => sum + page.channels, 0),
  }));
  checkSameSamples(source.key, samples);
  const layouts = levels.map((pages) => tileLayout(pages[0]![0]!));
  for (const layout of layouts) checkTile(source.key, layout, samples[0]!.channels, first, limits);
  await probeFirstTile(first, layouts[0]!, signal);
  const orientation = orientationNote(await first.directory.number(TAG.orientation, signal));
  if (first.photometric === PHOTOMETRIC.whiteIsZero && first.format.kind !== "uint")
    file.notes.values = "white is 0; they are read as stored";
  const warnings = Object.entries({ ...file.notes, ...(orientation && { orientation }) })
    .filter(([name]) => WARNED.has(name))
    .map(([name, text]) => `${name} of the image: ${text}`);
  const details = { ...picture.details, ...file.notes, ...(orientation && { orientation }) };
  return new TiledImage(
    {
      format: picture.format,
      axes,
      dtype: first.dtype,
      channels: picture.channels,
      spacing: picture.spacing,
      objectivePower: picture.objectivePower,
      bounds: undefined,
      warnings,
      details: Object.keys(details).length > 0 ? details : undefined,
      etag: picture.etag ?? source.etag,
      byteLength: source.byteLength,
    },
    levels.map((pages, i) => tiffLevel(pages, layouts[i]!, axes, options)),
    limits,
    () => source.bytesRead,
  );
}

/** Lower levels, each `[z][c]` like the base, from the SubIFDs that all pages have alike. */
export async function subLevels(
  file: TiffFile,
  base: readonly (readonly TiffPage[])[],
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<TiffPage[][][]> {
  const first = base[0]![0]!;
  const offsets = await subOffsets(first, signal);
  const outlines = await Promise.all(
    offsets.map(async (offset, position) => ({
      ...(await outlinePage(await file.directoryAt(offset, signal), signal)),
      position,
    })),
  );
  const chosen = reducedPages<PageSize & { position: number }>(
    { width: first.width, height: first.height, position: -1 },
    outlines.filter((page) => !page.mask),
  );
  return Promise.all(
    chosen.map(({ position }) =>
      Promise.all(
        base.map((row) =>
          Promise.all(
            row.map(async (page) => {
              const offset = (await subOffsets(page, signal))[position];
              if (offset === undefined) {
                throw new ImageFormatError(
                  `${file.source.key}: its channels have different numbers of levels; export it again`,
                );
              }
              return readPage(file, await file.directoryAt(offset, signal), limits, signal);
            }),
          ),
        ),
      ),
    ),
  );
}

type PageSize = Pick<PageOutline, "width" | "height">;

/** Most levels that one page may list; halving a side of 2³¹ takes 31. */
const MAX_LEVELS = 256;

async function subOffsets(page: TiffPage, signal?: AbortSignal): Promise<number[]> {
  return Array.from((await page.directory.numbers(TAG.subIfds, signal, MAX_LEVELS)) ?? []);
}

function checkSamePlanes(key: string, pages: readonly TiffPage[]): void {
  const first = pages[0]!;
  for (const page of pages) {
    if (page.width !== first.width || page.height !== first.height || page.dtype !== first.dtype) {
      throw new ImageFormatError(`${key}: its planes have different sizes or sample types; export it again`);
    }
  }
}

/** Checks the size over all channels; each page alone was checked when it was read. */
function checkTile(
  key: string,
  layout: TileLayout,
  channels: number,
  { dtype }: TiffPage,
  limits: ImageLimits,
): void {
  const { tileWidth, tileHeight } = layout;
  const bytes = tileWidth * tileHeight * channels * bytesPerSample(dtype);
  if (bytes <= limits.tileBytes) return;
  throw new ImageFormatError(
    `${key}: one tile or strip of ${tileWidth} × ${tileHeight} pixels and ${channels} channels needs ${bytes} bytes, over the limit of ${limits.tileBytes}; convert it to a tiled OME-TIFF, for instance with bioformats2raw and raw2ometiff`,
  );
}
