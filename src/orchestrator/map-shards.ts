import type { ImageSource } from "../image/image-source.ts";
import type { Segmenter } from "../inference/segmenter.ts";
import { extractWindow, regionForWindow } from "../tiling/extract-window.ts";
import { encodeProbabilities, type MaskRecord } from "../tiling/mask-record.ts";
import type { Scaling } from "../tiling/normalise.ts";
import { allocate, dtypeOf, product, type Raster, type Rect } from "../tiling/raster.ts";
import { resample } from "../tiling/resample.ts";
import type { Shard } from "../tiling/shards.ts";
import { windowRect } from "../tiling/window-grid.ts";
import type { JobPlan } from "./plan-job.ts";
import { readPixels } from "./read-pixels.ts";

/** Windows of one run of the model. */
export interface Batch {
  windows: readonly number[];
  /** `[N, ...modelWindow, C]` */
  pixels: Raster;
}

function toLevel(plan: JobPlan, rect: Rect): Rect {
  return { origin: rect.origin.map((o, axis) => o + plan.region.origin[axis]!), size: rect.size };
}

/** Reads a shard's region once and cuts its windows into batches of `batchSize`, the last one smaller. */
export async function readShard(
  source: ImageSource,
  plan: JobPlan,
  shard: Shard,
  batchSize: number,
  signal: AbortSignal | undefined,
): Promise<Batch[]> {
  const regionRect = regionForWindow(toLevel(plan, shard.rect), plan.levelShape)!;
  const region = await readPixels(source, plan.level, regionRect, plan.channels, signal);
  const batches: Batch[] = [];
  const channels = plan.channels.length;
  const size = product(plan.modelWindow) * channels;
  for (let i = 0; i < shard.windows.length; i += batchSize) {
    const windows = shard.windows.slice(i, i + batchSize);
    const data = allocate(dtypeOf(region.data), windows.length * size);
    windows.forEach((window, n) => {
      const rect = toLevel(plan, windowRect(plan.grid, window));
      const pixels = extractWindow(region, regionRect, rect, plan.levelShape);
      data.set(resample(pixels, plan.modelWindow, 0).data, n * size);
    });
    batches.push({ windows, pixels: { data, shape: [windows.length, ...plan.modelWindow, channels] } });
  }
  return batches;
}

/** Runs the model on a batch and brings its probabilities back to the grid's samples and precision. */
export async function segmentBatch(
  segmenter: Segmenter,
  plan: JobPlan,
  batch: Batch,
  scaling: Scaling,
  signal: AbortSignal | undefined,
): Promise<MaskRecord[]> {
  // What is resampled on the way back is rounded after that, and must come back exact.
  const resampled = plan.modelWindow.join() !== plan.grid.window.join();
  const precision = resampled ? "f32" : plan.precision;
  const probabilities = await segmenter.segment(batch.pixels, { scaling, precision, signal });
  const [, ...shape] = probabilities.shape;
  const length = product(shape);
  // One window at a time: on the grid it may be far larger than in the model.
  return batch.windows.map((window, n) => {
    const data = probabilities.data.subarray(n * length, (n + 1) * length);
    const onGrid = resample({ data, shape }, plan.grid.window, 1) as Raster<Float32Array>;
    return { window, precision: plan.precision, data: encodeProbabilities(onGrid.data, plan.precision) };
  });
}
