import {
  CLOUD_USD_PER_MILLION,
  CPU_MS_PER_TASK,
  DEFAULT_CPU_MS_PER_WINDOW,
  OPERATIONS_PER_MESSAGE,
  READS_PER_TASK,
} from "./prices.ts";

/** Chunks and shards per merge block, measured on a large slide (docs/deploy.md). */
export const CHUNKS_A_MERGE = 8;
const SHARDS_A_MERGE = 7;

/** What a job at a service is billed for. */
export interface CloudWork {
  windows: number;
  tasks: number;
  shards: number;
  merges: number;
  chunks: number;
}

/** Cost in USD at list prices, without the included amounts of a plan. @param cpuMsPerWindow CPU time of a window */
export function cloudCost({ windows, tasks, shards, chunks }: CloudWork, cpuMsPerWindow: number): number {
  const micros =
    (windows * cpuMsPerWindow + tasks * CPU_MS_PER_TASK) * CLOUD_USD_PER_MILLION.cpuMs +
    tasks *
      (CLOUD_USD_PER_MILLION.requests +
        OPERATIONS_PER_MESSAGE * CLOUD_USD_PER_MILLION.queueOperations +
        READS_PER_TASK * CLOUD_USD_PER_MILLION.reads) +
    // Records, and the chunks of the pyramid: 4/3 of those of its first level.
    (shards + (chunks * 4) / 3) * CLOUD_USD_PER_MILLION.writes;
  return micros / 1e6;
}

/** Forecast in USD for a planned job. */
export function forecastCloudCost(
  windows: number,
  shards: number,
  cpuMsPerWindow = DEFAULT_CPU_MS_PER_WINDOW,
): number {
  const merges = Math.ceil(shards / SHARDS_A_MERGE);
  const chunks = merges * CHUNKS_A_MERGE;
  return cloudCost({ windows, tasks: shards + merges + 2, shards, merges, chunks }, cpuMsPerWindow);
}
