import type { SqlStorage } from "@cloudflare/workers-types";
import type { TaskKind } from "../../shared/ledger-port.ts";

/** Workers that a task may stop, be it by their memory, their time, or for good. */
const MAX_STOPS = 3;

/** Ledgers of jobs that began before stops were counted have no columns for them. */
export function addStops(sql: SqlStorage): void {
  const taken = sql.exec("SELECT 1 FROM pragma_table_info('tasks') WHERE name = 'taken'").toArray();
  if (taken.length > 0) return;
  sql.exec("ALTER TABLE tasks ADD COLUMN taken INTEGER NOT NULL DEFAULT 0");
  sql.exec("ALTER TABLE tasks ADD COLUMN taken_at INTEGER NOT NULL DEFAULT 0");
}

/**
 * Of a job that stood still: who took a task and was not heard of again was stopped by it.
 * @returns whether as many were as may be, so that nobody should take it any more
 */
export function countStop(sql: SqlStorage, kind: TaskKind, id: number, stallMs: number): boolean {
  const now = Date.now();
  // Messages that were sent twice come close to each other, and whoever has one of them is at work.
  sql.exec(
    "UPDATE tasks SET taken = taken + 1, taken_at = ? WHERE kind = ? AND id = ? AND taken_at <= ?",
    now,
    kind,
    id,
    now - stallMs,
  );
  const { taken } = sql.exec("SELECT taken FROM tasks WHERE kind = ? AND id = ?", kind, id).one();
  // The first was before the job stood still, and was not counted.
  return (taken as number) >= MAX_STOPS;
}

export function stopReason(kind: TaskKind, id: number): string {
  return `${kind} ${id} stopped its worker ${MAX_STOPS} times, without a word of why: the scan may be damaged or need more than a worker has; try it on one machine with tilewright segment`;
}
