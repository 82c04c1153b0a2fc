import type { JobStatus } from "../../../contracts/job-request.ts";
import {
  CHUNKS_A_MERGE,
  type CloudWork,
  cloudCost,
  forecastCloudCost,
} from "../../../orchestrator/cloud-cost.ts";
import type { RunManifest } from "../../../orchestrator/manifest/run-manifest.ts";
import { DEFAULT_CPU_MS_PER_WINDOW } from "../../../orchestrator/prices.ts";
import { jobKeys } from "../../shared/job-keys.ts";
import { resultsStore } from "../../shared/results-store.ts";
import type { Bindings } from "../context/bindings.ts";

/** Cost of a job at list prices, without the included amounts of a plan. CPU time is an estimate, because Workers cannot measure it. */
export function estimateCost(
  env: Pick<Bindings, "CPU_MS_PER_WINDOW">,
  job: CloudWork,
): RunManifest["estimatedCost"] {
  const cpuMsPerWindow = getCpuMsPerWindow(env);
  return {
    currency: "USD",
    amount: cloudCost(job, cpuMsPerWindow),
    basis: `${cpuMsPerWindow} ms of CPU a window and list prices of Workers, Queues and R2`,
  };
}

/** CPU time of a window, as the operator measured it, or the default. */
export function getCpuMsPerWindow({ CPU_MS_PER_WINDOW }: Pick<Bindings, "CPU_MS_PER_WINDOW">): number {
  return Number(CPU_MS_PER_WINDOW) || DEFAULT_CPU_MS_PER_WINDOW;
}

/** Forecast in USD for a planned job. */
export function forecastJob(
  env: Pick<Bindings, "CPU_MS_PER_WINDOW">,
  windows: number,
  shards: number,
): number {
  return forecastCloudCost(windows, shards, getCpuMsPerWindow(env));
}

/** Cost in USD of a job that has ended: from its `run.json`, otherwise estimated from the finished tasks. */
export async function costOfJob(
  env: Pick<Bindings, "CPU_MS_PER_WINDOW" | "RESULTS">,
  { id, state, windows, shards, merges }: JobStatus,
): Promise<number> {
  if (state === "done") {
    const stored = await resultsStore(env.RESULTS!).get(jobKeys.manifest(id));
    if (stored) {
      const { estimatedCost } = JSON.parse(new TextDecoder().decode(stored.bytes)) as RunManifest;
      return estimatedCost.amount;
    }
  }
  return costSoFar(env, { windows, shards, merges });
}

/** Estimate in USD of what a job has computed. */
export function costSoFar(
  env: Pick<Bindings, "CPU_MS_PER_WINDOW">,
  { windows, shards, merges }: Pick<JobStatus, "windows" | "shards" | "merges">,
): number {
  const done = { shards: shards?.done ?? 0, merges: merges?.done ?? 0 };
  return estimateCost(env, {
    ...done,
    windows: windows?.done ?? 0,
    tasks: done.shards + done.merges + 1,
    chunks: done.merges * CHUNKS_A_MERGE,
  }).amount;
}
