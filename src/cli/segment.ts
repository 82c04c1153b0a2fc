import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ImageSource } from "../image/image-source.ts";
import type { LabelMapInfo } from "../image/label-sink.ts";
import { openImage } from "../image/open-image.ts";
import { openLabelStage } from "../image/write/label-stage.ts";
import { checkGoldenTile } from "../inference/golden-tile.ts";
import { OrtNodeSegmenter } from "../inference/ort-node.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import { JobError } from "../orchestrator/errors.ts";
import { jobIdentity } from "../orchestrator/job-identity.ts";
import { mapAndMerge } from "../orchestrator/map-and-merge.ts";
import { type JobPlan, planJob } from "../orchestrator/plan-job.ts";
import {
  type AttemptTotals,
  describeModel,
  describePlan,
  describeSeam,
  describeSource,
  type RunManifest,
} from "../orchestrator/run-manifest.ts";
import type { JobSettings } from "../orchestrator/settings.ts";
import { FsStore } from "../storage/fs-store.ts";
import { locate } from "../storage/locate.ts";
import { chunkGrid, chunkIndex } from "../tiling/chunk-grid.ts";
import { plannedCoverage } from "../tiling/coverage.ts";
import type { Raster } from "../tiling/raster.ts";
import { noSeams } from "../tiling/seam-score.ts";
import { planShards } from "../tiling/shards.ts";
import { loadModel } from "./find-model.ts";
import type { ProgressListener } from "./progress.ts";
import { RunDirectory } from "./run-directory.ts";
import { DEFAULT_OUTPUTS, parseOutputs, writeRunOutputs } from "./run-outputs.ts";
import { version } from "./version.ts";

export interface SegmentOptions extends JobSettings {
  /** Path, `file://`, `http(s)://` or `s3://bucket/key`. */
  source: string;
  /** A bundled model's name or a package directory. */
  model: string;
  variant?: string;
  /** Directory for the results; made if missing. */
  out: string;
  /** Micrometres per pixel of level 0, where the file does not say or is wrong. */
  mpp?: number;
  /** Image whose pixels above 0 say what to segment; it spans the whole slide at any resolution. */
  mask?: string;
  outputs?: readonly string[];
  /** Threads of the model; default all cores. */
  concurrency?: number;
  /** Windows per run of the model. */
  batchSize?: number;
  resume?: boolean;
  force?: boolean;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
}

const BATCH_SIZE = 4;
const USD_PER_CORE_HOUR = 0.04;

/** Segments one image on this machine. Resolves with the run manifest when everything is under its final name. */
export async function segment(options: SegmentOptions): Promise<RunManifest> {
  const { signal, onProgress = () => {} } = options;
  const startedAt = new Date();
  const started = performance.now();
  const seconds: Record<string, number> = {};
  const mark = (stage: string, since: number) => {
    seconds[stage] = (performance.now() - since) / 1000;
  };
  const outputs = parseOutputs(options.outputs ?? DEFAULT_OUTPUTS);
  if (options.resume) {
    const finished = RunDirectory.finishedRun(options.out);
    if (finished) return JSON.parse(finished) as RunManifest;
  }

  onProgress({ type: "stage", stage: "opening" });
  const model = await loadModel(options.model, { variant: options.variant, signal });
  const opened = await openSource(options.source, options.mpp, signal);
  const { source } = opened;
  let segmenter: OrtNodeSegmenter | undefined;
  let directory: RunDirectory | undefined;
  let work: FsStore | undefined;
  try {
    const mask = options.mask ? await readMask(options.mask, signal) : undefined;
    mark("open", started);

    const planning = performance.now();
    onProgress({ type: "stage", stage: "planning" });
    const settings = jobSettings(options);
    const plan = await planJob(source, model.manifest, settings, { mask: mask?.raster, signal });
    const job = await jobIdentity(source, model, settings, { mask: mask?.etag, outputs });
    directory = RunDirectory.open(options.out, job, options);
    work = new FsStore(directory.work);
    const totals = readTotals(directory);
    totals.attempts++;
    mark("plan", planning);

    const loading = performance.now();
    segmenter = await OrtNodeSegmenter.create(model, { threads: options.concurrency });
    await checkGoldenTile(segmenter, model, { signal });
    const modelRunsBefore = segmenter.runMilliseconds;
    mark("loadModel", loading);

    const stage = await openLabelStage(work, "labels.ome.zarr", labelMapInfo(source, model, plan), {
      signal,
    });
    const chunks = chunkGrid(plan.region.size, plan.chunk);
    const coverage = plannedCoverage(plan.grid, plan.kept, plan.chunk);
    const finished = new Set([...coverage.chunks].filter((c) => stage.has(chunkIndex(chunks, c))));
    const shards = [...planShards(plan.grid, plan.kept, plan.shardBlock)].length;

    const segmenting = performance.now();
    onProgress({ type: "stage", stage: "segmenting" });
    let announced = false;
    let last = { windowsDone: 0, windowsTotal: 0 };
    try {
      const summary = await mapAndMerge({
        source,
        model,
        plan,
        segmenter,
        finished,
        writeChunk: (chunk) => stage.writeChunk(chunk, { signal }),
        batchSize: options.batchSize ?? BATCH_SIZE,
        signal,
        now: () => performance.now(),
        onProgress: (progress) => {
          last = progress;
          if (!announced) {
            announced = true;
            onProgress({
              type: "plan",
              windows: plan.kept.size,
              windowsToDo: progress.windowsTotal,
              level: plan.level,
              mpp: plan.mpp.at(-1)!,
              tissueFraction: plan.tissueFraction,
            });
          }
          const windowsPerSecond = (progress.windowsDone / (performance.now() - segmenting)) * 1000;
          const secondsLeft = (progress.windowsTotal - progress.windowsDone) / windowsPerSecond;
          onProgress({ type: "progress", ...progress, windowsPerSecond, secondsLeft });
        },
      });
      addTotals(totals, summary);
    } finally {
      totals.windowsSegmented += last.windowsDone;
      totals.bytesRead += source.bytesRead;
      await writeTotals(work, totals);
    }
    mark("segment", segmenting);
    seconds.model = (segmenter.runMilliseconds - modelRunsBefore) / 1000;

    for (const chunk of coverage.chunks) {
      if (!stage.has(chunkIndex(chunks, chunk))) {
        throw new JobError(`chunk ${chunk} of the label map is missing: continue with --resume`);
      }
    }

    const writing = performance.now();
    onProgress({ type: "stage", stage: "writing outputs" });
    const written = await writeRunOutputs({
      directory: directory.work,
      work,
      stage,
      manifest: model.manifest,
      plan,
      source,
      sourceName: opened.name,
      job,
      outputs,
      analysedPixels: coverage.covered,
      signal,
    });
    mark("outputs", writing);
    mark("total", started);

    const manifest: RunManifest = {
      formatVersion: 1,
      job,
      tilewright: version(),
      startedAt: startedAt.toISOString(),
      finishedAt: new Date().toISOString(),
      source: describeSource(source, opened.name, plan),
      model: describeModel(model),
      settings,
      plan: describePlan(plan, shards),
      coverage: { complete: true, coveredSamples: coverage.covered, outsideMaskSamples: coverage.uncovered },
      seam: describeSeam(totals),
      backends: [{ ...segmenter.info, windows: totals.windowsSegmented }],
      attempts: totals.attempts,
      bytesRead: totals.bytesRead,
      bytesWritten: written.outputs.reduce((n, o) => n + o.byteLength, 0),
      seconds: { ...seconds, ...scaled(totals.milliseconds) },
      outputs: written.outputs,
      summary: written.summary,
      estimatedCost: {
        currency: "USD",
        amount: (seconds.total! / 3600) * segmenter.info.threads * USD_PER_CORE_HOUR,
        basis: `${segmenter.info.threads} cores at ${USD_PER_CORE_HOUR} USD an hour`,
      },
    };
    directory.publish(
      written.outputs.map((o) => o.name),
      `${JSON.stringify(manifest, null, 2)}\n`,
    );
    onProgress({ type: "stage", stage: "done" });
    return manifest;
  } finally {
    await work?.close();
    directory?.release();
    await segmenter?.close();
    await opened.close();
  }
}

export interface OpenedSource {
  source: ImageSource;
  name: string;
  close(): Promise<void>;
}

export async function openSource(
  uri: string,
  mpp: number | undefined,
  signal?: AbortSignal,
): Promise<OpenedSource> {
  const located = await locate(uri).catch((cause) => {
    // What was typed is no address: a fault of the command, not of a file.
    throw cause instanceof TypeError ? new JobError(cause.message, { cause }) : cause;
  });
  try {
    const source = await openImage(located.store, located.key, { mpp, signal });
    return {
      source,
      name: located.name,
      close: async () => {
        await source.close();
        await located.close();
      },
    };
  } catch (error) {
    await located.close();
    throw error;
  }
}

const MASK_SAMPLES = 64 << 20;

/** A mask of any resolution as 0 and 1; its coarsest level will do, windows are far larger than its pixels. */
export async function readMask(
  uri: string,
  signal: AbortSignal | undefined,
): Promise<{ raster: Raster<Uint8Array>; etag: string }> {
  const { source, close } = await openSource(uri, 1, signal);
  try {
    const level = source.levels.findIndex((l) => l.shape.reduce((p, n) => p * n, 1) <= MASK_SAMPLES);
    if (level < 0 || source.axes !== "yx") {
      throw new JobError(
        `the mask ${uri} is too large: save it with at most ${MASK_SAMPLES >> 20} megapixels`,
      );
    }
    const size = source.levels[level]!.shape;
    const { data } = await source.readRegion(level, { origin: [0, 0], size }, { signal });
    const channels = source.channels.length;
    const set = new Uint8Array(data.length / channels);
    for (let i = 0; i < set.length; i++) {
      for (let c = 0; c < channels; c++) if (data[i * channels + c]! > 0) set[i] = 1;
    }
    return { raster: { data: set, shape: size }, etag: source.etag };
  } finally {
    await close();
  }
}

export function jobSettings(options: SegmentOptions): JobSettings {
  const { level, roi, overlapRatio, policy, importance, precision, tissueMask, channels } = options;
  return { level, roi, overlapRatio, policy, importance, precision, tissueMask, channels };
}

function labelMapInfo(source: ImageSource, model: ModelPackage, plan: JobPlan): LabelMapInfo {
  return {
    shape: plan.region.size,
    chunk: plan.chunk,
    dtype: "uint8",
    axes: source.axes,
    spacing: { values: plan.mpp, unit: "micrometer" },
    placement: { origin: plan.region0.origin, downsample: source.levels[plan.level]!.downsample },
    classes: model.manifest.classes,
    name: model.manifest.name,
  };
}

const TOTALS = "attempts.json";

function readTotals(directory: RunDirectory): AttemptTotals {
  try {
    if (directory.resuming)
      return JSON.parse(readFileSync(join(directory.work, TOTALS), "utf8")) as AttemptTotals;
  } catch {
    // The attempt before was killed before it could write: its share of the statistics is lost, its chunks are not.
  }
  return {
    attempts: 0,
    windowsSegmented: 0,
    bytesRead: 0,
    seams: noSeams(),
    compared: 0,
    disagreed: 0,
    milliseconds: {},
  };
}

/** A full disk must not hide the error that brought us here: statistics may be lost, work may not. */
async function writeTotals(work: FsStore, totals: AttemptTotals): Promise<void> {
  await work.put(TOTALS, new TextEncoder().encode(JSON.stringify(totals))).catch(() => {});
}

function addTotals(totals: AttemptTotals, summary: Awaited<ReturnType<typeof mapAndMerge>>): void {
  for (const key of Object.keys(totals.seams) as (keyof AttemptTotals["seams"])[]) {
    totals.seams[key] += summary.seams[key];
  }
  totals.compared += summary.merge.compared;
  totals.disagreed += summary.merge.disagreed;
  for (const [stage, ms] of Object.entries(summary.milliseconds)) {
    totals.milliseconds[stage] = (totals.milliseconds[stage] ?? 0) + ms;
  }
}

function scaled(milliseconds: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(milliseconds).map(([stage, ms]) => [stage, ms / 1000]));
}
