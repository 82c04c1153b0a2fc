import type { JobStatus } from "../../../contracts/job-request.ts";
import type { RunManifest } from "../../../orchestrator/manifest/run-manifest.ts";
import {
  CLOUD_USD_PER_MILLION,
  CPU_MS_PER_TASK,
  DEFAULT_CPU_MS_PER_WINDOW,
  OPERATIONS_PER_MESSAGE,
  READS_PER_TASK,
} from "../../../orchestrator/prices.ts";
import { jobKeys } from "../../shared/job-keys.ts";
import { resultsStore } from "../../shared/results-store.ts";
import type { Bindings } from "../context/bindings.ts";

/** Cost of a job at list prices, without the included amounts of a plan. CPU time is an estimate, because Workers cannot measure it. */
export function estimateCost(
  env: Pick<Bindings, "CPU_MS_PER_WINDOW">,
  job: { windows: number; tasks: number; shards: number; merges: number; chunks: number },
): RunManifest["estimatedCost"] {
  const cpuMsPerWindow = Number(env.CPU_MS_PER_WINDOW) || DEFAULT_CPU_MS_PER_WINDOW;
  const micros =
    (job.windows * cpuMsPerWindow + job.tasks * CPU_MS_PER_TASK) * CLOUD_USD_PER_MILLION.cpuMs +
    job.tasks *
      (CLOUD_USD_PER_MILLION.requests +
        OPERATIONS_PER_MESSAGE * CLOUD_USD_PER_MILLION.queueOperations +
        READS_PER_TASK * CLOUD_USD_PER_MILLION.reads) +
    // Records, and the chunks of the pyramid: 4/3 of those of its first level.
    (job.shards + (job.chunks * 4) / 3) * CLOUD_USD_PER_MILLION.writes;
  return {
    currency: "USD",
    amount: micros / 1e6,
    basis: `${cpuMsPerWindow} ms of CPU a window and list prices of Workers, Queues and R2`,
  };
}

/** Chunks and shards per merge block, measured on a large slide (docs/deploy.md). */
const CHUNKS_A_MERGE = 8;
const SHARDS_A_MERGE = 7;

/** Forecast in USD for a planned job. */
export function forecastJob(
  env: Pick<Bindings, "CPU_MS_PER_WINDOW">,
  windows: number,
  shards: number,
): number {
  const merges = Math.ceil(shards / SHARDS_A_MERGE);
  const chunks = merges * CHUNKS_A_MERGE;
  return estimateCost(env, { windows, tasks: shards + merges + 2, shards, merges, chunks }).amount;
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
