import type { RunManifest } from "../../orchestrator/run-manifest.ts";
import type { Bindings } from "./bindings.ts";

/** Cloudflare's list prices in USD for a million, November 2026: CPU milliseconds, requests, queue operations, R2 writes and reads. */
const PRICE = { cpuMs: 0.02, requests: 0.3, queueOperations: 0.4, writes: 4.5, reads: 0.36 };
const DEFAULT_CPU_MS_PER_WINDOW = 250;
/** A message is written, read and deleted. */
const OPERATIONS_PER_MESSAGE = 3;
/** Beside the model: a task's own CPU, and what it reads of plan, records and source. */
const CPU_MS_PER_TASK = 200;
const READS_PER_TASK = 12;

/** What a job costs at list prices, without what a plan includes. CPU time is an estimate: no Worker can measure its own. */
export function estimateCost(
  env: Pick<Bindings, "CPU_MS_PER_WINDOW">,
  job: { windows: number; tasks: number; shards: number; merges: number; chunks: number },
): RunManifest["estimatedCost"] {
  const cpuMsPerWindow = Number(env.CPU_MS_PER_WINDOW) || DEFAULT_CPU_MS_PER_WINDOW;
  const micros =
    (job.windows * cpuMsPerWindow + job.tasks * CPU_MS_PER_TASK) * PRICE.cpuMs +
    job.tasks *
      (PRICE.requests + OPERATIONS_PER_MESSAGE * PRICE.queueOperations + READS_PER_TASK * PRICE.reads) +
    // Records, and the chunks of the pyramid: a third more than those of its first level.
    (job.shards + (job.chunks * 4) / 3) * PRICE.writes;
  return {
    currency: "USD",
    amount: micros / 1e6,
    basis: `${cpuMsPerWindow} ms of CPU a window and list prices of Workers, Queues and R2`,
  };
}
