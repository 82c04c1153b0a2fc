import type { ImageSource } from "../../image/image-source.ts";
import type { ModelManifest } from "../../model-package/manifest.ts";
import { product, type Raster } from "../../tiling/grid/raster.ts";
import type { WindowGrid } from "../../tiling/grid/window-grid.ts";
import { JobError } from "../errors.ts";
import { chooseChannels } from "../input/read-pixels.ts";
import { reorientedImage } from "../input/reoriented-image.ts";
import { readRegionPicture } from "../input/thumbnail.ts";
import type { JobPlan } from "../job-plan.ts";
import type { FullJobSettings } from "../settings.ts";
import { chooseChunkShape } from "./chunk-shape.ts";
import { measureDomain } from "./domain.ts";
import { measurePercentiles } from "./intensity-percentiles.ts";
import { matchImageToModel } from "./match-image.ts";
import { isRegion } from "./plan-region.ts";
import { planWindows } from "./plan-windows.ts";

/**
 * Windows of a shard along the last two axes. Flat, because the merger's memory grows with the rows of windows in
 * progress; the margin that is read twice is no larger than for a square.
 */
const SHARD_BLOCK: readonly [number, number] = [2, 8];
/** Samples of a shard's windows in a volume. */
const SHARD_SAMPLES = 4 << 20;
export interface PlanOptions {
  mask?: Raster<Uint8Array>;
  /** Read a thumbnail of the region even without tissue detection. */
  thumbnail?: boolean;
  /** Windows of a shard along the last two axes; default: for a run on one machine. */
  shardBlock?: (job: { window: readonly number[]; channels: number }) => readonly [number, number];
  signal?: AbortSignal;
}

/** Plans a job: a pure function of image, model and settings. @throws {JobError} if they do not fit together */
export async function planJob(
  source: ImageSource,
  manifest: ModelManifest,
  settings: FullJobSettings,
  options: PlanOptions = {},
): Promise<JobPlan> {
  const { signal, mask } = options;
  const isVolume = source.axes === "zyx";
  if (isVolume && mask) throw new JobError("--mask is for 2-D images");
  const matched = matchImageToModel(source, manifest, settings);
  const { slices, level, mpp, window, reorientation, orientation } = matched;
  // From here on everything is in the model's orientation.
  const image = reorientedImage(source, reorientation);
  const { shape: levelShape, downsample } = image.levels[level]!;
  const slicesSeen = slices ? 2 * slices.context + 1 : 1;
  const channels = chooseChannels(source, manifest.input.channels / slicesSeen, settings.channels);
  const windows = await planWindows({
    source,
    image,
    chosen: matched,
    manifest,
    settings,
    channels,
    mask,
    signal,
  });
  const { grid, kept, region, region0, requested, tissue, tissueFraction } = windows;
  const { normalization } = manifest.input;
  const scaling =
    normalization.kind === "range"
      ? { low: normalization.low, high: normalization.high }
      : await measurePercentiles(
          image,
          level,
          { origin: levelShape.map(() => 0), size: levelShape },
          windows.whole.grid,
          windows.whole.kept,
          channels,
          [normalization.low, normalization.high],
          signal,
        );
  const shardBlock =
    options.shardBlock?.({ window, channels: channels.length * slicesSeen }) ??
    chooseShardBlock(window, slices !== undefined);
  const wantsThumbnail = options.thumbnail && !isVolume;
  const thumbnail =
    windows.thumbnail && !isRegion(settings)
      ? windows.thumbnail
      : wantsThumbnail
        ? await readRegionPicture(source, requested.region0, channels, signal)
        : undefined;
  const plan: JobPlan = {
    level,
    mpp,
    levelShape,
    downsample,
    region,
    region0,
    ...(isRegion(settings) && { output: requested }),
    grid,
    kept,
    modelWindow: manifest.window.size,
    ...(slices && { slices }),
    ...(reorientation && { reorientation }),
    ...(orientation && { orientation }),
    importance: chooseImportance(settings.importance ?? manifest.window.importance, grid.policy),
    precision: settings.precision,
    channels,
    scaling,
    shardBlock: [...region.size.slice(2).map(() => 1), ...shardBlock],
    chunk: chooseChunkShape(region.size),
    ...(tissue && { tissue }),
    tissueFraction,
    thumbnail,
  };
  const domain = await measureDomain(source, manifest, plan, signal);
  return domain ? { ...plan, domain } : plan;
}

/** The Gaussian of the library whose window positions are used: MONAI's and nnU-Net's differ. */
function chooseImportance(
  importance: "gaussian" | "constant",
  policy: WindowGrid["policy"],
): JobPlan["importance"] {
  if (importance === "constant") return "constant";
  return policy === "nnunet" ? "gaussian-nnunet" : "gaussian-monai";
}

/** `SHARD_BLOCK`, or fewer windows for volumes. */
function chooseShardBlock(window: readonly number[], slices: boolean): readonly [number, number] {
  if (window.length === 2 || slices) return SHARD_BLOCK;
  return [1, Math.max(1, Math.min(4, Math.floor(SHARD_SAMPLES / product(window))))];
}

/** Rough estimate of the memory of a running job in bytes: the merger's frontier at its widest. */
export function estimateMemory(plan: JobPlan, classes: number): number {
  const [, ...across] = plan.region.size;
  const width = product(across);
  const overlap = Math.ceil(plan.grid.window[0]! * plan.grid.overlapRatio);
  const strips = overlap * width * classes * { u8: 1, f16: 4, f32: 4 }[plan.precision];
  const chunks = width * plan.chunk[0]! * 2;
  const batches = (product(plan.modelWindow) * 4 + product(plan.grid.window)) * classes * 4 * 3;
  return strips + chunks + batches + (300 << 20);
}
