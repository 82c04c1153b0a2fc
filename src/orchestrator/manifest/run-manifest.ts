import type { ImageSource } from "../../image/image-source.ts";
import type { SegmenterInfo } from "../../inference/segmenter.ts";
import type { ModelPackage } from "../../model-package/load-package.ts";
import { chunkCount, chunkGrid } from "../../tiling/grid/chunk-grid.ts";
import type { Coverage } from "../../tiling/grid/coverage.ts";
import { invertReorientation, reorderAxes } from "../../tiling/grid/reorientation.ts";
import { seamScore } from "../../tiling/merge/seam-score.ts";
import type { TissueFinding } from "../../tiling/pixels/tissue-mask.ts";
import type { DomainFinding } from "../domain-finding.ts";
import type { JobPlan, PlannedOrientation } from "../job-plan.ts";
import type { MapStatistics } from "../map/map-and-merge.ts";
import type { OutputsReport } from "../outputs/outputs-options.ts";
import type { SlideSummary } from "../outputs/slide-summary.ts";
import type { VolumeSummary } from "../outputs/volume-summary.ts";
import type { ImageQuality } from "../plan/image-quality.ts";
import type { BackendReport } from "../scheduler/backend.ts";
import type { FullJobSettings } from "../settings.ts";

/** `run.json`: what a run did, and the proof that it is complete. Described in docs/format.md. */
export interface RunManifest {
  formatVersion: 1;
  job: string;
  tilewright: string;
  startedAt: string;
  finishedAt: string;
  source: {
    name: string;
    format: string;
    etag: string;
    byteLength: number;
    shape: readonly number[];
    mpp: readonly number[];
    /** Warnings of the reader. */
    warnings?: readonly string[];
  };
  model: { name: string; version: string; variant: string; hash: string; license: string };
  settings: FullJobSettings;
  plan: {
    level: number;
    levelMpp: readonly number[];
    region: { origin: readonly number[]; size: readonly number[] };
    window: readonly number[];
    modelWindow: readonly number[];
    windows: number;
    windowsInGrid: number;
    shards: number;
    chunks: number;
    tissueFraction?: number;
    /** Distance of the image from the training images. */
    domain?: DomainFinding;
    /** What was left out as background, and why. */
    tissue?: TissueFinding;
    intensities: { low: number; high: number };
    /** For models that state an orientation; the sizes above are in it. */
    orientation?: PlannedOrientation;
  };
  /** Every sample of the requested region is either covered (weight sum above 0) or outside the tissue mask. */
  coverage: { complete: true; coveredSamples: number; outsideMaskSamples: number };
  /** See tiling/merge/seam-score.ts: 1 is seamless. `disagreement`: share of overlap samples at which windows differ. */
  seam: { score?: number; disagreement?: number };
  /** Backends of the last attempt; `bytesRead` for those that read the source themselves. */
  backends: readonly (SegmenterInfo & { windows: number; bytesRead?: number } & Partial<BackendReport>)[];
  attempts: number;
  bytesRead: number;
  bytesWritten: number;
  seconds: Record<string, number>;
  /** Peak resident memory of the process, for a run in one process. */
  peakMemoryBytes?: number;
  outputs: readonly { name: string; byteLength: number; sha256: string }[];
  /** Objects of a 2-D image, or structures of a volume. */
  summary: SlideSummary | VolumeSummary;
  /** Sentences to read before using the result. */
  warnings?: readonly string[];
  /** For runs in a cohort: see orchestrator/plan/image-quality.ts. */
  quality?: ImageQuality;
  /** Cost of this machine only, without remote backends. */
  estimatedCost: { currency: "USD"; amount: number; basis: string };
}

/** The part of a manifest that does not depend on where the job ran. */
export interface FinishedJob {
  job: string;
  /** Version of Tilewright. */
  tilewright: string;
  /** ISO 8601. */
  startedAt: string;
  source: ImageSource;
  sourceName: string;
  model: RunManifest["model"];
  settings: FullJobSettings;
  plan: JobPlan;
  shards: number;
  coverage: Coverage;
  /** Undefined if nothing was merged. */
  seam: Pick<MapStatistics, "seams" | "compared" | "disagreed"> | undefined;
  report: OutputsReport;
  quality?: ImageQuality;
}

/** The part of a manifest that depends on where and how the job ran. */
export type RunCounts = Pick<
  RunManifest,
  "finishedAt" | "backends" | "attempts" | "bytesRead" | "seconds" | "peakMemoryBytes" | "estimatedCost"
>;

export function createRunManifest(finished: FinishedJob, run: RunCounts): RunManifest {
  const { job, tilewright, startedAt, source, sourceName, model, settings, plan, coverage, report } =
    finished;
  return {
    formatVersion: 1,
    job,
    tilewright,
    startedAt,
    finishedAt: run.finishedAt,
    source: summarizeSource(source, sourceName, plan),
    model,
    settings,
    plan: summarizePlan(plan, finished.shards),
    coverage: { complete: true, coveredSamples: coverage.covered, outsideMaskSamples: coverage.uncovered },
    seam: finished.seam ? summarizeSeam(finished.seam) : {},
    backends: run.backends,
    attempts: run.attempts,
    bytesRead: run.bytesRead,
    bytesWritten: report.outputs.reduce((n, o) => n + o.byteLength, 0),
    seconds: run.seconds,
    ...(run.peakMemoryBytes !== undefined && { peakMemoryBytes: run.peakMemoryBytes }),
    outputs: report.outputs,
    summary: report.summary,
    warnings: planWarnings(plan, source),
    quality: finished.quality,
    estimatedCost: run.estimatedCost,
  };
}

function summarizePlan(plan: JobPlan, shards: number): RunManifest["plan"] {
  return {
    level: plan.level,
    levelMpp: plan.mpp,
    region: plan.output?.region ?? plan.region,
    window: plan.grid.window,
    modelWindow: plan.modelWindow,
    windows: plan.kept.size,
    windowsInGrid: plan.kept.length,
    shards,
    chunks: chunkCount(chunkGrid(plan.region.size, plan.chunk)),
    tissueFraction: plan.tissueFraction,
    ...(plan.tissue && { tissue: plan.tissue }),
    ...(plan.domain && { domain: plan.domain }),
    intensities: plan.scaling,
    ...(plan.orientation && { orientation: plan.orientation }),
  };
}

/** Sentences to read before using a result. */
export function planWarnings(
  { tissue, domain }: Pick<JobPlan, "tissue" | "domain">,
  { warnings = [] }: Pick<ImageSource, "warnings">,
): string[] {
  return [
    ...warnings,
    ...(tissue?.warning ? [`${tissue.warning}; --no-tissue-mask keeps everything`] : []),
    ...(domain?.warnings ?? []),
  ];
}

function summarizeSource(source: ImageSource, name: string, plan: JobPlan): RunManifest["source"] {
  // The plan may be reoriented, and its spacing may come from the user.
  const mpp = plan.mpp.map((m, axis) => m / plan.downsample[axis]!);
  return {
    name,
    format: source.format,
    etag: source.etag,
    byteLength: source.byteLength,
    shape: source.levels[0]!.shape,
    mpp: plan.reorientation ? reorderAxes(mpp, invertReorientation(plan.reorientation)) : mpp,
    ...(source.warnings?.length && { warnings: source.warnings }),
  };
}

export function summarizeModel(model: ModelPackage): RunManifest["model"] {
  const { name, version, license } = model.manifest;
  return { name, version, variant: model.variantName, hash: model.hash, license };
}

function summarizeSeam({
  seams,
  compared,
  disagreed,
}: Pick<MapStatistics, "seams" | "compared" | "disagreed">): RunManifest["seam"] {
  return { score: seamScore(seams), disagreement: compared === 0 ? undefined : disagreed / compared };
}
