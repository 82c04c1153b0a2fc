import type { LabelChunk } from "../../image/label-sink.ts";
import {
  type ChunkGrid,
  chunkGrid,
  chunkIndex,
  chunkRect,
  chunksTouching,
} from "../../tiling/grid/chunk-grid.ts";
import type { Raster, Rect } from "../../tiling/grid/raster.ts";
import { type Shard, shardAt, shardsTouching } from "../../tiling/grid/shards.ts";
import { windowRect } from "../../tiling/grid/window-grid.ts";
import { importanceMap } from "../../tiling/merge/importance-map.ts";
import { type MergedChunk, Merger } from "../../tiling/merge/merger.ts";
import { countSeams, emptySeamCounts, type SeamCounts, seamLines } from "../../tiling/merge/seam-score.ts";
import type { MaskRecord } from "../../tiling/wire/mask-record.ts";
import type { JobPlan } from "../job-plan.ts";
import { partOfOutput, planCoverage } from "../plan/plan-coverage.ts";

/** Chunks of a block along the last two axes: some hundred windows. Windows at its border are read twice. */
const BLOCK_CHUNKS = [4, 2];
/** Maps with fewer chunks are merged chunk by chunk, so that a running job shows more than two halves of them. */
const FEW_CHUNKS = 32;

/** Neighbouring chunks that are merged together: the unit of dispatch and retry of merging. */
export interface MergeBlock {
  /** Number in raster order of the blocks. */
  id: number;
  /** Numbers of the chunks that hold a sample under a kept window. */
  chunks: readonly number[];
}

/** Divides the label map into blocks, without those that no kept window covers. */
export function planMergeBlocks(plan: JobPlan): MergeBlock[] {
  const chunks = chunkGrid(plan.region.size, plan.chunk);
  const blocks = new Map<number, number[]>();
  const { blockOf } = blocksOfChunks(plan);
  for (const chunk of planCoverage(plan).chunks) {
    const id = blockOf(chunkIndex(chunks, chunk));
    const block = blocks.get(id);
    if (block) block.push(chunk);
    else blocks.set(id, [chunk]);
  }
  return [...blocks]
    .sort(([a], [b]) => a - b)
    .map(([id, members]) => ({ id, chunks: members.sort((a, b) => a - b) }));
}

/** How many chunks a block has along each axis, and the block of a chunk, given by its index along each axis. */
export function blocksOfChunks(plan: Pick<JobPlan, "region" | "chunk">): {
  size: readonly number[];
  blockOf(chunk: readonly number[]): number;
} {
  const chunks = chunkGrid(plan.region.size, plan.chunk);
  const size = blockSize(chunks);
  const counts = chunks.counts.map((n, axis) => Math.ceil(n / size[axis]!));
  return {
    size,
    blockOf: (chunk) => chunk.reduce((n, i, axis) => n * counts[axis]! + Math.floor(i / size[axis]!), 0),
  };
}

function blockSize(chunks: ChunkGrid): number[] {
  const axes = chunks.counts.length;
  if (chunks.counts.reduce((a, b) => a * b) <= FEW_CHUNKS) return new Array<number>(axes).fill(1);
  return [...new Array<number>(Math.max(0, axes - 2)).fill(1), ...BLOCK_CHUNKS].slice(-axes);
}

/** Seam counts of a block; they add up over the blocks of a job. */
export interface MergeStatistics {
  windows: number;
  seams: SeamCounts;
  compared: number;
  disagreed: number;
}

/**
 * Merges the chunks of one block from the records of the windows that cover them. Shards are read in their order, one
 * at a time, so memory holds the records of one shard and the merger's frontier. The bytes equal those of a merge of
 * the whole map.
 */
export async function mergeBlock(options: {
  plan: JobPlan;
  classes: number;
  block: MergeBlock;
  readRecords: (shard: Shard) => Promise<readonly MaskRecord[]>;
  writeChunk: (chunk: LabelChunk) => Promise<unknown>;
}): Promise<MergeStatistics> {
  const { plan, classes, block, readRecords, writeChunk } = options;
  const wanted = new Set(block.chunks);
  const merger = new Merger({
    grid: plan.grid,
    kept: plan.kept,
    importance: importanceMap(plan.importance, plan.grid.window),
    classes,
    precision: plan.precision,
    chunk: plan.chunk,
    wanted: (chunk) => wanted.has(chunk),
  });
  const seams = emptySeamCounts();
  const lines = seamLines(plan.grid);
  const finish = async ({ index, raster }: MergedChunk) => {
    const labels = raster as Raster<Uint8Array>;
    countSeams(...partOfOutput(plan, labels, chunkRect(merger.chunks, index)), lines, seams);
    await writeChunk({ index, raster: labels });
  };
  let windows = 0;
  for (const { shard, windows: needed } of shardsOfBlock(plan, block)) {
    for (const record of await readRecords(shard)) {
      if (!needed.has(record.window)) continue;
      windows++;
      for (const chunk of merger.add(record)) await finish(chunk);
    }
  }
  merger.finish();
  return { windows, seams, ...merger.comparison };
}

/** The shards that a block is merged from, in the order of reading, with the windows that cover the block. */
export function* shardsOfBlock(
  plan: Pick<JobPlan, "region" | "chunk" | "grid" | "kept" | "shardBlock">,
  block: MergeBlock,
): Generator<{ shard: Shard; windows: ReadonlySet<number> }> {
  const chunks = chunkGrid(plan.region.size, plan.chunk);
  const wanted = new Set(block.chunks);
  for (const id of shardsTouching(plan.grid, plan.shardBlock, boxAround(chunks, block.chunks))) {
    const shard = shardAt(plan.grid, plan.kept, plan.shardBlock, id);
    if (!shard) continue;
    const windows = new Set(
      shard.windows.filter((w) =>
        chunksTouching(chunks, windowRect(plan.grid, w)).some((c) => wanted.has(c)),
      ),
    );
    if (windows.size > 0) yield { shard, windows };
  }
}

function boxAround(chunks: ChunkGrid, numbers: readonly number[]): Rect {
  const rects = numbers.map((n) => chunkRect(chunks, chunkIndex(chunks, n)));
  const low = chunks.shape.map((_, axis) => Math.min(...rects.map((r) => r.origin[axis]!)));
  const high = chunks.shape.map((_, axis) => Math.max(...rects.map((r) => r.origin[axis]! + r.size[axis]!)));
  return { origin: low, size: high.map((h, axis) => h - low[axis]!) };
}

export function addStatistics(a: MergeStatistics, b: MergeStatistics): MergeStatistics {
  const seams = { ...a.seams };
  for (const key of Object.keys(seams) as (keyof SeamCounts)[]) seams[key] += b.seams[key];
  return {
    windows: a.windows + b.windows,
    seams,
    compared: a.compared + b.compared,
    disagreed: a.disagreed + b.disagreed,
  };
}
