import type { RowOutcome } from "./table.ts";

export interface CohortTotals {
  done: number;
  failed: number;
  /** Includes running scans. */
  pending: number;
  windows: number;
  seconds: number;
  /** USD used. */
  cost: number;
  /** USD forecast for the jobs in `cost`; undefined unless each has a forecast. */
  forecast: number | undefined;
}

/** Sums over the rows; a job that several rows share counts once. */
export function sumOutcomes(outcomes: readonly RowOutcome[]): CohortTotals {
  const totals: CohortTotals = {
    done: 0,
    failed: 0,
    pending: 0,
    windows: 0,
    seconds: 0,
    cost: 0,
    forecast: 0,
  };
  const counted = new Set<string>();
  for (const { status, job, metrics, forecast } of outcomes) {
    totals[status === "running" ? "pending" : status]++;
    if (status !== "done" || !job || !metrics || counted.has(job)) continue;
    counted.add(job);
    totals.windows += metrics.windows;
    totals.seconds += metrics.seconds;
    totals.cost += metrics.cost;
    totals.forecast =
      totals.forecast === undefined || forecast === undefined ? undefined : totals.forecast + forecast;
  }
  if (counted.size === 0) totals.forecast = undefined;
  return totals;
}
