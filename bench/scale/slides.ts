import type { ImageSource } from "../../src/image/image-source.ts";
import type { ModelManifest } from "../../src/model-package/manifest.ts";
import type { JobPlan } from "../../src/orchestrator/job-plan.ts";
import { edgeShardBlock } from "../../src/orchestrator/map/edge-shards.ts";
import { planMergeBlocks, shardsOfBlock } from "../../src/orchestrator/map/merge-block.ts";
import { planJob } from "../../src/orchestrator/plan/plan-job.ts";
import { checkSettings } from "../../src/orchestrator/settings.ts";
import { chunkGrid } from "../../src/tiling/grid/chunk-grid.ts";
import { computeCoverage } from "../../src/tiling/grid/coverage.ts";
import type { Raster } from "../../src/tiling/grid/raster.ts";
import { planShards } from "../../src/tiling/grid/shards.ts";
import type { Random } from "./random.ts";

/** The work of the service for a slide, from its plan. */
export interface Slide {
  windows: number;
  /** Ascending ids, and the windows of each by id. */
  shards: readonly number[];
  windowsOf: Uint8Array;
  merges: readonly Merge[];
  /** Chunks of the label map at full resolution. */
  chunks: number;
  chunkRows: number;
  /** Pixels under kept windows. */
  megapixels: number;
}

export interface Merge {
  id: number;
  /** Shards whose records are read, and their windows over the block. */
  shards: readonly number[];
  windows: number;
  chunks: number;
}

export function slideOf(plan: JobPlan): Slide {
  const planned = [...planShards(plan.grid, plan.kept, plan.shardBlock)];
  const windowsOf = new Uint8Array((planned.at(-1)?.id ?? 0) + 1);
  for (const { id, windows } of planned) windowsOf[id] = windows.length;
  const coverage = computeCoverage(plan.grid, plan.kept, plan.chunk);
  return {
    windows: plan.kept.size,
    shards: planned.map(({ id }) => id),
    windowsOf,
    merges: planMergeBlocks(plan).map((block) => {
      const needed = [...shardsOfBlock(plan, block)];
      return {
        id: block.id,
        shards: needed.map(({ shard }) => shard.id),
        windows: needed.reduce((n, { windows }) => n + windows.size, 0),
        chunks: block.chunks.length,
      };
    }),
    chunks: coverage.chunks.size,
    chunkRows: chunkGrid(plan.region.size, plan.chunk).counts[0]!,
    megapixels: coverage.covered / 1e6,
  };
}

/** Of a slide in the middle, in pixels: 17 041 windows of 224² at a quarter of overlap, of 40 % tissue. */
const SHAPE: readonly [number, number] = [30_000, 40_000];
const TISSUE = 0.4;
/** Of the mask, along its longer side. */
const MASK = 256;

/**
 * Slides of different size and shape, planned as real ones are; only their pixels are not there. All together have `count` times
 * the windows of one in the middle, within some per cent.
 */
export async function makeSlides(manifest: ModelManifest, count: number, random: Random): Promise<Slide[]> {
  const slides: Slide[] = [];
  // Evenly spread over the distribution, so that few stand for many.
  for (let n = 0; n < count; n++) {
    const area = Math.exp(0.6 * quantile((n + 0.5) / count)) / Math.exp(0.18);
    const stretch = random.between(0.7, 1.3);
    const shape = [Math.sqrt(area) * stretch, Math.sqrt(area) / stretch].map((f, axis) =>
      Math.round(f * SHAPE[axis]!),
    ) as [number, number];
    const mask = tissue(shape, random);
    const plan = await planJob(blank(shape, manifest), withoutPercentiles(manifest), checkSettings({}), {
      mask,
      shardBlock: (about) => edgeShardBlock(about, manifest.classes.length, "u8"),
    });
    slides.push(slideOf(plan));
  }
  return slides;
}

/** Of the normal distribution: Tukey's lambda with 0.14, within 0.01 between 0.01 and 0.99. */
function quantile(p: number): number {
  return (p ** 0.14 - (1 - p) ** 0.14) / 0.1975;
}

/** Two pieces of tissue. */
function tissue([height, width]: readonly [number, number], random: Random): Raster<Uint8Array> {
  const scale = MASK / Math.max(height, width);
  const shape = [Math.round(height * scale), Math.round(width * scale)] as const;
  const data = new Uint8Array(shape[0] * shape[1]);
  const share = TISSUE * random.between(0.8, 1.2);
  const split = random.between(0.35, 0.65);
  const pieces = [
    { x: split / 2, rx: split / 2 },
    { x: (1 + split) / 2, rx: (1 - split) / 2 },
  ].map(({ x, rx }) => ({ x, rx: rx * 0.85, ry: Math.min(0.5, share / (Math.PI * 0.85 * 0.5)) }));
  for (let y = 0; y < shape[0]; y++) {
    for (let x = 0; x < shape[1]; x++) {
      const inside = pieces.some(
        (p) => ((x / shape[1] - p.x) / p.rx) ** 2 + ((y / shape[0] - 0.5) / p.ry) ** 2 <= 1,
      );
      if (inside) data[y * shape[1] + x] = 1;
    }
  }
  return { data, shape };
}

function withoutPercentiles(manifest: ModelManifest): ModelManifest {
  return {
    ...manifest,
    input: { ...manifest.input, normalization: { kind: "range", low: 0, high: 255 } },
  } as ModelManifest;
}

function blank(shape: readonly number[], { input }: ModelManifest): ImageSource {
  return {
    format: "blank",
    axes: "yx",
    dtype: "uint8",
    levels: [{ shape, downsample: [1, 1], chunk: [256, 256] }],
    channels: Array.from({ length: input.channels }, () => ({})),
    spacing: { values: [input.spacing.y, input.spacing.x], unit: input.spacing.unit },
    objectivePower: undefined,
    bounds: undefined,
    etag: "blank",
    byteLength: 0,
    bytesRead: 0,
    // Planning samples some pixels to measure the distance from the model's domain; here their values do not matter.
    readRegion: async (_level, { size }) => {
      const shape = [...size, 3];
      return { data: new Uint8Array(shape.reduce((product, n) => product * n, 1)).fill(200), shape };
    },
    close: () => Promise.resolve(),
  };
}
