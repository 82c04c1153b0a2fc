import type { ImageSource } from "../image/image-source.ts";
import { secondsPerWindow } from "../local/benchmark-inference.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import type { JobPlan } from "../orchestrator/job-plan.ts";
import {
  CLOUD_USD_PER_MILLION,
  CPU_MS_PER_TASK,
  coreCost,
  DEFAULT_CPU_MS_PER_WINDOW,
  edgeWindowsCost,
  OPERATIONS_PER_MESSAGE,
  PRICES_DATE,
  READS_PER_TASK,
  USD_PER_CORE_HOUR,
} from "../orchestrator/prices.ts";
import type { Backend } from "../orchestrator/scheduler/backend.ts";
import { product } from "../tiling/grid/raster.ts";
import { planShards } from "../tiling/grid/shards.ts";

/** Size of one scan's job, from its plan. */
export interface PlannedScan {
  windows: number;
  shards: number;
  /** Estimated bytes read from the source. */
  bytes: number;
}

/** Estimates the bytes as the level's share of all samples, times the share of windows that are kept. */
export function plannedScan(source: Pick<ImageSource, "levels" | "byteLength">, plan: JobPlan): PlannedScan {
  const samples = source.levels.map((level) => product(level.shape));
  const share = samples[plan.level]! / samples.reduce((a, b) => a + b);
  const kept = plan.kept.size / plan.kept.length;
  const region = product((plan.output ?? plan).region.size) / samples[plan.level]!;
  return {
    windows: plan.kept.size,
    shards: [...planShards(plan.grid, plan.kept, plan.shardBlock)].length,
    bytes: source.byteLength * share * Math.min(1, kept * region),
  };
}

export interface BackendForecast {
  backend: string;
  seconds: number;
  usd: number;
  assumes: string;
}

export interface CohortForecast {
  scans: number;
  /** Scans that were opened and planned; the others count as their mean. */
  planned: number;
  /** Planned scans without a plan, with the reason. */
  unplanned: readonly { id: string; code: string; reason: string }[];
  windows: number;
  bytes: number;
  backends: readonly BackendForecast[];
  pricesOf: string;
}

/** Throughput of one queue with its 250 consumers. */
const QUEUE_WINDOWS_PER_SECOND = 350;

/**
 * Sums the plans over a cohort. Scans that were not opened count as the mean of those that were, including failed
 * ones.
 * @param here measured core-seconds per window, and cores of this machine
 */
export function forecastCohort(
  scans: number,
  plans: readonly PlannedScan[],
  unplanned: CohortForecast["unplanned"],
  here: { secondsPerWindow: number; cores: number },
): CohortForecast {
  const planned = plans.length + unplanned.length;
  const scale = planned === 0 ? 0 : scans / planned;
  const sum = (of: (plan: PlannedScan) => number) => plans.reduce((n, plan) => n + of(plan), 0) * scale;
  const windows = Math.round(sum((plan) => plan.windows));
  const tasks = sum((plan) => plan.shards);
  const coreSeconds = windows * here.secondsPerWindow;
  const { cpuMs, requests, queueOperations, writes, reads } = CLOUD_USD_PER_MILLION;
  const edge =
    (windows * DEFAULT_CPU_MS_PER_WINDOW + tasks * CPU_MS_PER_TASK) * cpuMs +
    tasks * (requests + OPERATIONS_PER_MESSAGE * queueOperations + READS_PER_TASK * reads + writes);
  return {
    scans,
    planned,
    unplanned,
    windows,
    bytes: Math.round(sum((plan) => plan.bytes)),
    backends: [
      {
        backend: "cpu",
        seconds: coreSeconds / here.cores,
        usd: coreCost(coreSeconds),
        assumes: `${(here.secondsPerWindow * 1000).toFixed(0)} ms a window and core, measured here now; ${here.cores} cores at ${USD_PER_CORE_HOUR} USD an hour`,
      },
      {
        backend: "edge",
        seconds: windows / QUEUE_WINDOWS_PER_SECOND,
        usd: edge / 1e6,
        assumes: `${DEFAULT_CPU_MS_PER_WINDOW} ms of CPU a window, not measured; ${QUEUE_WINDOWS_PER_SECOND} windows a second of one queue; list prices`,
      },
    ],
    pricesOf: PRICES_DATE,
  };
}

/**
 * Measures the price of a window: core time of the golden tile on this machine, else list prices of edge functions.
 * @returns USD for a number of windows
 */
export async function measureWindowPrice(
  backends: readonly Backend[],
  model: ModelPackage,
  signal: AbortSignal,
): Promise<(windows: number) => number> {
  const local = backends.find((backend) => backend.segmenter.runMilliseconds !== undefined);
  if (local) {
    const seconds = await secondsPerWindow(local.segmenter, model, signal);
    return (windows) => coreCost(seconds * windows);
  }
  const edge = backends.some((backend) => backend.name.startsWith("edge:"));
  return (windows) => (edge ? edgeWindowsCost(windows, windows) : 0);
}
