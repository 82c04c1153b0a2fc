import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { ImageSource, PagesAs } from "../image/image-source.ts";
import { SEGMENTATION_TYPES, type SegmentationType } from "../image/output-targets.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import { JobError } from "../orchestrator/errors.ts";
import { jobIdentity } from "../orchestrator/job-identity.ts";
import type { JobPlan } from "../orchestrator/job-plan.ts";
import { labelMapInfo } from "../orchestrator/label-map.ts";
import {
  checkOutputs,
  defaultOutputs,
  labelStoreIsOutput,
  objectSeed,
  parseOutputs,
  writeJobOutputs,
} from "../orchestrator/manifest/job-outputs.ts";
import {
  type AttemptTotals,
  planWarnings,
  type RunManifest,
  summarizeModel,
  summarizePlan,
  summarizeSeam,
  summarizeSource,
} from "../orchestrator/manifest/run-manifest.ts";
import { emptyStatistics, type MapProgress, mapAndMerge } from "../orchestrator/map/map-and-merge.ts";
import { recomputeSeamStatistics } from "../orchestrator/map/recompute-seam-statistics.ts";
import type { OutputsReport } from "../orchestrator/outputs/outputs-options.ts";
import { canStream, StreamingLabelStore } from "../orchestrator/outputs/streaming-label-store.ts";
import { measureQuality } from "../orchestrator/plan/image-quality.ts";
import { planCoverage } from "../orchestrator/plan/plan-coverage.ts";
import { matchImageToModel, planJob } from "../orchestrator/plan/plan-job.ts";
import { USD_PER_CORE_HOUR } from "../orchestrator/prices.ts";
import {
  type Backend,
  type BackendCounts,
  type BackendReport,
  startReport,
} from "../orchestrator/scheduler/backend.ts";
import { checkSettings, type JobSettings } from "../orchestrator/settings.ts";
import { VERSION } from "../orchestrator/version.ts";
import { chunkGrid, chunkIndex } from "../tiling/grid/chunk-grid.ts";
import { planShards } from "../tiling/grid/shards.ts";
import { directoryTargets } from "../writers/directory-targets.ts";
import { openLabelStore } from "../writers/ome-zarr/label-store.ts";
import { isDevice, openBackends, parseBackend } from "./backends.ts";
import { openSource } from "./open-source.ts";
import type { ProgressListener } from "./progress.ts";
import { readMask } from "./read-mask.ts";
import { edgeVariant, loadModel } from "./resolve-model.ts";
import { RunDirectory } from "./run-directory.ts";
import { realClock } from "./system-clock.ts";
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
  /** Number of the volume, counted from 1, where a NIfTI file holds a series of them. */
  time?: number;
  /** What the pages of a TIFF stack are, where the file does not say. */
  pagesAs?: PagesAs;
  /** Image whose pixels above 0 say what to segment; it spans the whole slide at any resolution. */
  mask?: string;
  outputs?: readonly string[];
  /** How `labels.seg.dcm` holds labels; default binary. */
  segType?: SegmentationType;
  /** Threads of the model; default all cores. */
  concurrency?: number;
  /** What runs the model, in any mix: "cpu" (the default), "cuda", "webgpu", "wasm", "edge:<url>", "runner:<url>". */
  backends?: readonly string[];
  /** For edge functions and runners; default TILEWRIGHT_TOKEN of the environment. */
  token?: string;
  /** Windows per run of the model. */
  batchSize?: number;
  /** Computes as a service's edge functions do, in WebAssembly and with their variant: to the same bytes. */
  likeService?: boolean;
  resume?: boolean;
  force?: boolean;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
}

/** Threads compute other batches at the same time, so larger ones would only take memory. */
const BATCH_SIZE = 1;

const machineOptions = z.object({
  mpp: z.number().positive().optional(),
  concurrency: z.int().min(1).max(1024).optional(),
  batchSize: z.int().min(1).max(1024).default(BATCH_SIZE),
  segType: z.enum(SEGMENTATION_TYPES).optional(),
});

/** Segments one image on this machine. Resolves with the run manifest when everything is under its final name. */
export async function segment(asked: SegmentOptions): Promise<RunManifest> {
  const options = await asService(asked);
  const { onProgress } = options;
  parseSegmentOptions(options);
  RunDirectory.check(options.out, options);
  onProgress?.({ type: "stage", stage: "opening" });
  const model = await loadSegmentModel(options);
  let backends: readonly Backend[] = [];
  const release = () => Promise.all(backends.map((backend) => backend.segmenter.close()));
  try {
    const { manifest } = await segmentSlide(options, {
      model,
      // Before anything is written: what cannot run the model leaves nothing behind.
      async backends() {
        backends = await openSegmentBackends(options, model);
        return backends;
      },
      place: () => options.out,
      async whileMapping(map) {
        const mapped = await map();
        // Now and not at the end: the sessions' memory is free for the outputs.
        await release();
        return mapped;
      },
    });
    return manifest;
  } finally {
    await release();
  }
}

/** Options with `likeService` spelled out. */
async function asService<T extends Omit<SegmentOptions, "source" | "out">>(options: T): Promise<T> {
  const { likeService, backends, variant, model, signal } = options;
  if (!likeService) return options;
  if (backends?.length || variant !== undefined) {
    throw new JobError("--like-service chooses backend and variant: leave out --backend and --variant");
  }
  const { manifest } = await loadModel(model, { signal });
  return { ...options, backends: ["wasm"], variant: edgeVariant(manifest) };
}

/** The options of one run or of all runs of a cohort, checked: of each what the commands have no own type for. */
export function parseSegmentOptions(options: Omit<SegmentOptions, "source" | "out">) {
  const settings = parseJobSettings(options);
  const machine = machineOptions.safeParse(options);
  if (!machine.success) {
    const { path, message } = machine.error.issues[0]!;
    throw new JobError(`option ${path.join(".")}: ${message}`);
  }
  const backendNames = options.backends?.length ? options.backends : ["cpu"];
  for (const name of backendNames) parseBackend(name);
  return {
    settings,
    ...machine.data,
    backendNames,
    outputs: options.outputs && parseOutputs(options.outputs),
  };
}

/** With the half-precision companion where a device may want it. */
export function loadSegmentModel(options: Omit<SegmentOptions, "source" | "out">): Promise<ModelPackage> {
  const { backendNames } = parseSegmentOptions(options);
  const { variant, signal } = options;
  return loadModel(options.model, { variant, half: backendNames.some(isDevice), signal });
}

export function openSegmentBackends(
  options: Omit<SegmentOptions, "source" | "out">,
  model: ModelPackage,
): Promise<Backend[]> {
  const { backendNames, concurrency, batchSize, settings } = parseSegmentOptions(options);
  return openBackends(backendNames, model, {
    threads: concurrency,
    batchSize,
    precision: settings.precision,
    token: options.token,
    signal: options.signal,
    onRefused: (backend, reason) => options.onProgress?.({ type: "backend", backend, reason }),
  });
}

/** What a slide is segmented with: its own, or shared by the slides of a cohort. Who made it closes it. */
export interface SlideRuntime {
  model: ModelPackage;
  /** Asked for when the slide is open. */
  backends(): Promise<readonly Backend[]>;
  /** Directory for the results of a job. */
  place(job: string): string;
  /** Holds the map back until the backends are free for it. */
  whileMapping<T>(map: () => Promise<T>): Promise<T>;
  /** What tells the source from others with the same etag, where results of several sources lie together. */
  originOf?(source: string): string | undefined;
  /** Measure focus and brightness, for tables that compare slides. */
  measureQuality?: boolean;
}

export interface SlideResult {
  manifest: RunManifest;
  /** The results of this very job were there already. */
  found: boolean;
}

/** Segments one image with a model and backends that are at hand. `out` and `model` of the options count for nothing. */
export async function segmentSlide(options: SegmentOptions, runtime: SlideRuntime): Promise<SlideResult> {
  const { signal, onProgress = () => {} } = options;
  const startedAt = new Date();
  let started = performance.now();
  const seconds: Record<string, number> = {};
  const mark = (stage: string, since: number) => {
    seconds[stage] = (performance.now() - since) / 1000;
  };
  const { settings, mpp, batchSize, segType, outputs: asked } = parseSegmentOptions(options);
  const { model } = runtime;
  const opened = await openSource(options.source, mpp, signal, options);
  const { source } = opened;
  const outputs = asked ?? defaultOutputs(source);
  let directory: RunDirectory | undefined;
  let work: WorkStore | undefined;
  let writing: Promise<OutputsReport> | undefined;
  const stop = new AbortController();
  const cancel = () => stop.abort(signal!.reason);
  signal?.addEventListener("abort", cancel);
  try {
    signal?.throwIfAborted();
    checkOutputs(outputs, source);
    // Before a backend is opened and anything is written: what does not go together is told at once.
    const { magnification } = matchImageToModel(source, model.manifest, settings);
    const mask =
      options.mask !== undefined ? await readMask(options.mask, source.levels[0]!.shape, signal) : undefined;
    mark("open", started);

    const loading = performance.now();
    const backends = await runtime.backends();
    mark("loadModel", loading);

    const planning = performance.now();
    onProgress({ type: "stage", stage: "planning" });
    const origin = runtime.originOf?.(options.source);
    const job = await jobIdentity(source, model, settings, {
      ...(origin !== undefined && { origin }),
      tilewright: VERSION,
      mask: mask?.etag,
      outputs,
      batchSize,
      ...(segType !== undefined && { segType }),
    });
    const place = RunDirectory.open(runtime.place(job), job, options);
    if (typeof place === "string") return { manifest: JSON.parse(place) as RunManifest, found: true };
    directory = place;
    work = new WorkStore(directory.work);
    const plan = await planJob(source, model.manifest, settings, {
      mask: mask?.raster,
      thumbnail: outputs.includes("overlay.png"),
      signal,
    }).catch((error) => {
      place.giveUp();
      throw error;
    });
    const totals = readTotals(directory);
    totals.attempts++;
    mark("plan", planning);

    const isOutput = labelStoreIsOutput(plan);
    const stagePlace = isOutput ? "labels.ome.zarr" : "merged.zarr";
    const stage = await openLabelStore(work, stagePlace, labelMapInfo(model.manifest, plan), { signal });
    const chunks = chunkGrid(plan.region.size, plan.chunk);
    const coverage = planCoverage(plan);
    const finished = new Set([...coverage.chunks].filter((c) => stage.has(chunkIndex(chunks, c))));
    const shards = [...planShards(plan.grid, plan.kept, plan.shardBlock)].length;

    const expected = new Set([...coverage.chunks].map((chunk) => chunkIndex(chunks, chunk).join()));
    const growing = new StreamingLabelStore(stage, (index) => expected.has(index.join()));
    const seed = await objectSeed(source, opened.name, model.hash, plan);
    const write = () =>
      writeJobOutputs({
        stage: growing,
        targets: directoryTargets({ directory: place.work, store: work!, ...(isOutput && { stage }) }),
        manifest: model.manifest,
        plan,
        source,
        sourceName: opened.name,
        objectSeed: seed,
        outputs,
        segType,
        overlayStyle: settings.overlay,
        analysedPixels: coverage.covered,
        signal: stop.signal,
      });
    const planned = performance.now();
    const backendReports = await runtime.whileMapping(async () => {
      signal?.throwIfAborted();
      // Time in which others map is none of this slide's.
      const segmenting = performance.now();
      started += segmenting - planned;
      onProgress({ type: "stage", stage: "segmenting" });
      const startReports = backends.map(startReport);
      let reports: BackendCounts[];
      if (canStream(stage.info)) {
        writing = write();
        // A fault there leaves nothing to map for.
        writing.catch((error) => stop.abort(error));
      }
      try {
        reports = await mapAndMerge({
          source,
          model,
          plan,
          backends,
          finished,
          writeChunk: (chunk) => growing.writeChunk(chunk, { signal: stop.signal }),
          batchSize,
          signal: stop.signal,
          clock: realClock,
          statistics: totals.map,
          onProgress: tellWindows(source, plan, magnification, segmenting, onProgress),
          onDisabled: (backend, reason) => onProgress({ type: "backend", backend, reason }),
        });
        for (const chunk of coverage.chunks) {
          if (!stage.has(chunkIndex(chunks, chunk))) {
            throw new JobError(`chunk ${chunk} of the label map is missing: continue with --resume`);
          }
        }
      } catch (error) {
        growing.end(error);
        throw error;
      } finally {
        totals.bytesRead += source.bytesRead;
        await writeTotals(work!, totals);
      }
      mark("segment", segmenting);
      return reports.map((report, n) => startReports[n]!(report, seconds.segment!));
    });
    const modelSeconds = backendReports.flatMap((report) => report.modelSeconds ?? []);
    if (modelSeconds.length > 0) seconds.model = modelSeconds.reduce((a, b) => a + b);

    const mapped = performance.now();
    onProgress({ type: "stage", stage: "writing outputs" });
    if (directory.resuming)
      totals.map.seams = await recomputeSeamStatistics(stage, plan, coverage.chunks, signal);
    writing ??= write();
    const written = await writing;
    const quality = runtime.measureQuality ? await measureQuality(source, plan, signal) : undefined;
    mark("outputs", mapped);
    mark("total", started);

    const manifest: RunManifest = {
      formatVersion: 1,
      job,
      tilewright: VERSION,
      startedAt: startedAt.toISOString(),
      finishedAt: new Date().toISOString(),
      source: summarizeSource(source, opened.name, plan),
      model: summarizeModel(model),
      settings,
      plan: summarizePlan(plan, shards),
      coverage: {
        complete: true,
        coveredSamples: coverage.covered,
        outsideMaskSamples: coverage.uncovered,
      },
      seam: summarizeSeam(totals.map),
      backends: backendReports,
      attempts: totals.attempts,
      bytesRead: totals.bytesRead,
      bytesWritten: written.outputs.reduce((n, o) => n + o.byteLength, 0),
      seconds: { ...seconds, ...inSeconds(totals.map.milliseconds) },
      peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
      outputs: written.outputs,
      summary: written.summary,
      warnings: planWarnings(plan, source),
      quality,
      estimatedCost: estimateCost(seconds.total!, backendReports),
    };
    directory.publish(
      written.outputs.map((o) => o.name),
      `${JSON.stringify(manifest, null, 2)}\n`,
    );
    onProgress({ type: "stage", stage: "done" });
    return { manifest, found: false };
  } finally {
    signal?.removeEventListener("abort", cancel);
    // Nothing of this run may be at work when the directory is another's.
    stop.abort();
    await writing?.catch(() => undefined);
    await work?.close();
    directory?.release();
    await opened.close();
  }
}

/** The settings among the options, checked. */
export function parseJobSettings(options: JobSettings) {
  const { level, maxMagnification, roi, overlapRatio } = options;
  const { policy, importance, precision, tissueMask, channels, orientation, overlay } = options;
  return checkSettings({
    ...{ level, maxMagnification, roi, overlapRatio },
    ...{ policy, importance, precision, tissueMask, channels, orientation, overlay },
  });
}

/** Progress of the map as events: the plan once, then rate and time left. */
function tellWindows(
  source: ImageSource,
  plan: JobPlan,
  magnification: number,
  since: number,
  tell: ProgressListener,
): (progress: MapProgress) => void {
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
        magnification,
        tissueFraction: plan.tissueFraction,
        tissue: plan.tissue,
        warnings: planWarnings(plan, source),
        orientation: plan.orientation,
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
  return { attempts: 0, bytesRead: 0, map: emptyStatistics() };
}

/** A full disk must not hide the error that brought us here: statistics may be lost, work may not. */
async function writeTotals(work: WorkStore, totals: AttemptTotals): Promise<void> {
  await work.put(TOTALS, new TextEncoder().encode(JSON.stringify(totals))).catch(() => {});
}

/** Of this machine; what edge functions and runners cost is on their owners' bills. */
function estimateCost(seconds: number, backends: readonly BackendReport[]): RunManifest["estimatedCost"] {
  const remote = backends.filter((backend) => backend.bytesSent !== undefined);
  const here = backends.filter((backend) => backend.bytesSent === undefined);
  // Cutting and merging take a core also where the model runs elsewhere.
  const cores = Math.max(
    1,
    here.reduce((most, backend) => Math.max(most, backend.threads), 0),
  );
  const elsewhere =
    remote.length === 0 ? "" : `; without ${remote.map((backend) => backend.name).join(", ")}`;
  return {
    currency: "USD",
    amount: (seconds / 3600) * cores * USD_PER_CORE_HOUR,
    basis: `${cores} cores at ${USD_PER_CORE_HOUR} USD an hour${elsewhere}`,
  };
}

function inSeconds(milliseconds: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(milliseconds).map(([stage, ms]) => [stage, ms / 1000]));
}
