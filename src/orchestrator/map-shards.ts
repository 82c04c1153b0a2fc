import type { ImageSource } from "../image/image-source.ts";
import { scalingOf } from "../inference/scaling.ts";
import type { Segmenter } from "../inference/segmenter.ts";
import type { ModelManifest } from "../model-package/manifest.ts";
import { extractSlices, extractWindow, regionForWindow } from "../tiling/extract-window.ts";
import { freeMemory } from "../tiling/free-memory.ts";
import { encodeProbabilities, type MaskRecord } from "../tiling/mask-record.ts";
import { allocate, dtypeOf, product, type Raster, type Rect } from "../tiling/raster.ts";
import { resample } from "../tiling/resample.ts";
import type { Shard } from "../tiling/shards.ts";
import { windowRect } from "../tiling/window-grid.ts";
import { checkEncoded, checkProbabilities } from "./check-answer.ts";
import { alongPlane, type JobPlan } from "./job-plan.ts";
import { readPixels } from "./read-pixels.ts";
import { reorientedImage } from "./reoriented-image.ts";

/** Windows and their pixels. */
export interface Batch {
  windows: readonly number[];
  /** `[N, ...modelWindow, C]` */
  pixels: Raster;
}

/** Windows `from` to `to` (half-open) of a batch; pixels are not copied. */
export function sliceBatch({ windows, pixels }: Batch, from: number, to: number): Batch {
  const [, ...shape] = pixels.shape;
  const length = product(shape);
  const data = pixels.data.subarray(from * length, to * length) as Raster["data"];
  return { windows: windows.slice(from, to), pixels: { data, shape: [to - from, ...shape] } };
}

function toLevel(plan: JobPlan, rect: Rect): Rect {
  return { origin: rect.origin.map((o, axis) => o + plan.region.origin[axis]!), size: rect.size };
}

/** Reads a shard's region once and cuts its windows. */
export async function readShard(
  source: ImageSource,
  plan: JobPlan,
  shard: Shard,
  signal: AbortSignal | undefined,
): Promise<Batch> {
  const { slices, levelShape, modelWindow } = plan;
  const { windows } = shard;
  const regionRect = regionForWindow(withContext(toLevel(plan, shard.rect), plan), levelShape)!;
  const image = reorientedImage(source, plan.reorientation);
  const region = await readPixels(image, plan.level, regionRect, plan.channels, signal);
  const channels = plan.channels.length * (slices ? 2 * slices.context + 1 : 1);
  const size = product(modelWindow) * channels;
  const data = allocate(dtypeOf(region.data), windows.length * size);
  const resampled = plan.grid.window.join() !== modelWindow.join();
  windows.forEach((window, n) => {
    const rect = toLevel(plan, windowRect(plan.grid, window));
    const place = data.subarray(n * size, (n + 1) * size) as Raster["data"];
    if (!slices && !resampled) {
      extractWindow(region, regionRect, rect, levelShape, "reflect", place);
      return;
    }
    const pixels = slices
      ? extractSlices(region, regionRect, rect, levelShape, slices)
      : extractWindow(region, regionRect, rect, levelShape);
    place.set(resample(pixels, modelWindow, 0).data);
  });
  // Of volumes megabytes a shard, of which the garbage collector sees a few bytes.
  freeMemory(region.data);
  return { windows, pixels: { data, shape: [windows.length, ...modelWindow, channels] } };
}

/** The slices that a network sees beside its own, as far as there are any. */
function withContext(rect: Rect, { slices, levelShape }: JobPlan): Rect {
  if (!slices) return rect;
  const { axis, context } = slices;
  const first = Math.max(0, rect.origin[axis]! - context);
  const end = Math.min(levelShape[axis]!, rect.origin[axis]! + rect.size[axis]! + context);
  return { origin: rect.origin.with(axis, first), size: rect.size.with(axis, end - first) };
}

/**
 * Runs the model on a batch and brings its probabilities back to the grid's samples and precision.
 * @throws {InferenceError} when what comes back has another shape or values that are no probabilities
 */
export async function segmentBatch(
  segmenter: Segmenter,
  plan: JobPlan,
  batch: Batch,
  manifest: ModelManifest,
  signal: AbortSignal | undefined,
): Promise<MaskRecord[]> {
  // What is resampled on the way back is rounded after that, and must come back exact.
  const window = alongPlane(plan.grid.window, plan.slices);
  const resampled = plan.modelWindow.join() !== window.join();
  const precision = resampled ? "f32" : plan.precision;
  const scaling = scalingOf(manifest, plan.scaling.low, plan.scaling.high);
  const options = { scaling, precision, signal };
  const { info } = segmenter;
  const shape = [info.classes, ...plan.modelWindow];
  const expected = [batch.windows.length, ...shape];
  if (!resampled && segmenter.segmentEncoded) {
    const { activation } = manifest.output;
    const encoded = await segmenter.segmentEncoded(batch.pixels, { ...options, labels: true });
    checkEncoded(encoded, { shape: expected, precision, activation, runtime: info.runtime });
    return batch.windows.map((window, n) => ({
      window,
      precision,
      data: encoded.data[n]!,
      labels: encoded.labels?.[n],
    }));
  }
  const probabilities = await segmenter.segment(batch.pixels, options);
  checkProbabilities(probabilities, expected, info.runtime);
  const length = product(shape);
  // One window at a time: on the grid it may be far larger than in the model.
  return batch.windows.map((number, n) => {
    const data = probabilities.data.subarray(n * length, (n + 1) * length);
    const onGrid = resample({ data, shape }, window, 1) as Raster<Float32Array>;
    return {
      window: number,
      precision: plan.precision,
      data: encodeProbabilities(onGrid.data, plan.precision),
    };
  });
}
