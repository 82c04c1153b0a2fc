import type { ImageSource } from "../../image/image-source.ts";
import type { ModelManifest } from "../../model-package/manifest.ts";
import { buildCellGrid } from "../../tiling/grid/cell-grid.ts";
import { keepWindows, maskFraction, type RegionMask } from "../../tiling/grid/keep-windows.ts";
import type { Raster, Rect } from "../../tiling/grid/raster.ts";
import {
  planWindowGrid,
  subGrid,
  type WindowGrid,
  windowCount,
  windowIndex,
  windowPosition,
} from "../../tiling/grid/window-grid.ts";
import { WindowSet } from "../../tiling/grid/window-set.ts";
import { findTissue, type TissueFinding } from "../../tiling/pixels/tissue-mask.ts";
import { JobError, NoTissueError } from "../errors.ts";
import type { WindowSource } from "../input/reoriented-image.ts";
import { readRegionPicture } from "../input/thumbnail.ts";
import type { FullJobSettings, JobSettings } from "../settings.ts";
import type { ChosenLevel } from "./choose-level.ts";

const PLAN_WINDOW_LIMIT = 50_000_000;
/** Limit of the sum over cells of the windows that cover them. Planning and merging visit each; this many take about 20 s. */
const OVERLAP_LIMIT = 200_000_000;
/** Allowed relative difference between the aspect ratios of mask and slide. */
const MASK_ASPECT_TOLERANCE = 0.02;

export interface PlanWindowsOptions {
  source: ImageSource;
  /** The source in the model's orientation. */
  image: WindowSource;
  chosen: Pick<ChosenLevel, "level" | "window">;
  manifest: ModelManifest;
  settings: FullJobSettings;
  channels: readonly number[];
  /** Spans the whole level; replaces tissue detection. */
  mask?: Raster<Uint8Array>;
  signal?: AbortSignal;
}

export interface PlannedWindows {
  /** Grid of the whole level, and its kept windows. */
  whole: { grid: WindowGrid; kept: WindowSet };
  /** Grid of the windows that touch the requested region, and the kept ones among them. */
  grid: WindowGrid;
  kept: WindowSet;
  /** Everything that `grid` covers, in samples of the level and of level 0. */
  region: Rect;
  region0: Rect;
  /** The requested region; the whole image without `--roi`. */
  requested: { region: Rect; region0: Rect };
  /** Of the whole image; read only for tissue detection. */
  thumbnail: Raster<Uint8Array> | undefined;
  tissue: TissueFinding | undefined;
  /** Share of the requested region in the mask; undefined without a mask. */
  tissueFraction: number | undefined;
}

/**
 * Plans the window grid and the windows that are kept. Grid and tissue are those of the whole image even if a region is
 * requested, so that a region gets the same labels as in a run of the whole.
 * @throws {JobError} if there are too many windows, or mask or region do not fit
 * @throws {NoTissueError} if no window is kept
 */
export async function planWindows(options: PlanWindowsOptions): Promise<PlannedWindows> {
  const { source, image, chosen, manifest, settings, channels, mask, signal } = options;
  const level = image.levels[chosen.level]!;
  const levelShape = level.shape;
  const requested = placeRegion(image, chosen.level, settings.roi);
  const whole = planWindowGrid({
    shape: levelShape,
    window: chosen.window,
    overlapRatio: settings.overlapRatio ?? manifest.window.overlapRatio,
    policy: settings.policy ?? manifest.window.policy,
  });
  const total = windowCount(whole);
  if (total > PLAN_WINDOW_LIMIT) {
    throw new JobError(
      `the plan has ${total} windows, the limit is ${PLAN_WINDOW_LIMIT}: choose a coarser --level`,
    );
  }
  const { grid, region, first } = subGrid(whole, requested.region);
  checkOverlap(grid);
  if (mask) checkMask(mask, levelShape);
  const all = { origin: levelShape.map(() => 0), size: levelShape };
  const findsTissue = settings.tissueMask && !mask && source.axes === "yx";
  const thumbnail = findsTissue
    ? await readRegionPicture(source, { origin: all.origin, size: source.levels[0]!.shape }, channels, signal)
    : undefined;
  const tissue = thumbnail && findTissue(thumbnail);
  const raster = mask ?? tissue?.mask;
  const regionMask: RegionMask | undefined = raster && { raster, rect: all };
  const keptOfWhole = regionMask ? keepWindows(whole, all.origin, regionMask) : WindowSet.all(total);
  const kept = settings.roi ? keptInPart(whole, keptOfWhole, grid, first) : keptOfWhole;
  if (kept.size === 0) {
    throw new NoTissueError(
      mask
        ? "the mask leaves no window in the region: check that it shows the same slide"
        : "no tissue was found in the region: use --no-tissue-mask or --mask <file>",
    );
  }
  const shape0 = image.levels[0]!.shape;
  return {
    whole: { grid: whole, kept: keptOfWhole },
    grid,
    kept,
    region,
    region0: settings.roi ? toLevel0(region, level.downsample, shape0) : requested.region0,
    requested,
    thumbnail,
    tissue: tissue?.finding,
    tissueFraction: regionMask && maskFraction(regionMask, requested.region),
  };
}

function checkOverlap(grid: WindowGrid): void {
  let pairs = 1;
  let deepest = 1;
  for (const intervals of buildCellGrid(grid).intervals) {
    const depths = intervals.map(({ first, last }) => last - first + 1);
    pairs *= depths.reduce((sum, d) => sum + d, 0);
    deepest *= Math.max(...depths);
  }
  if (pairs > OVERLAP_LIMIT || deepest > 65535) {
    throw new JobError(
      `an overlap of ${grid.overlapRatio} puts up to ${deepest} windows over each pixel, too many for this image: choose a smaller --overlap`,
    );
  }
}

/** Rejects masks of another aspect ratio: a mask of a part, or with x and y swapped, would be stretched over the slide. */
function checkMask(mask: Raster<Uint8Array>, levelShape: readonly number[]): void {
  const [height, width] = mask.shape as [number, number];
  const stretch = (width / height) * (levelShape[0]! / levelShape[1]!);
  // Rounding to whole pixels limits how well a small mask can match.
  const tolerance = MASK_ASPECT_TOLERANCE + 1 / Math.min(width, height);
  if (Math.abs(Math.log(stretch)) > tolerance) {
    throw new JobError(
      `the mask is ${width}×${height}, which is not the shape of the slide (${levelShape[1]}×${levelShape[0]} at this level): it must span the whole slide`,
    );
  }
}

function placeRegion(source: Pick<WindowSource, "levels">, level: number, roi: JobSettings["roi"]) {
  const { shape, downsample } = source.levels[level]!;
  const shape0 = source.levels[0]!.shape;
  if (!roi) {
    const origin = shape.map(() => 0);
    return { region: { origin, size: shape }, region0: { origin, size: shape0 } };
  }
  if (shape.length !== 2) throw new JobError("--roi is for 2-D images");
  const [x, y, width, height] = roi;
  const size0 = `${shape0[1]}×${shape0[0]}`;
  if (!(width > 0 && height > 0) || ![x, y, width, height].every(Number.isInteger)) {
    throw new JobError(
      `--roi ${roi.join(",")}: x,y,width,height must be whole numbers, width and height above 0`,
    );
  }
  if (x < 0 || y < 0 || x + width > shape0[1]! || y + height > shape0[0]!) {
    throw new JobError(`--roi ${roi.join(",")} reaches outside the image, which is ${size0} pixels`);
  }
  const origin = [y, x].map((o, axis) => Math.min(shape[axis]! - 1, Math.floor(o / downsample[axis]!)));
  const end = [y + height, x + width].map((e, axis) =>
    Math.min(shape[axis]!, Math.ceil(e / downsample[axis]!)),
  );
  const region = { origin, size: end.map((e, axis) => Math.max(1, e - origin[axis]!)) };
  return { region, region0: toLevel0(region, downsample, shape0) };
}

/** A rect of a level in samples of level 0. */
function toLevel0(rect: Rect, downsample: readonly number[], shape0: readonly number[]): Rect {
  const origin = rect.origin.map((o, axis) => Math.round(o * downsample[axis]!));
  const size = rect.size.map((s, axis) =>
    Math.min(Math.round(s * downsample[axis]!), shape0[axis]! - origin[axis]!),
  );
  return { origin, size };
}

/** The kept windows of a part of a grid. @param first number of the part's first window along each axis */
function keptInPart(
  whole: WindowGrid,
  kept: WindowSet,
  part: WindowGrid,
  first: readonly number[],
): WindowSet {
  const out = new WindowSet(windowCount(part));
  for (let window = 0; window < out.length; window++) {
    const position = windowPosition(part, window).map((p, axis) => p + first[axis]!);
    if (kept.has(windowIndex(whole, position))) out.add(window);
  }
  return out;
}
