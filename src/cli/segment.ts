import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { directoryTargets } from "../image/write/directory-targets.ts";
import { openLabelStage } from "../image/write/label-stage.ts";
import { checkGoldenTile } from "../inference/golden-tile.ts";
import { JobError } from "../orchestrator/errors.ts";
import { jobIdentity } from "../orchestrator/job-identity.ts";
import { DEFAULT_OUTPUTS, objectSeed, parseOutputs, writeJobOutputs } from "../orchestrator/job-outputs.ts";
import { labelMapInfo } from "../orchestrator/label-map.ts";
import { type MapProgress, mapAndMerge, noStatistics } from "../orchestrator/map-and-merge.ts";
import { type JobPlan, planJob } from "../orchestrator/plan-job.ts";
import {
  type AttemptTotals,
  describeModel,
  describePlan,
  describeSeam,
  describeSource,
  type RunManifest,
} from "../orchestrator/run-manifest.ts";
import { checkSettings, type JobSettings } from "../orchestrator/settings.ts";
import { VERSION } from "../orchestrator/version.ts";
import { chunkGrid, chunkIndex } from "../tiling/chunk-grid.ts";
import { plannedCoverage } from "../tiling/coverage.ts";
import { planShards } from "../tiling/shards.ts";
import { openBackend, parseBackend } from "./backends.ts";
import { loadModel } from "./find-model.ts";
import { openSource, readMask } from "./open-source.ts";
import type { ProgressListener } from "./progress.ts";
import { RunDirectory } from "./run-directory.ts";
import { WorkStore } from "./work-store.ts";

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
  /** Number of the DICOM series, where the source holds several. */
  series?: number;
  /** Image whose pixels above 0 say what to segment; it spans the whole slide at any resolution. */
  mask?: string;
  outputs?: readonly string[];
  /** Threads of the model; default all cores. */
  concurrency?: number;
  /** What runs the model: "cpu" (the default), "wasm" or "edge:<url>". */
  backend?: string;
  /** For edge functions; default TILEWRIGHT_TOKEN of the environment. */
  token?: string;
  /** Windows per run of the model. */
  batchSize?: number;
  resume?: boolean;
  force?: boolean;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
}

/** Threads compute other batches at the same time, so larger ones would only take memory. */
const BATCH_SIZE = 1;
const USD_PER_CORE_HOUR = 0.04;

const machineOptions = z.object({
  mpp: z.number().positive().optional(),
  concurrency: z.int().min(1).max(1024).optional(),
  batchSize: z.int().min(1).max(1024).default(BATCH_SIZE),
});

/** Segments one image on this machine. Resolves with the run manifest when everything is under its final name. */
export async function segment(options: SegmentOptions): Promise<RunManifest> {
  const { signal, onProgress = () => {} } = options;
  const startedAt = new Date();
  const started = performance.now();
  const seconds: Record<string, number> = {};
  const mark = (stage: string, since: number) => {
    seconds[stage] = (performance.now() - since) / 1000;
  };
  const settings = settingsOf(options);
  const machine = machineOptions.safeParse(options);
  if (!machine.success) {
    const { path, message } = machine.error.issues[0]!;
    throw new JobError(`option ${path.join(".")}: ${message}`);
  }
  const { mpp, concurrency, batchSize } = machine.data;
  const backend = parseBackend(options.backend ?? "cpu");
  const outputs = parseOutputs(options.outputs ?? DEFAULT_OUTPUTS);
  RunDirectory.check(options.out, options);

  onProgress({ type: "stage", stage: "opening" });
  const model = await loadModel(options.model, { variant: options.variant, signal });
  const opened = await openSource(options.source, mpp, signal, options.series);
  const { source } = opened;
  let segmenter: Awaited<ReturnType<typeof openBackend>> | undefined;
  let directory: RunDirectory | undefined;
  let work: WorkStore | undefined;
  try {
    const mask = options.mask ? await readMask(options.mask, signal) : undefined;
    mark("open", started);

    // Before anything is written: what cannot run the model leaves nothing behind.
    const loading = performance.now();
    segmenter = await openBackend(backend, model, {
      threads: concurrency,
      token: options.token ?? process.env.TILEWRIGHT_TOKEN,
      signal,
    });
    await checkGoldenTile(segmenter, model, { signal });
    const modelRunsBefore = segmenter.runMilliseconds ?? 0;
    mark("loadModel", loading);

    const planning = performance.now();
    onProgress({ type: "stage", stage: "planning" });
    const job = await jobIdentity(source, model, settings, {
      tilewright: VERSION,
      mask: mask?.etag,
      outputs,
      batchSize,
      // Runtimes differ in the last digit, so work of one is not continued by another.
      ...(backend.kind === "cpu" ? {} : { backend: backend.kind }),
    });
    const place = RunDirectory.open(options.out, job, options);
    if (typeof place === "string") return JSON.parse(place) as RunManifest;
    directory = place;
    work = new WorkStore(directory.work);
    const plan = await planJob(source, model.manifest, settings, {
      mask: mask?.raster,
      thumbnail: outputs.includes("overlay.png"),
      signal,
    });
    const totals = readTotals(directory);
    totals.attempts++;
    mark("plan", planning);

    const stage = await openLabelStage(work, "labels.ome.zarr", labelMapInfo(model.manifest, plan), {
      signal,
    });
    const chunks = chunkGrid(plan.region.size, plan.chunk);
    const coverage = plannedCoverage(plan.grid, plan.kept, plan.chunk);
    const finished = new Set([...coverage.chunks].filter((c) => stage.has(chunkIndex(chunks, c))));
    const shards = [...planShards(plan.grid, plan.kept, plan.shardBlock)].length;

    const segmenting = performance.now();
    onProgress({ type: "stage", stage: "segmenting" });
    const windowsBefore = totals.map.windows;
    try {
      await mapAndMerge({
        source,
        model,
        plan,
        segmenter,
        finished,
        writeChunk: (chunk) => stage.writeChunk(chunk, { signal }),
        batchSize,
        signal,
        now: () => performance.now(),
        statistics: totals.map,
        onProgress: tellWindows(plan, segmenting, onProgress),
      });
    } finally {
      totals.bytesRead += source.bytesRead;
      await writeTotals(work, totals);
    }
    mark("segment", segmenting);
    if (segmenter.runMilliseconds !== undefined) {
      seconds.model = (segmenter.runMilliseconds - modelRunsBefore) / 1000;
    }
    // Now and not at the end: the sessions' memory is free for the outputs.
    await segmenter.close();

    for (const chunk of coverage.chunks) {
      if (!stage.has(chunkIndex(chunks, chunk))) {
        throw new JobError(`chunk ${chunk} of the label map is missing: continue with --resume`);
      }
    }

    const writing = performance.now();
    onProgress({ type: "stage", stage: "writing outputs" });
    const written = await writeJobOutputs({
      stage,
      targets: directoryTargets({ directory: directory.work, store: work, stage }),
      manifest: model.manifest,
      plan,
      source,
      sourceName: opened.name,
      objectSeed: await objectSeed(source, opened.name, model.hash, plan),
      outputs,
      analysedPixels: coverage.covered,
      signal,
    });
    mark("outputs", writing);
    mark("total", started);

    const manifest: RunManifest = {
      formatVersion: 1,
      job,
      tilewright: VERSION,
      startedAt: startedAt.toISOString(),
      finishedAt: new Date().toISOString(),
      source: describeSource(source, opened.name, plan),
      model: describeModel(model),
      settings,
      plan: describePlan(plan, shards),
      coverage: {
        complete: true,
        coveredSamples: coverage.covered,
        outsideMaskSamples: coverage.uncovered,
      },
      seam: describeSeam(totals.map),
      backends: [{ ...segmenter.info, windows: totals.map.windows - windowsBefore }],
      attempts: totals.attempts,
      bytesRead: totals.bytesRead,
      bytesWritten: written.outputs.reduce((n, o) => n + o.byteLength, 0),
      seconds: { ...seconds, ...inSeconds(totals.map.milliseconds) },
      peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
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
    await segmenter?.close();
    await work?.close();
    directory?.release();
    await opened.close();
  }
}

/** The settings among the options, checked. */
export function settingsOf(options: JobSettings) {
  const { level, roi, overlapRatio, policy, importance, precision, tissueMask, channels } = options;
  return checkSettings({ level, roi, overlapRatio, policy, importance, precision, tissueMask, channels });
}

/** Progress of the map as events: the plan once, then rate and time left. */
function tellWindows(plan: JobPlan, since: number, tell: ProgressListener): (progress: MapProgress) => void {
  let announced = false;
  return ({ windowsDone, windowsTotal }) => {
    if (!announced) {
      announced = true;
      tell({
        type: "plan",
        windows: plan.kept.size,
        windowsToDo: windowsTotal,
        level: plan.level,
        mpp: plan.mpp.at(-1)!,
        tissueFraction: plan.tissueFraction,
      });
    }
    const windowsPerSecond = (windowsDone / (performance.now() - since)) * 1000;
    const secondsLeft = (windowsTotal - windowsDone) / windowsPerSecond;
    tell({ type: "progress", windowsDone, windowsTotal, windowsPerSecond, secondsLeft });
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
  return { attempts: 0, bytesRead: 0, map: noStatistics() };
}

/** A full disk must not hide the error that brought us here: statistics may be lost, work may not. */
async function writeTotals(work: WorkStore, totals: AttemptTotals): Promise<void> {
  await work.put(TOTALS, new TextEncoder().encode(JSON.stringify(totals))).catch(() => {});
}

function inSeconds(milliseconds: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(milliseconds).map(([stage, ms]) => [stage, ms / 1000]));
}
