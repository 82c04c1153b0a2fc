import {
  CLOUD_USD_PER_MILLION,
  CPU_MS_PER_TASK,
  DEFAULT_CPU_MS_PER_WINDOW,
  OPERATIONS_PER_MESSAGE,
  READS_PER_TASK,
} from "../../orchestrator/prices.ts";
import type { RunManifest } from "../../orchestrator/run-manifest.ts";
import type { Bindings } from "./bindings.ts";

/** What a job costs at list prices, without what a plan includes. CPU time is an estimate: no Worker can measure its own. */
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
    // Records, and the chunks of the pyramid: a third more than those of its first level.
    (job.shards + (job.chunks * 4) / 3) * CLOUD_USD_PER_MILLION.writes;
  return {
    currency: "USD",
    amount: micros / 1e6,
    basis: `${cpuMsPerWindow} ms of CPU a window and list prices of Workers, Queues and R2`,
  };
}
