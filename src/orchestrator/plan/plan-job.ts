import type { ImageSource } from "../../image/image-source.ts";
import type { ModelManifest } from "../../model-package/manifest.ts";
import { buildCellGrid } from "../../tiling/grid/cell-grid.ts";
import { keepWindows, maskFraction, type RegionMask } from "../../tiling/grid/keep-windows.ts";
import { product, type Raster, type Rect } from "../../tiling/grid/raster.ts";
import {
  planWindowGrid,
  subGrid,
  type WindowGrid,
  windowCount,
  windowIndex,
  windowPosition,
} from "../../tiling/grid/window-grid.ts";
import { WindowSet } from "../../tiling/grid/window-set.ts";
import { findTissue } from "../../tiling/pixels/tissue-mask.ts";
import { JobError, NoTissueError } from "../errors.ts";
import { orientSource } from "../input/orient-source.ts";
import { chooseChannels } from "../input/read-pixels.ts";
import { reorientedImage, type WindowSource } from "../input/reoriented-image.ts";
import { readThumbnail } from "../input/thumbnail.ts";
import type { JobPlan, Orientation } from "../job-plan.ts";
import type { FullJobSettings, JobSettings } from "../settings.ts";
import { type ChosenLevel, chooseLevel } from "./choose-level.ts";
import { measureDomain } from "./domain.ts";
import { measurePercentiles } from "./intensity-percentiles.ts";

/**
 * Windows of a shard along the last two axes. Flat, because what the merger holds grows with the rows of windows that
 * are under way at once; the margin read twice is then no larger than for a square.
 */
const SHARD_BLOCK: readonly [number, number] = [2, 8];
/**
 * Of the label map, along the last two axes. Labels compress to a few per cent, so a wide chunk is still a small object
 * and there are a quarter as many; the height is what the rows of open chunks cost.
 */
const CHUNK = [512, 2048];
/** What a side of a TIFF tile is a multiple of. */
const TILE_UNIT = 16;

/** No larger than the label map, for the rest of a chunk would be stored, compressed and read for nothing. */
export function chooseChunkShape(size: readonly number[]): number[] {
  const plane = size.slice(-2).map((n, a) => Math.min(CHUNK[a]!, Math.ceil(n / TILE_UNIT) * TILE_UNIT));
  return [...size.slice(2).map(() => 1), ...plane];
}
/** Samples of a shard's windows in a volume. */
const SHARD_SAMPLES = 4 << 20;
const PLAN_WINDOW_LIMIT = 50_000_000;
/** Cells times the windows over them: what planning and merging go through; this many take about 20 s. */
const OVERLAP_LIMIT = 200_000_000;
/** Relative difference in aspect ratio up to which a mask is taken to show the whole slide. */
const MASK_ASPECT_TOLERANCE = 0.02;

export interface PlanOptions {
  mask?: Raster<Uint8Array>;
  /** Read a thumbnail of the region also where no tissue is looked for. */
  thumbnail?: boolean;
  /** Windows of a shard along the last two axes; default what suits a run on one machine. */
  shardBlock?: (job: { window: readonly number[]; channels: number }) => readonly [number, number];
  signal?: AbortSignal;
}

export async function planJob(
  source: ImageSource,
  manifest: ModelManifest,
  settings: FullJobSettings,
  options: PlanOptions = {},
): Promise<JobPlan> {
  const { signal, mask } = options;
  const isVolume = source.axes === "zyx";
  if (isVolume && mask) throw new JobError("--mask is for 2-D images");
  const { slices, level, mpp, window, reorientation, orientation } = matchImageToModel(
    source,
    manifest,
    settings,
  );
  // From here on all is in the model's orientation.
  const image = reorientedImage(source, reorientation);
  const levelShape = image.levels[level]!.shape;
  const asked = placeRegion(image, level, settings.roi);
  const seen = slices ? 2 * slices.context + 1 : 1;
  const channels = chooseChannels(source, manifest.input.channels / seen, settings.channels);
  // Of the whole image also where a region is asked for: windows, tissue and intensities are then those of the whole.
  const whole = planWindowGrid({
    shape: levelShape,
    window,
    overlapRatio: settings.overlapRatio ?? manifest.window.overlapRatio,
    policy: settings.policy ?? manifest.window.policy,
  });
  const total = windowCount(whole);
  if (total > PLAN_WINDOW_LIMIT) {
    throw new JobError(
      `the plan has ${total} windows, the limit is ${PLAN_WINDOW_LIMIT}: choose a coarser --level`,
    );
  }
  const { grid, region, first } = subGrid(whole, asked.region);
  checkOverlap(grid);
  const all = { origin: levelShape.map(() => 0), size: levelShape };
  const wantsTissue = settings.tissueMask && !mask && !isVolume;
  const picture = wantsTissue
    ? await readThumbnail(source, { origin: all.origin, size: source.levels[0]!.shape }, channels, signal)
    : undefined;
  if (mask) checkMask(mask, levelShape);
  const tissue = picture && findTissue(picture);
  const raster = mask ?? tissue?.mask;
  const regionMask: RegionMask | undefined = raster && { raster, rect: all };
  const keptOfWhole = regionMask ? keepWindows(whole, all.origin, regionMask) : WindowSet.all(total);
  const kept = settings.roi ? partOfKept(whole, keptOfWhole, grid, first) : keptOfWhole;
  if (kept.size === 0) {
    throw new NoTissueError(
      mask
        ? "the mask leaves no window in the region: check that it shows the same slide"
        : "no tissue was found in the region: use --no-tissue-mask or --mask <file>",
    );
  }
  const { normalization } = manifest.input;
  const scaling =
    normalization.kind === "range"
      ? { low: normalization.low, high: normalization.high }
      : await measurePercentiles(
          image,
          level,
          all,
          whole,
          keptOfWhole,
          channels,
          [normalization.low, normalization.high],
          signal,
        );
  const shardBlock =
    options.shardBlock?.({ window, channels: channels.length * seen }) ??
    blockOf(window, slices !== undefined);
  const importance = settings.importance ?? manifest.window.importance;
  const { downsample } = image.levels[level]!;
  const shape0 = image.levels[0]!.shape;
  const thumbnail = async () => {
    if (picture && !settings.roi) return picture;
    return options.thumbnail && !isVolume
      ? readThumbnail(source, asked.region0, channels, signal)
      : undefined;
  };
  const plan: JobPlan = {
    level,
    mpp,
    levelShape,
    downsample,
    region,
    region0: settings.roi ? toLevel0(region, downsample, shape0) : asked.region0,
    ...(settings.roi && { output: asked }),
    grid,
    kept,
    modelWindow: manifest.window.size,
    ...(slices && { slices }),
    ...(reorientation && { reorientation }),
    ...(orientation && { orientation }),
    importance:
      importance === "constant"
        ? "constant"
        : grid.policy === "nnunet"
          ? "gaussian-nnunet"
          : "gaussian-monai",
    precision: settings.precision,
    channels,
    scaling,
    shardBlock: [...region.size.slice(2).map(() => 1), ...shardBlock],
    chunk: chooseChunkShape(region.size),
    ...(tissue && { tissue: tissue.finding }),
    tissueFraction: regionMask && maskFraction(regionMask, asked.region),
    thumbnail: await thumbnail(),
  };
  const domain = await measureDomain(source, manifest, plan, signal);
  return domain ? { ...plan, domain } : plan;
}

/**
 * Where an image meets a model, by what its header says alone.
 * @throws {JobError} when they do not go together
 */
export function matchImageToModel(
  source: ImageSource,
  manifest: ModelManifest,
  settings: Pick<FullJobSettings, "level" | "maxMagnification" | "orientation">,
): ChosenLevel & Pick<JobPlan, "slices"> & Orientation {
  const oriented = orientSource(source, manifest, settings);
  const image = reorientedImage(source, oriented.reorientation);
  const slices = chooseSlices(image, manifest);
  return { ...oriented, slices, ...chooseLevel(image, manifest, settings, slices) };
}

/** How a model looks at an image: as it is, or slice by slice. */
function chooseSlices(source: Pick<WindowSource, "axes">, { name, input }: ModelManifest): JobPlan["slices"] {
  if (source.axes === "yx") {
    if (input.axes === "zyx" || input.slices) {
      throw new JobError(
        `model ${name} takes ${input.slices ? "slices of a volume" : "volumes"}, the image is one plane: choose a model for images, such as --model nuclei`,
      );
    }
    return undefined;
  }
  if (input.axes === "zyx") return undefined;
  const { axis, context } = input.slices ?? { axis: "z", context: 0 };
  if (input.channels % (2 * context + 1) !== 0) {
    throw new JobError(
      `model ${name} takes ${input.channels} channels and ${2 * context + 1} slices: they do not divide`,
    );
  }
  return { axis: source.axes.indexOf(axis), context };
}

/** Windows of a shard along the last two axes: as many as `SHARD_BLOCK`, fewer where they are large. */
function blockOf(window: readonly number[], slices: boolean): readonly [number, number] {
  if (window.length === 2 || slices) return SHARD_BLOCK;
  return [1, Math.max(1, Math.min(4, Math.floor(SHARD_SAMPLES / product(window))))];
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

/** A mask of a part of the slide, or one with x and y swapped, would be stretched over it without a word. */
function checkMask(mask: Raster<Uint8Array>, levelShape: readonly number[]): void {
  const [height, width] = mask.shape as [number, number];
  const stretch = (width / height) * (levelShape[0]! / levelShape[1]!);
  // A small mask cannot meet the ratio better than its own pixels allow.
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

/** Which windows of a part of a grid are kept. @param first per axis, the number of the part's first window */
function partOfKept(
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

/** Rough need of memory while the job runs, in bytes: what the frontier holds at its widest. */
export function estimateMemory(plan: JobPlan, classes: number): number {
  const [, ...across] = plan.region.size;
  const width = product(across);
  const overlap = Math.ceil(plan.grid.window[0]! * plan.grid.overlapRatio);
  const strips = overlap * width * classes * { u8: 1, f16: 4, f32: 4 }[plan.precision];
  const chunks = width * plan.chunk[0]! * 2;
  const batches = (product(plan.modelWindow) * 4 + product(plan.grid.window)) * classes * 4 * 3;
  return strips + chunks + batches + (300 << 20);
}
