import type { ImageSource } from "../../image/image-source.ts";
import type { ModelManifest } from "../../model-package/manifest.ts";
import { buildCellGrid } from "../../tiling/grid/cell-grid.ts";
import { keepWindows, maskFraction, type RegionMask } from "../../tiling/grid/keep-windows.ts";
import type { Raster } from "../../tiling/grid/raster.ts";
import { planWindowGrid, type WindowGrid, windowCount } from "../../tiling/grid/window-grid.ts";
import { WindowSet } from "../../tiling/grid/window-set.ts";
import { findTissue, type TissueFinding } from "../../tiling/pixels/tissue-mask.ts";
import { JobError, NoTissueError } from "../errors.ts";
import type { WindowSource } from "../input/reoriented-image.ts";
import { readRegionPicture } from "../input/thumbnail.ts";
import type { FullJobSettings } from "../settings.ts";
import type { ChosenLevel } from "./choose-level.ts";
import { chooseRegionWindows, NO_TISSUE, type RegionWindows, type WholeWindows } from "./plan-region.ts";

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

export interface PlannedWindows extends RegionWindows {
  /** Grid of the whole level, and its kept windows. */
  whole: WholeWindows;
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
  const all = { origin: levelShape.map(() => 0), size: levelShape };
  const every = { grid: whole, kept: WindowSet.all(total) };
  const { grid, requested } = chooseRegionWindows(every, image, chosen.level, settings);
  checkOverlap(grid);
  if (mask) checkMask(mask, levelShape);
  const findsTissue = settings.tissueMask && !mask && source.axes === "yx";
  const thumbnail = findsTissue
    ? await readRegionPicture(source, { origin: all.origin, size: source.levels[0]!.shape }, channels, signal)
    : undefined;
  const tissue = thumbnail && findTissue(thumbnail);
  const raster = mask ?? tissue?.mask;
  const regionMask: RegionMask | undefined = raster && { raster, rect: all };
  const keptOfWhole = regionMask ? keepWindows(whole, all.origin, regionMask) : every.kept;
  const chosenWhole = { grid: whole, kept: keptOfWhole };
  const windows = chooseRegionWindows(chosenWhole, image, chosen.level, settings);
  if (windows.kept.size === 0) {
    throw new NoTissueError(
      mask ? "the mask leaves no window in the region: check that it shows the same slide" : NO_TISSUE,
    );
  }
  return {
    ...windows,
    whole: chosenWhole,
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
