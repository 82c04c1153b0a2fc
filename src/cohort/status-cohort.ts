import { setTimeout as wait } from "node:timers/promises";
import type { Holder } from "../local/directory-lock.ts";
import { JobError } from "../orchestrator/errors.ts";
import { CohortDirectory } from "./cohort-directory.ts";
import { Journal, readJournal } from "./journal.ts";
import { MetricsCache } from "./slide-metrics.ts";
import type { RowOutcome } from "./table.ts";
import { type CohortTotals, sumOutcomes } from "./totals.ts";
import { toOutcomes, writeReport, writeTables } from "./write-tables.ts";

export interface CohortStatus extends CohortTotals {
  rows: number;
  running: readonly string[];
  /** The process that runs the cohort. */
  holder?: Holder;
  failures: readonly { id: string; code: string; reason: string }[];
}

/** Progress of a cohort, from its journal and its results; the running process is not asked. */
export function cohortStatus(path: string, metrics?: MetricsCache): CohortStatus {
  const directory = new CohortDirectory(path);
  const snapshot = directory.read();
  const cache = metrics ?? new MetricsCache(snapshot.store);
  const outcomes = toOutcomes(snapshot, readJournal(directory.journal), cache);
  const holder = directory.holder();
  return {
    rows: outcomes.length,
    ...sumOutcomes(outcomes),
    // Without a running process no scan is running.
    running: holder ? outcomes.filter((o) => o.status === "running").map((o) => o.row.id) : [],
    ...(holder && { holder }),
    failures: outcomes.flatMap(({ row, status, code = "", reason = "" }) =>
      status === "failed" ? [{ id: row.id, code, reason }] : [],
    ),
  };
}

/** Calls `tell` at each change, until no process runs the cohort. */
export async function watchCohort(
  path: string,
  tell: (status: CohortStatus) => void,
  signal?: AbortSignal,
): Promise<void> {
  const metrics = new MetricsCache(new CohortDirectory(path).read().store);
  let before = "";
  for (;;) {
    const status = cohortStatus(path, metrics);
    const text = JSON.stringify(status);
    if (text !== before) tell(status);
    before = text;
    if (!status.holder) return;
    await wait(WATCH_MS, undefined, { signal });
  }
}

const WATCH_MS = 1000;
const STOP_MS = 60_000;

/**
 * Marks failed scans for another run.
 * @param ids only these; default all that failed
 * @returns the number of marked scans
 */
export function markForRetry(path: string, ids?: readonly string[]): number {
  const directory = new CohortDirectory(path);
  const snapshot = directory.read();
  const unknown = ids?.filter((id) => !snapshot.rows.some((row) => row.id === id)) ?? [];
  if (unknown.length > 0) throw new JobError(`there is no scan "${unknown[0]}" in this cohort`);
  directory.lock();
  try {
    const journal = Journal.open(directory.journal);
    try {
      const keys = new Set(
        snapshot.rows.flatMap((row, i) => {
          const key = snapshot.keys[i]!;
          const failed = journal.states.get(key)?.status === "failed";
          return failed && (ids === undefined || ids.includes(row.id)) ? [key] : [];
        }),
      );
      const at = new Date().toISOString();
      journal.append(...[...keys].map((key) => ({ at, type: "retried" as const, key })));
      return keys.size;
    } finally {
      journal.close();
    }
  } finally {
    directory.unlock();
  }
}

/** Asks the running process to stop, and waits for it. The next run continues unfinished scans. */
export async function cancelCohort(path: string, signal?: AbortSignal): Promise<void> {
  const directory = new CohortDirectory(path);
  directory.read();
  const holder = directory.holder();
  if (!holder) throw new JobError(`no process is running the cohort in ${path}`);
  directory.requestStop();
  for (let waited = 0; waited < STOP_MS; waited += 200) {
    if (!directory.holder()) return;
    await wait(200, undefined, { signal });
  }
  throw new JobError(
    `process ${holder.pid} was asked to stop and has not yet: look again with cohort status`,
  );
}

/** Writes tables and report again from existing results. Fails while a process runs the cohort: it writes its own. */
export async function exportCohort(path: string, signal?: AbortSignal): Promise<RowOutcome[]> {
  const directory = new CohortDirectory(path);
  const snapshot = directory.read();
  directory.lock();
  try {
    const metrics = new MetricsCache(snapshot.store);
    const outcomes = toOutcomes(snapshot, readJournal(directory.journal), metrics);
    await writeTables(directory, snapshot, outcomes, metrics, signal);
    writeReport(directory, snapshot, outcomes, metrics);
    return outcomes;
  } finally {
    directory.unlock();
  }
}
