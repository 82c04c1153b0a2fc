import type { ModelPackage } from "../model-package/load-package.ts";
import { jobIdentity } from "../orchestrator/job-identity.ts";
import type { JobPlan } from "../orchestrator/job-plan.ts";
import { labelMapInfo } from "../orchestrator/label-map.ts";
import {
  createRunManifest,
  planWarnings,
  type RunManifest,
  summarizeModel,
} from "../orchestrator/manifest/run-manifest.ts";
import type { MapProgress } from "../orchestrator/map/map-and-merge.ts";
import { measureQuality } from "../orchestrator/plan/image-quality.ts";
import { matchImageToModel } from "../orchestrator/plan/match-image.ts";
import { planCoverage } from "../orchestrator/plan/plan-coverage.ts";
import { planJob } from "../orchestrator/plan/plan-job.ts";
import { chooseOutputs } from "../orchestrator/run/choose-outputs.ts";
import { labelStoreIsOutput } from "../orchestrator/run/finish-job.ts";
import { type JobResult, runJob } from "../orchestrator/run/run-job.ts";
import type { Backend } from "../orchestrator/scheduler/backend.ts";
import { VERSION } from "../orchestrator/version.ts";
import { planShards } from "../tiling/grid/shards.ts";
import { createDirectoryTargets } from "../writers/directory-targets.ts";
import { openLabelStore } from "../writers/ome-zarr/label-store.ts";
import { type AttemptTotals, readAttemptTotals, writeAttemptTotals } from "./attempt-totals.ts";
import { estimateLocalCost } from "./local-cost.ts";
import { type OpenedSource, openSource } from "./open-source.ts";
import { parseSegmentOptions, type SegmentOptions } from "./options.ts";
import type { ProgressListener } from "./progress.ts";
import { type Mask, readMask } from "./read-mask.ts";
import { RunDirectory } from "./run-directory.ts";
import { systemClock } from "./system-clock.ts";
import { WorkStore } from "./work-store.ts";

/** The model and the backends of a slide. A cohort shares them between slides; their creator closes them. */
export interface SlideRuntime {
  model: ModelPackage;
  /** Called once the slide is open. */
  backends(): Promise<readonly Backend[]>;
  /** Directory for the results of a job. */
  outputDirectory(job: string): string;
  /** Delays the map until the backends are free. */
  whileMapping<T>(map: () => Promise<T>): Promise<T>;
  /** Distinguishes sources with the same etag, where results of several sources share a directory. */
  sourceOrigin?(source: string): string | undefined;
  /** Measure focus and brightness, for tables that compare slides. */
  measureQuality?: boolean;
}

export interface SlideResult {
  manifest: RunManifest;
  /** Whether the results of this job existed already. */
  found: boolean;
}

/** An opened slide with the outcome of each step so far. */
interface SlideRun {
  options: SegmentOptions;
  parsed: ReturnType<typeof parseSegmentOptions>;
  runtime: SlideRuntime;
  opened: OpenedSource;
  seconds: Record<string, number>;
  /** `performance.now()` of the start, later by the time spent waiting for backends. */
  started: number;
  startedAt: Date;
}

/** Segments one image with the given model and backends; `out` and `model` of the options are ignored. */
export async function runSlide(options: SegmentOptions, runtime: SlideRuntime): Promise<SlideResult> {
  const startedAt = new Date();
  const started = performance.now();
  const parsed = parseSegmentOptions(options);
  const opened = await openSource(options.source, parsed.mpp, options.signal, options);
  try {
    return await runOpenedSlide({ options, parsed, runtime, opened, startedAt, started, seconds: {} });
  } finally {
    await opened.close();
  }
}

async function runOpenedSlide(run: SlideRun): Promise<SlideResult> {
  const { options, parsed, runtime, opened, seconds } = run;
  const { signal, onProgress = () => {} } = options;
  const { source } = opened;
  const { settings, batchSize, segType } = parsed;
  signal?.throwIfAborted();
  // Before a backend is opened and anything is written: report options that do not fit the source.
  const outputs = chooseOutputs(source, parsed.outputs);
  const { magnification } = matchImageToModel(source, runtime.model.manifest, settings);
  const mask = options.mask ? await readMask(options.mask, source.levels[0]!.shape, signal) : undefined;
  seconds.open = secondsSince(run.started);

  const loading = performance.now();
  const backends = await runtime.backends();
  seconds.loadModel = secondsSince(loading);

  const planning = performance.now();
  onProgress({ type: "stage", stage: "planning" });
  const origin = runtime.sourceOrigin?.(options.source);
  const job = await jobIdentity(source, runtime.model, settings, {
    ...(origin !== undefined && { origin }),
    tilewright: VERSION,
    mask: mask?.etag,
    outputs,
    batchSize,
    ...(segType !== undefined && { segType }),
  });
  const directory = RunDirectory.open(runtime.outputDirectory(job), job, options);
  if (typeof directory === "string") return { manifest: JSON.parse(directory) as RunManifest, found: true };
  const work = new WorkStore(directory.work);
  try {
    const plan = await planInDirectory(run, directory, mask, outputs.includes("overlay.png"));
    const totals = readAttemptTotals(directory);
    totals.attempts++;
    seconds.plan = secondsSince(planning);
    const manifest = await runPlannedSlide(run, {
      job,
      directory,
      work,
      plan,
      outputs,
      backends,
      totals,
      magnification,
    });
    onProgress({ type: "stage", stage: "done" });
    return { manifest, found: false };
  } finally {
    await work.close();
    directory.release();
  }
}

async function planInDirectory(
  { options, parsed, runtime, opened }: SlideRun,
  directory: RunDirectory,
  mask: Mask | undefined,
  thumbnail: boolean,
): Promise<JobPlan> {
  try {
    return await planJob(opened.source, runtime.model.manifest, parsed.settings, {
      mask: mask?.raster,
      thumbnail,
      signal: options.signal,
    });
  } catch (error) {
    directory.discard();
    throw error;
  }
}

/** What a planned slide is run with. */
interface PlannedSlide {
  job: string;
  directory: RunDirectory;
  work: WorkStore;
  plan: JobPlan;
  outputs: ReturnType<typeof chooseOutputs>;
  backends: readonly Backend[];
  totals: AttemptTotals;
  magnification: number;
}

/** Runs the job and publishes its outputs; `run.json` gets its name last. */
async function runPlannedSlide(run: SlideRun, planned: PlannedSlide): Promise<RunManifest> {
  const { options, parsed, runtime, opened, seconds } = run;
  const { signal, onProgress = () => {} } = options;
  const { directory, work, plan, outputs, backends, totals, magnification } = planned;
  const { source, name: sourceName } = opened;
  const { model } = runtime;
  const isOutput = labelStoreIsOutput(plan);
  const labelStore = await openLabelStore(
    work,
    isOutput ? "labels.ome.zarr" : "merged.zarr",
    labelMapInfo(model.manifest, plan),
    { signal },
  );
  const coverage = planCoverage(plan);
  const reportProgress = progressReporter(run, plan, magnification);
  const result = await runJob({
    source,
    sourceName,
    model,
    plan,
    coverage,
    backends,
    labelStore,
    targets: createDirectoryTargets({
      directory: directory.work,
      store: work,
      ...(isOutput && { labelStore }),
    }),
    outputs,
    segType: parsed.segType,
    overlayStyle: parsed.settings.overlay,
    batchSize: parsed.batchSize,
    clock: systemClock,
    statistics: totals.map,
    isResumed: directory.resuming,
    signal,
    whileMapping: (map) => runtime.whileMapping(map),
    async onMapped() {
      totals.bytesRead += source.bytesRead;
      await writeAttemptTotals(work, totals);
    },
    onPhase(stage) {
      onProgress({ type: "stage", stage });
      if (stage === "segmenting") reportProgress.start();
    },
    onProgress: reportProgress.update,
    onDisabled: (backend, reason) => onProgress({ type: "backend", backend, reason }),
  });
  const measuring = performance.now();
  const quality = runtime.measureQuality ? await measureQuality(source, plan, signal) : undefined;
  addSeconds(run, result, secondsSince(measuring));
  const manifest = createRunManifest(
    {
      job: planned.job,
      tilewright: VERSION,
      startedAt: run.startedAt.toISOString(),
      source,
      sourceName,
      model: summarizeModel(model),
      settings: parsed.settings,
      plan,
      shards: [...planShards(plan.grid, plan.kept, plan.shardBlock)].length,
      coverage,
      seam: totals.map,
      report: result.report,
      quality,
    },
    {
      finishedAt: new Date().toISOString(),
      backends: result.backends,
      attempts: totals.attempts,
      bytesRead: totals.bytesRead,
      seconds: { ...seconds, ...toSeconds(totals.map.milliseconds) },
      peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
      estimatedCost: estimateLocalCost(seconds.total!, result.backends),
    },
  );
  directory.publish(
    result.report.outputs.map((output) => output.name),
    `${JSON.stringify(manifest, null, 2)}\n`,
  );
  return manifest;
}

/** Adds the times of the job. The total leaves out the time in which other slides had the backends. */
function addSeconds(run: SlideRun, { backends, milliseconds }: JobResult, measuringSeconds: number): void {
  const { seconds, started } = run;
  seconds.segment = milliseconds.segmenting / 1000;
  const modelSeconds = backends.flatMap((report) => report.modelSeconds ?? []);
  if (modelSeconds.length > 0) seconds.model = modelSeconds.reduce((a, b) => a + b);
  seconds.outputs = milliseconds.outputs / 1000 + measuringSeconds;
  seconds.total = secondsSince(started) - milliseconds.waiting / 1000;
}

/** Progress of the map as events: the plan once, then rate and time left. */
function progressReporter(
  { options, opened }: SlideRun,
  plan: JobPlan,
  magnification: number,
): { start(): void; update: (progress: MapProgress) => void } {
  const onProgress: ProgressListener = options.onProgress ?? (() => {});
  let since = performance.now();
  let announced = false;
  return {
    start() {
      since = performance.now();
    },
    update({ windowsDone, windowsTotal }) {
      if (!announced) {
        announced = true;
        onProgress({
          type: "plan",
          windows: plan.kept.size,
          windowsToDo: windowsTotal,
          level: plan.level,
          mpp: plan.mpp.at(-1)!,
          magnification,
          tissueFraction: plan.tissueFraction,
          tissue: plan.tissue,
          warnings: planWarnings(plan, opened.source),
          orientation: plan.orientation,
        });
      }
      const windowsPerSecond = windowsDone / secondsSince(since);
      const secondsLeft = (windowsTotal - windowsDone) / windowsPerSecond;
      onProgress({ type: "progress", windowsDone, windowsTotal, windowsPerSecond, secondsLeft });
    },
  };
}

function secondsSince(started: number): number {
  return (performance.now() - started) / 1000;
}

function toSeconds(milliseconds: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(milliseconds).map(([stage, ms]) => [stage, ms / 1000]));
}
