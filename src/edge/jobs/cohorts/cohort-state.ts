import type { CohortJob, CohortLimits, RemoteCohortStatus } from "../../../contracts/cohort-request.ts";
import type { RowCounts, StoredRow } from "./cohort-rows.ts";
import { forecastRunning, type Spend } from "./spend.ts";

export type DesiredState = "running" | "paused" | "cancelled";

/** What a ledger stores of its cohort, apart from the rows. */
export interface CohortRecord {
  id: string;
  job: CohortJob;
  limits: CohortLimits;
  createdAt: number;
  updatedAt: number;
  /** The state that the user last asked for. */
  desired: DesiredState;
  /** Why no further scan starts although it should. */
  blockedReason?: string;
  /** USD of the scans that have ended. */
  spent: number;
  /** Number of scans with a forecast, and the sum of the forecasts in USD. */
  forecasts: { scans: number; usd: number };
}

export function createCohortRecord(
  id: string,
  job: CohortJob,
  limits: CohortLimits,
  now: number,
): CohortRecord {
  const forecasts = { scans: 0, usd: 0 };
  return { id, job, limits, createdAt: now, updatedAt: now, desired: "running", spent: 0, forecasts };
}

export function toSpend(
  { limits, spent, forecasts }: CohortRecord,
  running: readonly Pick<StoredRow, "job" | "mine" | "forecast">[],
): Spend {
  return {
    limit: limits.spendLimitUsd,
    spent,
    running: running
      .filter(({ job, mine }) => job === null || mine)
      .map(({ forecast }) => forecast ?? undefined),
    mean: forecasts.scans === 0 ? undefined : forecasts.usd / forecasts.scans,
  };
}

/** The status that the API answers. */
export function toCohortStatus(
  { id, limits, desired, blockedReason, spent, createdAt, updatedAt }: CohortRecord,
  counts: Readonly<RowCounts>,
  total: number,
  spend: Spend,
): RemoteCohortStatus {
  const left = counts.pending + counts.running;
  const isBlocked = desired === "running" && blockedReason !== undefined && counts.pending > 0;
  return {
    id,
    state: left === 0 && desired !== "cancelled" ? "done" : isBlocked ? "paused" : desired,
    reason: left > 0 && desired === "running" ? blockedReason : undefined,
    createdAt: new Date(createdAt).toISOString(),
    updatedAt: new Date(updatedAt).toISOString(),
    limits,
    rows: { total, ...counts },
    spentUsd: spent,
    forecastUsd: forecastRunning(spend),
  };
}

/** Names of the fields in ledgers written by version 0.1.0. */
interface OldFields {
  wanted?: DesiredState;
  waits?: string;
  known?: { scans: number; usd: number };
}

/** Reads a stored record, also one that version 0.1.0 wrote. */
export function parseCohortRecord(text: string): CohortRecord {
  const { wanted, waits, known, ...record } = JSON.parse(text) as CohortRecord & OldFields;
  if (wanted === undefined) return record;
  return { ...record, desired: wanted, blockedReason: waits, forecasts: known! };
}
