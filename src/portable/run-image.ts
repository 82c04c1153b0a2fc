import type { LabelStore } from "../image/label-sink.ts";
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
import type { ObjectListener } from "../orchestrator/outputs/outputs-options.ts";
import { measureQuality } from "../orchestrator/plan/image-quality.ts";
import { matchImageToModel } from "../orchestrator/plan/match-image.ts";
import { planCoverage } from "../orchestrator/plan/plan-coverage.ts";
import { planJob } from "../orchestrator/plan/plan-job.ts";
import { chooseOutputs } from "../orchestrator/run/choose-outputs.ts";
import { labelStoreIsOutput, openOutputLabels } from "../orchestrator/run/finish-job.ts";
import { type JobResult, runJob } from "../orchestrator/run/run-job.ts";
import type { Backend } from "../orchestrator/scheduler/backend.ts";
import { VERSION } from "../orchestrator/version.ts";
import { planShards } from "../tiling/grid/shards.ts";
import { openLabelStore } from "../writers/ome-zarr/label-store.ts";
import { type AttemptTotals, readAttemptTotals, writeAttemptTotals } from "./attempt-totals.ts";
import { estimateLocalCost } from "./local-cost.ts";
import type { OpenedSource } from "./open-source.ts";
import type { ProgressListener } from "./progress.ts";
import type { Mask } from "./read-mask.ts";
import type { RunOptions } from "./run-options.ts";
import { systemClock } from "./system-clock.ts";
import type { Workspace } from "./workspace.ts";

/** One image to segment, and what its runtime provides. */
export interface ImageRun {
  options: RunOptions;
  model: ModelPackage;
  /** Opens the image; it is closed when the run ends. */
  open(): Promise<OpenedSource>;
  /** @param shape of level 0 @returns undefined without a mask */
  readMask(shape: readonly number[]): Promise<Mask> | undefined;
  /** Called once the image is open, and before anything is written. Their creator closes them. */
  backends(): Promise<readonly Backend[]>;
  /** Opens the place of a job. @returns the manifest instead, if the same job is finished there */
  openWorkspace(job: string): Promise<Workspace | RunManifest>;
  /** Delays the map until the backends are free. */
  whileMapping<T>(map: () => Promise<T>): Promise<T>;
  /** Distinguishes sources with the same etag, where results of several sources share a directory. */
  origin?: string;
  /** Measure focus and brightness, for tables that compare slides. */
  measureQuality?: boolean;
  /** Refuses a plan before the model runs. */
  checkPlan?(plan: JobPlan): void;
  onObject?: ObjectListener;
  /** Peak memory of the process, where the runtime tells it. */
  peakMemoryBytes?(): number;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
}

export interface ImageResult {
  manifest: RunManifest;
  /** The label map as it was written; undefined if the results of this job existed already. */
  labels: LabelStore | undefined;
}

/** An opened image with the outcome of each step so far. */
interface OpenedRun {
  run: ImageRun;
  opened: OpenedSource;
  seconds: Record<string, number>;
  /** `performance.now()` of the start, later by the time spent waiting for backends. */
  started: number;
  startedAt: Date;
}

/** Segments one image: the same steps in every runtime. */
export async function runImage(run: ImageRun): Promise<ImageResult> {
  const startedAt = new Date();
  const started = performance.now();
  const opened = await run.open();
  try {
    return await runOpenedImage({ run, opened, startedAt, started, seconds: {} });
  } finally {
    await opened.close();
  }
}

async function runOpenedImage(opening: OpenedRun): Promise<ImageResult> {
  const { run, opened, seconds } = opening;
  const { signal, onProgress = () => {} } = run;
  const { source } = opened;
  const { settings, batchSize, segType } = run.options;
  signal?.throwIfAborted();
  // Before a backend is opened and anything is written: report options that do not fit the source.
  const outputs = chooseOutputs(source, run.options.outputs);
  const { magnification } = matchImageToModel(source, run.model.manifest, settings);
  const mask = await run.readMask(source.levels[0]!.shape);
  seconds.open = secondsSince(opening.started);

  const loading = performance.now();
  const backends = await run.backends();
  seconds.loadModel = secondsSince(loading);

  const planning = performance.now();
  onProgress({ type: "stage", stage: "planning" });
  const job = await jobIdentity(source, run.model, settings, {
    ...(run.origin !== undefined && { origin: run.origin }),
    tilewright: VERSION,
    mask: mask?.etag,
    outputs,
    batchSize,
    ...(segType !== undefined && { segType }),
  });
  const workspace = await run.openWorkspace(job);
  if ("formatVersion" in workspace) return { manifest: workspace, labels: undefined };
  try {
    const plan = await planInWorkspace(opening, workspace, mask, outputs.includes("overlay.png"));
    const totals = await readAttemptTotals(workspace);
    totals.attempts++;
    seconds.plan = secondsSince(planning);
    const result = await runPlannedImage(opening, {
      job,
      workspace,
      plan,
      outputs,
      backends,
      totals,
      magnification,
    });
    onProgress({ type: "stage", stage: "done" });
    return result;
  } finally {
    await workspace.close();
  }
}

async function planInWorkspace(
  { run, opened }: OpenedRun,
  workspace: Workspace,
  mask: Mask | undefined,
  thumbnail: boolean,
): Promise<JobPlan> {
  try {
    const plan = await planJob(opened.source, run.model.manifest, run.options.settings, {
      mask: mask?.raster,
      thumbnail,
      signal: run.signal,
    });
    run.checkPlan?.(plan);
    return plan;
  } catch (error) {
    workspace.discard();
    throw error;
  }
}

/** What a planned image is run with. */
interface PlannedRun {
  job: string;
  workspace: Workspace;
  plan: JobPlan;
  outputs: ReturnType<typeof chooseOutputs>;
  backends: readonly Backend[];
  totals: AttemptTotals;
  magnification: number;
}

/** Runs the job and publishes its outputs; `run.json` gets its name last. */
async function runPlannedImage(opening: OpenedRun, planned: PlannedRun): Promise<ImageResult> {
  const { run, opened, seconds } = opening;
  const { signal, onProgress = () => {} } = run;
  const { workspace, plan, outputs, backends, totals, magnification } = planned;
  const { source, name: sourceName } = opened;
  const { model, options } = run;
  const isOutput = labelStoreIsOutput(plan);
  const labelStore = await openLabelStore(
    workspace.store,
    isOutput ? "labels.ome.zarr" : "merged.zarr",
    labelMapInfo(model.manifest, plan),
    { signal },
  );
  const coverage = planCoverage(plan);
  const reportProgress = progressReporter(opening, plan, magnification);
  const result = await runJob({
    source,
    sourceName,
    model,
    plan,
    coverage,
    backends,
    labelStore,
    targets: workspace.targets(isOutput ? labelStore : undefined),
    outputs,
    segType: options.segType,
    overlayStyle: options.settings.overlay,
    batchSize: options.batchSize,
    clock: systemClock,
    statistics: totals.map,
    isResumed: workspace.resuming,
    onObject: run.onObject,
    signal,
    whileMapping: (map) => run.whileMapping(map),
    async onMapped() {
      totals.bytesRead += source.bytesRead;
      await writeAttemptTotals(workspace, totals);
    },
    onPhase(stage) {
      onProgress({ type: "stage", stage });
      if (stage === "segmenting") reportProgress.start();
    },
    onProgress: reportProgress.update,
    onDisabled: (backend, reason) => onProgress({ type: "backend", backend, reason }),
  });
  const measuring = performance.now();
  const quality = run.measureQuality ? await measureQuality(source, plan, signal) : undefined;
  addSeconds(opening, result, secondsSince(measuring));
  const manifest = createRunManifest(
    {
      job: planned.job,
      tilewright: VERSION,
      startedAt: opening.startedAt.toISOString(),
      source,
      sourceName,
      model: summarizeModel(model),
      settings: options.settings,
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
      peakMemoryBytes: run.peakMemoryBytes?.(),
      estimatedCost: estimateLocalCost(seconds.total!, result.backends),
    },
  );
  await workspace.publish(
    result.report.outputs.map((output) => output.name),
    `${JSON.stringify(manifest, null, 2)}\n`,
  );
  return { manifest, labels: openOutputLabels(labelStore, plan) };
}

/** Adds the times of the job. The total leaves out the time in which other slides had the backends. */
function addSeconds(
  opening: OpenedRun,
  { backends, milliseconds }: JobResult,
  measuringSeconds: number,
): void {
  const { seconds, started } = opening;
  seconds.segment = milliseconds.segmenting / 1000;
  const modelSeconds = backends.flatMap((report) => report.modelSeconds ?? []);
  if (modelSeconds.length > 0) seconds.model = modelSeconds.reduce((a, b) => a + b);
  seconds.outputs = milliseconds.outputs / 1000 + measuringSeconds;
  seconds.total = secondsSince(started) - milliseconds.waiting / 1000;
}

/** Progress of the map as events: the plan once, then rate and time left. */
function progressReporter(
  { run, opened }: OpenedRun,
  plan: JobPlan,
  magnification: number,
): { start(): void; update: (progress: MapProgress) => void } {
  const onProgress: ProgressListener = run.onProgress ?? (() => {});
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
