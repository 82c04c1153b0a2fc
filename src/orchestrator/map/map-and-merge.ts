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
  /** One or more, verified by the golden tile. */
  backends: readonly Backend[];
  /** Chunks that an earlier attempt finished, by number. */
  finished: ReadonlySet<number>;
  writeChunk: (chunk: LabelChunk) => Promise<unknown>;
  /** Windows in one run of the model; requests contain whole batches. */
  batchSize: number;
  signal?: AbortSignal;
  onProgress?: (progress: MapProgress) => void;
  /** Called when a backend gets no more work. */
  onDisabled?: (backend: string, reason: string) => void;
  clock: Clock;
  /** Updated while the job runs, so that an interrupted attempt is counted too. */
  statistics: MapStatistics;
}

export interface MapStatistics {
  windows: number;
  seams: SeamCounts;
  /** Samples in overlaps at which windows were compared, and how often their classes differed. */
  compared: number;
  disagreed: number;
  /** Time of reading, merging and writing; inference runs concurrently. */
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
 * Segments the windows of unfinished chunks and merges them to chunks. Reading, merging and writing run while the
 * backends compute. Memory holds the frontier of the merger and the windows in progress.
 * @returns the counts of each backend, in their order
 */
export async function mapAndMerge(options: MapOptions): Promise<BackendCounts[]> {
  const { source, model, plan, backends, finished, writeChunk, batchSize, clock, statistics } = options;
  const { signal = new AbortController().signal } = options;
  const { seams, milliseconds } = statistics;
  const { manifest } = model;
  const buffers = new RecordBuffers();
  const coverage = planCoverage(plan);
  const wanted = (chunk: number) => coverage.chunks.has(chunk) && !finished.has(chunk);
  const merger = new Merger({
    onReleased: (buffer) => buffers.release(buffer),
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
    buffers.hold(records);
    const done = records.flatMap((record) => merger.add(record));
    milliseconds.merge += clock.now() - started;
    windowsDone += records.length;
    statistics.windows += records.length;
    options.onProgress?.({ windowsDone, windowsTotal });
    // After an error, running writes are awaited, so that nothing still runs when the job ends.
    if (done.length > 0) await timed("write", () => forEachConcurrent(done, done.length, finishChunk));
  };

  const pixels = new PixelBuffers();
  // A single backend without timeout never gets a window twice; otherwise another request may still use the pixels.
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
