import type { ImageSource } from "../image/image-source.ts";
import type { LabelChunk } from "../image/label-sink.ts";
import { scalingOf } from "../inference/scaling.ts";
import type { Segmenter } from "../inference/segmenter.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import { chunkRect, chunksTouching } from "../tiling/chunk-grid.ts";
import { importanceMap } from "../tiling/importance-map.ts";
import { type MergedChunk, Merger } from "../tiling/merger.ts";
import type { Raster } from "../tiling/raster.ts";
import { countSeams, noSeams, type SeamCounts, seamLines } from "../tiling/seam-score.ts";
import { planShards, type Shard } from "../tiling/shards.ts";
import { windowRect } from "../tiling/window-grid.ts";
import { type Batch, readShard, segmentBatch } from "./map-shards.ts";
import type { JobPlan } from "./plan-job.ts";

/** Batches under way beside those that compute: one is ready for when they are done, one is being merged. */
const AHEAD = 2;

export interface MapProgress {
  windowsDone: number;
  windowsTotal: number;
}

export interface MapOptions {
  source: ImageSource;
  model: ModelPackage;
  plan: JobPlan;
  segmenter: Segmenter;
  /** Chunks that an earlier attempt finished, by number. */
  finished: ReadonlySet<number>;
  writeChunk: (chunk: LabelChunk) => Promise<void>;
  batchSize: number;
  signal?: AbortSignal;
  onProgress?: (progress: MapProgress) => void;
  /** Clock in milliseconds. */
  now: () => number;
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

export function noStatistics(): MapStatistics {
  return {
    windows: 0,
    seams: noSeams(),
    compared: 0,
    disagreed: 0,
    milliseconds: { read: 0, merge: 0, write: 0 },
  };
}

/**
 * Segments the windows that unfinished chunks need and merges them to chunks. Reading, merging and writing run
 * while the backend computes; memory is the frontier of the merger and two batches.
 */
export async function mapAndMerge(options: MapOptions): Promise<void> {
  const { source, model, plan, segmenter, finished, writeChunk, batchSize, now, statistics } = options;
  const { seams, milliseconds } = statistics;
  const { manifest } = model;
  const merger = new Merger({
    grid: plan.grid,
    kept: plan.kept,
    importance: importanceMap(plan.importance, plan.grid.window),
    classes: manifest.classes.length,
    precision: plan.precision,
    chunk: plan.chunk,
    wanted: (chunk) => !finished.has(chunk),
  });
  const shards = [...planShards(plan.grid, plan.kept, plan.shardBlock)].filter((shard) =>
    shard.windows.some((w) =>
      chunksTouching(merger.chunks, windowRect(plan.grid, w)).some((c) => !finished.has(c)),
    ),
  );
  const windowsTotal = shards.reduce((n, s) => n + s.windows.length, 0);
  const scaling = scalingOf(manifest, plan.scaling.low, plan.scaling.high);
  const lines = seamLines(plan.grid);
  let windowsDone = 0;

  // One failure stops everything else that is under way.
  const failed = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, failed.signal]) : failed.signal;

  const timed = async <T>(stage: keyof typeof milliseconds, work: () => Promise<T>): Promise<T> => {
    const started = now();
    try {
      return await work();
    } finally {
      milliseconds[stage] += now() - started;
    }
  };

  const finishChunk = async (chunk: MergedChunk) => {
    const raster = chunk.raster as Raster<Uint8Array>;
    countSeams(raster, chunkRect(merger.chunks, chunk.index), lines, seams);
    await writeChunk({ index: chunk.index, raster });
  };

  const run = async (batch: Batch) => {
    const records = await segmentBatch(segmenter, plan, batch, scaling, signal);
    const started = now();
    const done = records.flatMap((record) => merger.add(record));
    milliseconds.merge += now() - started;
    windowsDone += batch.windows.length;
    statistics.windows += batch.windows.length;
    options.onProgress?.({ windowsDone, windowsTotal });
    if (done.length > 0) await timed("write", async () => void (await Promise.all(done.map(finishChunk))));
  };

  const inFlight = new Set<Promise<void>>();
  const read = (shard: Shard | undefined) =>
    shard && timed("read", () => readShard(source, plan, shard, batchSize, signal));
  try {
    let next = read(shards[0]);
    for (let i = 0; i < shards.length; i++) {
      const batches = (await next)!;
      next = read(shards[i + 1]);
      // Its failure is met at the top of the loop, or never when something else fails first.
      next?.catch(() => {});
      for (const batch of batches) {
        while (inFlight.size >= segmenter.info.threads + AHEAD) await Promise.race(inFlight);
        signal.throwIfAborted();
        const task: Promise<void> = run(batch)
          .catch((error) => failed.abort(error))
          .finally(() => inFlight.delete(task));
        inFlight.add(task);
      }
    }
    await Promise.all(inFlight);
    signal.throwIfAborted();
  } catch (error) {
    failed.abort(error);
    await Promise.allSettled(inFlight);
    throw error;
  } finally {
    statistics.compared += merger.comparison.compared;
    statistics.disagreed += merger.comparison.disagreed;
  }
  merger.finish();
}
