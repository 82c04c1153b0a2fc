/** Date of these list prices. Update it with any price. */
export const PRICES_DATE = "2026-11";

/** An hour of one core of a machine that is rented or owned: what common clouds ask for, in USD. */
export const USD_PER_CORE_HOUR = 0.04;

/** Cloudflare's, in USD for a million: CPU milliseconds, requests, queue operations, R2 writes and reads. */
export const CLOUD_USD_PER_MILLION = {
  cpuMs: 0.02,
  requests: 0.3,
  queueOperations: 0.4,
  writes: 4.5,
  reads: 0.36,
};

/**
 * Default CPU time of an edge function for a window: the bundled nuclei model takes 68 ms on the engine in local workerd
 * (docs/benchmarks.md); cores of the platform may be slower.
 */
export const DEFAULT_CPU_MS_PER_WINDOW = 100;
/** A message is written, read and deleted. */
export const OPERATIONS_PER_MESSAGE = 3;
/** Beside the model: a task's own CPU, and what it reads of plan, records and source. */
export const CPU_MS_PER_TASK = 200;
export const READS_PER_TASK = 12;

/** Core-seconds of this machine in USD. */
export function coreCost(coreSeconds: number): number {
  return (coreSeconds / 3600) * USD_PER_CORE_HOUR;
}

/** Windows that this machine sends to an edge function, which does nothing else: CPU and requests, in USD. */
export function edgeWindowsCost(windows: number, requests: number): number {
  const { cpuMs, requests: perMillion } = CLOUD_USD_PER_MILLION;
  return (windows * DEFAULT_CPU_MS_PER_WINDOW * cpuMs + requests * perMillion) / 1e6;
}
