import type { SqlStorage } from "@cloudflare/workers-types";
import type { TaskKind, TaskReport } from "../../shared/ledger-port.ts";
import type { FinishedTasks } from "./job-state.ts";
import { readStoredReport, storeReport } from "./stored-report.ts";

const MAX_ERROR_LENGTH = 500;

/** The tasks of one job in SQLite, a row each. */
export class TaskTable {
  readonly #sql: SqlStorage;
  /** Counted once per instance: a Durable Object pays for every row it reads. */
  readonly #finished = new Map<TaskKind, FinishedTasks>();

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(
      `CREATE TABLE IF NOT EXISTS tasks (kind TEXT, id INTEGER, done INTEGER NOT NULL DEFAULT 0, report TEXT, error TEXT,
        PRIMARY KEY (kind, id)) WITHOUT ROWID`,
    );
    // Ledgers of version 0.1.0 may lack these columns.
    const taken = sql.exec("SELECT 1 FROM pragma_table_info('tasks') WHERE name = 'taken'").toArray();
    if (taken.length > 0) return;
    sql.exec("ALTER TABLE tasks ADD COLUMN taken INTEGER NOT NULL DEFAULT 0");
    sql.exec("ALTER TABLE tasks ADD COLUMN taken_at INTEGER NOT NULL DEFAULT 0");
  }

  clear(): void {
    this.#sql.exec("DELETE FROM tasks");
    this.#finished.clear();
  }

  /** Adds tasks; those that are there stay as they are. */
  add(kind: TaskKind, ids: readonly number[]): void {
    for (const id of ids) this.#sql.exec("INSERT OR IGNORE INTO tasks (kind, id) VALUES (?, ?)", kind, id);
  }

  /** Whether the task is there and not done. */
  isOpen(kind: TaskKind, id: number): boolean {
    const row = this.#sql.exec("SELECT done FROM tasks WHERE kind = ? AND id = ?", kind, id).toArray()[0];
    return row?.done === 0;
  }

  /** The first `limit` tasks that are not done and whose id is above `after`. */
  openIds(kind: TaskKind, after: number, limit: number): number[] {
    return this.#sql
      .exec(
        "SELECT id FROM tasks WHERE kind = ? AND done = 0 AND id > ? ORDER BY id LIMIT ?",
        kind,
        after,
        limit,
      )
      .toArray()
      .map((row) => row.id as number);
  }

  /** Ids of the tasks that are done, ascending. */
  doneIds(kind: TaskKind): number[] {
    return this.#sql
      .exec("SELECT id FROM tasks WHERE kind = ? AND done = 1 ORDER BY id", kind)
      .toArray()
      .map((row) => row.id as number);
  }

  /** @returns whether the task was there and not done before */
  markDone(kind: TaskKind, id: number, report: TaskReport): boolean {
    const finished = this.finished(kind);
    const { rowsWritten } = this.#sql.exec(
      "UPDATE tasks SET done = 1, report = ?, error = NULL WHERE kind = ? AND id = ? AND done = 0",
      storeReport(report),
      kind,
      id,
    );
    if (rowsWritten === 0) return false;
    this.#finished.set(kind, {
      tasks: finished.tasks + 1,
      windows: finished.windows + (report.windows ?? 0),
    });
    return true;
  }

  /** @returns whether the task was done before */
  reopen(kind: TaskKind, id: number): boolean {
    const finished = this.finished(kind);
    const row = this.#sql
      .exec("SELECT report FROM tasks WHERE kind = ? AND id = ? AND done = 1", kind, id)
      .toArray()[0];
    if (!row) return false;
    this.#sql.exec("UPDATE tasks SET done = 0, report = NULL WHERE kind = ? AND id = ?", kind, id);
    this.#finished.set(kind, {
      tasks: finished.tasks - 1,
      windows: finished.windows - (readStoredReport(row.report as string).windows ?? 0),
    });
    return true;
  }

  /** Stores why an attempt failed. The worker reported, so the task did not stop it. */
  recordError(kind: TaskKind, id: number, message: string): void {
    this.#sql.exec(
      "UPDATE tasks SET error = ?, taken = 0 WHERE kind = ? AND id = ?",
      message.slice(0, MAX_ERROR_LENGTH),
      kind,
      id,
    );
  }

  /** The last error of a task; undefined where none is known. */
  lastError(kind: TaskKind, id: number): string | undefined {
    const row = this.#sql.exec("SELECT error FROM tasks WHERE kind = ? AND id = ?", kind, id).toArray()[0];
    return (row?.error as string | null | undefined) ?? undefined;
  }

  /**
   * Counts an attempt whose worker may never report. Duplicate messages arrive close to each other, so attempts less than
   * `minIntervalMs` apart count once. @returns the attempts counted since the last report
   */
  countAttempt(kind: TaskKind, id: number, minIntervalMs: number): number {
    const now = Date.now();
    this.#sql.exec(
      "UPDATE tasks SET taken = taken + 1, taken_at = ? WHERE kind = ? AND id = ? AND taken_at <= ?",
      now,
      kind,
      id,
      now - minIntervalMs,
    );
    const { taken } = this.#sql.exec("SELECT taken FROM tasks WHERE kind = ? AND id = ?", kind, id).one();
    return taken as number;
  }

  finished(kind: TaskKind): FinishedTasks {
    let finished = this.#finished.get(kind);
    if (!finished) {
      const { n, w } = this.#sql
        .exec(
          "SELECT count(*) AS n, coalesce(sum(json_extract(report, '$[0]')), 0) AS w FROM tasks WHERE kind = ? AND done = 1",
          kind,
        )
        .one();
      finished = { tasks: n as number, windows: w as number };
      this.#finished.set(kind, finished);
    }
    return finished;
  }

  /** Reports of the tasks that are done, in the order of their ids. */
  *reports(kind: TaskKind): Generator<TaskReport> {
    for (const row of this.#sql.exec(
      "SELECT report FROM tasks WHERE kind = ? AND done = 1 ORDER BY id",
      kind,
    )) {
      yield readStoredReport(row.report as string);
    }
  }
}
