import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { RunManifest } from "../orchestrator/manifest/run-manifest.ts";
import { coreCost, edgeWindowsCost } from "../orchestrator/prices.ts";

/** Metrics of one job, as the table shows them. */
export interface SlideMetrics {
  mpp: number | undefined;
  level: number;
  windows: number;
  tissueFraction: number | undefined;
  /** Distance from the model's training images: 1 is as far as they reach (see FLAG_RULES). */
  domainDistance: number | undefined;
  outOfDomain: boolean;
  tissueWarning: boolean;
  seamScore: number | undefined;
  disagreement: number | undefined;
  /** Segmented share of the requested region. */
  coverage: number | undefined;
  analysedAreaMm2: number | undefined;
  focus: number | undefined;
  intensity: number | undefined;
  classes: ReadonlyMap<string, { fraction?: number; areaUm2?: number; volumeMm3?: number }>;
  kinds: ReadonlyMap<
    string,
    { count: number; densityPerMm2?: number; meanAreaUm2?: number; medianAreaUm2?: number }
  >;
  seconds: number;
  bytesRead: number;
  bytesWritten: number;
  cost: number;
  outputs: ReadonlySet<string>;
}

/** @returns undefined when the job is not finished */
export function readMetrics(directory: string, job: string): SlideMetrics | undefined {
  const file = join(directory, "run.json");
  if (!existsSync(file)) return undefined;
  try {
    const run = JSON.parse(readFileSync(file, "utf8")) as RunManifest;
    return run.job === job ? toSlideMetrics(run) : undefined;
  } catch {
    // Damaged by another program: treat the job as missing, so that it runs again.
    return undefined;
  }
}

/**
 * `summary` of a run: classes and objects of 2-D images, structures of volumes. What was not measured is undefined.
 */
interface Measured {
  analysedAreaUm2?: number;
  classes?: { name: string; fraction?: number; areaUm2?: number }[];
  objects?: {
    name: string;
    count: number;
    densityPerMm2?: number;
    meanAreaUm2?: number;
    medianAreaUm2?: number;
  }[];
  structures?: { name: string; fraction?: number; volumeMm3?: number }[];
}

export function toSlideMetrics(run: RunManifest): SlideMetrics {
  const summary = (run.summary ?? {}) as Measured;
  const { coveredSamples, outsideMaskSamples } = run.coverage;
  const total = coveredSamples + outsideMaskSamples;
  return {
    mpp: run.source.mpp.at(-1),
    level: run.plan.level,
    windows: run.plan.windows,
    tissueFraction: run.plan.tissueFraction,
    domainDistance: run.plan.domain?.distance,
    outOfDomain: (run.plan.domain?.warnings ?? []).length > 0,
    tissueWarning: run.plan.tissue?.warning !== undefined,
    seamScore: run.seam.score,
    disagreement: run.seam.disagreement,
    coverage: total > 0 ? coveredSamples / total : undefined,
    analysedAreaMm2: summary.analysedAreaUm2 === undefined ? undefined : summary.analysedAreaUm2 / 1e6,
    focus: run.quality?.focus,
    intensity: run.quality?.intensity,
    classes: new Map((summary.classes ?? summary.structures ?? []).map(({ name, ...rest }) => [name, rest])),
    kinds: new Map((summary.objects ?? []).map(({ name, ...rest }) => [name, rest])),
    seconds: run.seconds.total ?? 0,
    bytesRead: run.bytesRead,
    bytesWritten: run.bytesWritten,
    // A service's run has no stage times; it states its cost itself.
    cost: run.seconds.segment === undefined ? run.estimatedCost.amount : computeCost(run),
    outputs: new Set(run.outputs.map((output) => output.name)),
  };
}

/**
 * USD used: the cores while the model ran, one core before and after, and list prices for windows that edge functions
 * ran. GPUs are not counted.
 */
export function computeCost({ seconds, backends }: Pick<RunManifest, "seconds" | "backends">): number {
  const here = backends.filter((backend) => backend.bytesSent === undefined);
  const cores = Math.max(1, ...here.map((backend) => backend.threads));
  const mapping = seconds.segment ?? 0;
  const otherSeconds = Math.max(0, (seconds.total ?? 0) - mapping);
  const edges = backends.filter((backend) => backend.name?.startsWith("edge:"));
  const elsewhere = edges.reduce(
    (sum, { windows, requests }) => sum + edgeWindowsCost(windows, requests ?? 0),
    0,
  );
  return coreCost(mapping * cores + otherSeconds) + elsewhere;
}

/** Metrics of jobs by their ids; each `run.json` is read once. */
export class MetricsCache {
  readonly #store: string;
  readonly #known = new Map<string, SlideMetrics>();

  constructor(store: string) {
    this.#store = store;
  }

  directory(job: string): string {
    return join(this.#store, job);
  }

  get(job: string): SlideMetrics | undefined {
    const known = this.#known.get(job) ?? readMetrics(this.directory(job), job);
    if (known) this.#known.set(job, known);
    return known;
  }
}
