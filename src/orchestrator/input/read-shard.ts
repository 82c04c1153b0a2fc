import type { ImageSource } from "../../image/image-source.ts";
import { allocate, getDType, product, type Raster, type Rect } from "../../tiling/grid/raster.ts";
import type { Shard } from "../../tiling/grid/shards.ts";
import { windowRect } from "../../tiling/grid/window-grid.ts";
import { extractSlices, extractWindow, regionForWindow } from "../../tiling/pixels/extract-window.ts";
import { resample } from "../../tiling/pixels/resample.ts";
import { detachBuffers } from "../../tiling/wire/detach-buffers.ts";
import type { JobPlan } from "../job-plan.ts";
import { readPixels } from "./read-pixels.ts";
import { reorientedImage } from "./reoriented-image.ts";

/** The windows of a shard with their pixels. */
export interface ShardInput {
  windows: readonly number[];
  /** `[N, ...modelWindow, C]` */
  pixels: Raster;
}

/** Windows `from` to `to` (half-open) of a batch; pixels are not copied. */
export function sliceBatch({ windows, pixels }: ShardInput, from: number, to: number): ShardInput {
  const [, ...shape] = pixels.shape;
  const length = product(shape);
  const data = pixels.data.subarray(from * length, to * length) as Raster["data"];
  return { windows: windows.slice(from, to), pixels: { data, shape: [to - from, ...shape] } };
}

function toLevel(plan: JobPlan, rect: Rect): Rect {
  return { origin: rect.origin.map((o, axis) => o + plan.region.origin[axis]!), size: rect.size };
}

/** Reads the region of a shard once and extracts its windows. */
export async function readShard(
  source: ImageSource,
  plan: JobPlan,
  shard: Shard,
  signal: AbortSignal | undefined,
): Promise<ShardInput> {
  const { slices, levelShape, modelWindow } = plan;
  const { windows } = shard;
  const regionRect = regionForWindow(withContext(toLevel(plan, shard.rect), plan), levelShape)!;
  const image = reorientedImage(source, plan.reorientation);
  const region = await readPixels(image, plan.level, regionRect, plan.channels, signal);
  const channels = plan.channels.length * (slices ? 2 * slices.context + 1 : 1);
  const size = product(modelWindow) * channels;
  const data = allocate(getDType(region.data), windows.length * size);
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
  // Megabytes for a volume, of which the garbage collector sees only a few bytes.
  detachBuffers(region.data);
  return { windows, pixels: { data, shape: [windows.length, ...modelWindow, channels] } };
}

/** The slices around one, cut at the ends of the volume. */
function withContext(rect: Rect, { slices, levelShape }: JobPlan): Rect {
  if (!slices) return rect;
  const { axis, context } = slices;
  const first = Math.max(0, rect.origin[axis]! - context);
  const end = Math.min(levelShape[axis]!, rect.origin[axis]! + rect.size[axis]! + context);
  return { origin: rect.origin.with(axis, first), size: rect.size.with(axis, end - first) };
}
