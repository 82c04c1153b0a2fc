import type { ImageSource } from "../../image/image-source.ts";
import type { Segmenter } from "../../inference/segmenter.ts";
import type { ModelManifest } from "../../model-package/manifest.ts";
import { copyBox, intersect } from "../../tiling/grid/box.ts";
import { chunkGrid, chunkRect } from "../../tiling/grid/chunk-grid.ts";
import { product, type Raster, type Rect } from "../../tiling/grid/raster.ts";
import { planShards } from "../../tiling/grid/shards.ts";
import { type WindowGrid, windowIndex } from "../../tiling/grid/window-grid.ts";
import { WindowSet } from "../../tiling/grid/window-set.ts";
import type { JobPlan } from "../job-plan.ts";
import { chooseChunkShape } from "../plan/chunk-shape.ts";
import { toLevel0 } from "../plan/plan-region.ts";
import { mergeBlock, planMergeBlocks } from "./merge-block.ts";
import { runShard } from "./run-shard.ts";

/** The labels that one window gives by itself. */
export interface WindowPreview {
  /** Of the window, cut at the border of the image: `[y, x]`, samples of the level. */
  labels: Raster<Uint8Array>;
  /** Where they lie, in level-0 samples. */
  rect0: Rect;
  /**
   * The part that no neighbour covers, in level-0 samples: a run of the whole image has the same labels there. Undefined where
   * neighbours cover all of the window.
   */
  inner0: Rect | undefined;
  /** Whether a run segments this window: it leaves out background. */
  isKept: boolean;
}

/**
 * Segments one window of a plan of a whole 2-D image, with the intensities of that plan.
 * @param at position along each axis, in level-0 samples; the window whose middle is nearest is taken
 */
export async function previewWindow(options: {
  source: ImageSource;
  manifest: ModelManifest;
  plan: JobPlan;
  segmenter: Segmenter;
  at: readonly number[];
  signal?: AbortSignal;
}): Promise<WindowPreview> {
  const { source, manifest, plan, segmenter, at, signal } = options;
  const position = nearestWindow(
    plan.grid,
    at.map((n, axis) => n / plan.downsample[axis]!),
  );
  const alone = planWindow(plan, position, source);
  const shard = planShards(alone.grid, alone.kept, alone.shardBlock).next().value!;
  const records = await runShard({ source, manifest, plan: alone, shard, segmenter, signal });
  const { size } = alone.region;
  const labels = { data: new Uint8Array(product(size)), shape: size };
  const chunks = chunkGrid(size, alone.chunk);
  for (const block of planMergeBlocks(alone)) {
    await mergeBlock({
      plan: alone,
      classes: manifest.classes.length,
      block,
      readRecords: async () => records,
      async writeChunk({ index, raster }) {
        const { origin, size: part } = chunkRect(chunks, index);
        const from = { data: raster.data as Uint8Array, shape: raster.shape, origin: [0, 0] };
        copyBox(from, { ...labels, origin }, part);
      },
    });
  }
  const inner = innerPart(plan.grid, position);
  const shape0 = source.levels[0]!.shape;
  return {
    labels,
    rect0: alone.region0,
    inner0: inner && toLevel0(inner, plan.downsample, shape0),
    isKept: plan.kept.has(windowIndex(plan.grid, position)),
  };
}

/** Along each axis the window whose middle is nearest. */
function nearestWindow(grid: WindowGrid, at: readonly number[]): number[] {
  return grid.starts.map((starts, axis) => {
    const distance = (start: number) => Math.abs(start + grid.window[axis]! / 2 - at[axis]!);
    return starts.reduce((best, start, i) => (distance(start) < distance(starts[best]!) ? i : best), 0);
  });
}

/** The plan of one window alone. */
function planWindow(plan: JobPlan, position: readonly number[], { levels }: Pick<ImageSource, "levels">) {
  const origin = plan.grid.starts.map((starts, axis) => starts[position[axis]!]!);
  const whole = { origin: plan.levelShape.map(() => 0), size: plan.levelShape };
  const region = intersect({ origin, size: plan.grid.window }, whole)!;
  return {
    ...plan,
    region,
    region0: toLevel0(region, plan.downsample, levels[0]!.shape),
    grid: {
      ...plan.grid,
      shape: region.size,
      starts: origin.map((start, axis) => [start - region.origin[axis]!]),
    },
    kept: WindowSet.all(1),
    chunk: chooseChunkShape(region.size),
  };
}

/** The samples of a window that no other window of the grid covers. */
function innerPart({ starts, window, shape }: WindowGrid, position: readonly number[]): Rect | undefined {
  const axes = starts.map((all, axis) => {
    const i = position[axis]!;
    const size = window[axis]!;
    const from = Math.max(0, all[i]!, i > 0 ? all[i - 1]! + size : 0);
    const to = Math.min(shape[axis]!, all[i]! + size, all[i + 1] ?? shape[axis]!);
    return { from, size: to - from };
  });
  if (axes.some(({ size }) => size <= 0)) return undefined;
  return { origin: axes.map(({ from }) => from), size: axes.map(({ size }) => size) };
}
