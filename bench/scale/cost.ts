import { CLOUD_USD_PER_MILLION, OPERATIONS_PER_MESSAGE } from "../../src/orchestrator/prices.ts";
import type { Outcome } from "./simulate.ts";

/** Cost of a simulated cohort at list prices, in USD by part. */
export interface Cost {
  model: number;
  tasks: number;
  requests: number;
  queues: number;
  writes: number;
  reads: number;
}

export function costOf({ cpuMs, queue, r2, ledger }: Outcome): Cost {
  const { cpuMs: perCpuMs, requests, queueOperations, writes, reads } = CLOUD_USD_PER_MILLION;
  const operations = OPERATIONS_PER_MESSAGE * queue.sent + (queue.deliveries - queue.sent);
  return {
    model: (cpuMs.model * perCpuMs) / 1e6,
    tasks: (cpuMs.tasks * perCpuMs) / 1e6,
    // Ledgers are billed like a Worker.
    requests: ((queue.deliveries + ledger.calls) * requests) / 1e6,
    queues: (operations * queueOperations) / 1e6,
    writes: (r2.writes * writes) / 1e6,
    reads: (r2.reads * reads) / 1e6,
  };
}

export function totalOf(cost: Cost): number {
  return Object.values(cost).reduce((sum, part) => sum + part, 0);
}
