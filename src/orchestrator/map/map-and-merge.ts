import type { ImageSource } from "../../image/image-source.ts";
import type { LabelChunk } from "../../image/label-sink.ts";
import type { ModelPackage } from "../../model-package/load-package.ts";
import { forEachConcurrent } from "../../storage/concurrency.ts";
import { chunkRect, chunksTouching } from "../../tiling/grid/chunk-grid.ts";
import type { Raster } from "../../tiling/grid/raster.ts";
import { planShards } from "../../tiling/grid/shards.ts";
import { windowRect } from "../../tiling/grid/window-grid.ts";
import { importanceMap } from "../../tiling/merge/importance-map.ts";
import { type MergedChunk, Merger } from "../../tiling/merge/merger.ts";
import { countSeams, emptySeamCounts, type SeamCounts, seamLines } from "../../tiling/merge/seam-score.ts";
import type { MaskRecord } from "../../tiling/wire/mask-record.ts";
import { readShard, type ShardInput, sliceBatch } from "../input/read-shard.ts";
import type { JobPlan } from "../job-plan.ts";
import { partOfOutput, planCoverage } from "../plan/plan-coverage.ts";
import type { Backend, BackendCounts } from "../scheduler/backend.ts";
import { classifyFailure } from "../scheduler/classify-failure.ts";
import type { Clock } from "../scheduler/clock.ts";
import { Scheduler } from "../scheduler/scheduler.ts";
import { inferBatch } from "./infer-batch.ts";
import { PixelBuffers, RecordBuffers } from "./record-buffers.ts";

export interface MapProgress {
  windowsDone: number;
  windowsTotal: number;
}

export interface MapOptions {
  source: ImageSource;
  model: ModelPackage;
  plan: JobPlan;
  /** One or more; each has passed the golden tile. */
  backends: readonly Backend[];
  /** Chunks that an earlier attempt finished, by number. */
  finished: ReadonlySet<number>;
  writeChunk: (chunk: LabelChunk) => Promise<unknown>;
  /** Windows that are never parted within a shard: what a run of the model takes, where it takes several. */
  batchSize: number;
  signal?: AbortSignal;
  onProgress?: (progress: MapProgress) => void;
  /** A backend is given no more work. */
  onDisabled?: (backend: string, reason: string) => void;
  clock: Clock;
  /** Added to as the job goes on, so that an interrupted attempt leaves its share too. */
  statistics: MapStatistics;
}

export interface MapStatistics {
  windows: number;
  seams: SeamCounts;
  /** Samples in overlaps at which two windows were compared, and how often their classes differed. */
  compared: number;
  disagreed: number;
  /** Waits for reading and writing and the time of merging; inference runs beside them. */
  milliseconds: { read: number; merge: number; write: number };
}

export function emptyStatistics(): MapStatistics {
  return {
    windows: 0,
    seams: emptySeamCounts(),
    compared: 0,
    disagreed: 0,
    milliseconds: { read: 0, merge: 0, write: 0 },
  };
}

/**
 * Segments the windows that unfinished chunks need and merges them to chunks. Reading, merging and writing run
 * while the backends compute; memory is the frontier of the merger and what the fleet has under way.
 * @returns what each backend did, in their order
 */
export async function mapAndMerge(options: MapOptions): Promise<BackendCounts[]> {
  const { source, model, plan, backends, finished, writeChunk, batchSize, clock, statistics } = options;
  const { signal = new AbortController().signal } = options;
  const { seams, milliseconds } = statistics;
  const { manifest } = model;
  const memory = new RecordBuffers();
  const coverage = planCoverage(plan);
  const wanted = (chunk: number) => coverage.chunks.has(chunk) && !finished.has(chunk);
  const merger = new Merger({
    onReleased: (buffer) => memory.release(buffer),
    grid: plan.grid,
    kept: plan.kept,
    importance: importanceMap(plan.importance, plan.grid.window),
    classes: manifest.classes.length,
    precision: plan.precision,
    chunk: plan.chunk,
    wanted,
  });
  const shards = [...planShards(plan.grid, plan.kept, plan.shardBlock)].filter((shard) =>
    shard.windows.some((w) => chunksTouching(merger.chunks, windowRect(plan.grid, w)).some(wanted)),
  );
  const windowsTotal = shards.reduce((n, s) => n + s.windows.length, 0);
  const lines = seamLines(plan.grid);
  let windowsDone = 0;

  const timed = async <T>(stage: keyof typeof milliseconds, work: () => Promise<T>): Promise<T> => {
    const started = clock.now();
    try {
      return await work();
    } finally {
      milliseconds[stage] += clock.now() - started;
    }
  };

  const finishChunk = async (chunk: MergedChunk) => {
    const raster = chunk.raster as Raster<Uint8Array>;
    countSeams(...partOfOutput(plan, raster, chunkRect(merger.chunks, chunk.index)), lines, seams);
    await writeChunk({ index: chunk.index, raster });
  };

  const merge = async (records: readonly MaskRecord[]) => {
    const started = clock.now();
    memory.hold(records);
    const done = records.flatMap((record) => merger.add(record));
    milliseconds.merge += clock.now() - started;
    windowsDone += records.length;
    statistics.windows += records.length;
    options.onProgress?.({ windowsDone, windowsTotal });
    // Where one fails, those that are being written are waited for: nothing is at work when this ends.
    if (done.length > 0) await timed("write", () => forEachConcurrent(done, done.length, finishChunk));
  };

  const pixels = new PixelBuffers();
  // One backend without a time limit is never asked twice for a window; else another attempt may be at the same pixels.
  const runOnce = backends.length === 1 && backends[0]!.timeoutMs === undefined;
  let nextShard = 0;
  let reports: BackendCounts[];
  try {
    const scheduler = new Scheduler<Backend, ShardInput, MaskRecord>({
      backends,
      async next() {
        const shard = shards[nextShard++];
        if (!shard) return undefined;
        const batch = await timed("read", () => readShard(source, plan, shard, signal));
        return { shard: batch, windows: batch.windows.length };
      },
      async run({ segmenter }, { shard, from, to }, stop) {
        const records = await inferBatch(segmenter, plan, sliceBatch(shard, from, to), manifest, stop);
        if (runOnce) pixels.done(shard, to - from);
        return records;
      },
      deliver: merge,
      classifyFailure,
      totalWindows: windowsTotal,
      batchSize,
      clock,
      random: Math.random,
      signal,
      onDisabled: ({ name }, error) => options.onDisabled?.(name, (error as Error)?.message ?? String(error)),
    });
    reports = await scheduler.run();
  } finally {
    statistics.compared += merger.comparison.compared;
    statistics.disagreed += merger.comparison.disagreed;
  }
  merger.finish();
  return reports;
}
