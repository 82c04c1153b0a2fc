import type { SqlStorage } from "@cloudflare/workers-types";
import type {
  CohortRowState,
  CohortRowStatus,
  CohortRowsPage,
  NewCohortRow,
} from "../../../contracts/cohort-request.ts";
import { ROW_STATES, withoutQuery } from "../../../contracts/cohort-request.ts";
import type { ScanFailure } from "../../../contracts/failure-codes.ts";

/** A row as stored. Times are milliseconds since 1970, money is USD. */
export interface StoredRow {
  n: number;
  id: string;
  source: string;
  mpp: number | null;
  state: CohortRowState;
  /** Running: null until its job is created. Pending: the job of the start before. */
  job: string | null;
  /** 1 where this cohort pays for the job. */
  mine: number;
  started_at: number | null;
  /** Failed starts, and when the next one is due. */
  tries: number;
  due_at: number;
  bytes: number | null;
  windows: number | null;
  forecast: number | null;
  cost: number | null;
  code: ScanFailure["code"] | null;
  reason: string | null;
}

export type RowCounts = Record<CohortRowState, number>;

/** Restarting a row keeps the id of a job that this cohort pays for, so that clients can delete it with the cohort. */
const LEAVE = "job = CASE WHEN mine = 1 THEN job END, mine = 0";

/** A new source resets everything that is known of the row. */
const FORGET =
  "job = NULL, mine = 0, tries = 0, due_at = 0, bytes = NULL, windows = NULL, forecast = NULL, cost = NULL, code = NULL, reason = NULL";

/**
 * The rows of a cohort in the SQLite of a Durable Object. Each change gives a row the next number in `seq`, so a reader
 * that continues after its last `seq` gets all later changes.
 */
export class CohortRows {
  readonly #sql: SqlStorage;
  #seq: number;
  /** Counted once per instance: a Durable Object pays for every row it reads. */
  readonly #counts: RowCounts;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(`
      CREATE TABLE IF NOT EXISTS rows (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, seq INTEGER NOT NULL,
        source TEXT NOT NULL, mpp REAL, state TEXT NOT NULL, job TEXT, mine INTEGER NOT NULL DEFAULT 0,
        started_at INTEGER, tries INTEGER NOT NULL DEFAULT 0, due_at INTEGER NOT NULL DEFAULT 0, bytes INTEGER,
        windows INTEGER, forecast REAL, cost REAL, code TEXT, reason TEXT);
      CREATE INDEX IF NOT EXISTS rows_by_change ON rows (seq);
      CREATE INDEX IF NOT EXISTS rows_by_state ON rows (state, bytes DESC, n);
    `);
    this.#seq = sql.exec<{ seq: number | null }>("SELECT max(seq) AS seq FROM rows").one().seq ?? 0;
    this.#counts = Object.fromEntries(ROW_STATES.map((state) => [state, 0])) as RowCounts;
    for (const { state, n } of sql.exec<{ state: CohortRowState; n: number }>(
      "SELECT state, count(*) AS n FROM rows GROUP BY state",
    ))
      this.#counts[state] = n;
  }

  clear(): void {
    this.#sql.exec("DELETE FROM rows");
    this.#seq = 0;
    for (const state of ROW_STATES) this.#counts[state] = 0;
  }

  get counts(): Readonly<RowCounts> {
    return this.#counts;
  }

  get total(): number {
    return ROW_STATES.reduce((sum, state) => sum + this.#counts[state], 0);
  }

  /** The rows with these ids. */
  find(ids: readonly string[]): Map<string, StoredRow> {
    return new Map(ids.flatMap((id) => this.#select("id = ?", id)).map((row) => [row.id, row]));
  }

  add({ id, source, mpp }: NewCohortRow): void {
    this.#sql.exec(
      "INSERT INTO rows (id, seq, source, mpp, state) VALUES (?, ?, ?, ?, 'pending')",
      id,
      ++this.#seq,
      source,
      mpp ?? null,
    );
    this.#counts.pending++;
  }

  /** Replaces the source of a row and restarts it. */
  replace(row: StoredRow, { source, mpp }: Pick<NewCohortRow, "source" | "mpp">): void {
    this.#sql.exec(
      `UPDATE rows SET seq = ?, state = 'pending', source = ?, mpp = ?, started_at = NULL, ${FORGET} WHERE n = ?`,
      ++this.#seq,
      source,
      mpp ?? null,
      row.n,
    );
    this.#moved(row.state, "pending");
  }

  /** Restarts a row that failed or is done; the forecast stays. */
  reopen(row: StoredRow): void {
    this.#sql.exec(
      `UPDATE rows SET seq = ?, state = 'pending', started_at = NULL, ${LEAVE}, tries = 0, due_at = 0, cost = NULL, code = NULL, reason = NULL WHERE n = ?`,
      ++this.#seq,
      row.n,
    );
    this.#moved(row.state, "pending");
  }

  failed(): StoredRow[] {
    return this.#select("state = 'failed' ORDER BY n");
  }

  running(): StoredRow[] {
    return this.#select("state = 'running' ORDER BY n");
  }

  /** The row that starts next: the largest where sizes are known, otherwise the first. */
  next(nowMs: number): StoredRow | undefined {
    return this.#select("state = 'pending' AND due_at <= ? ORDER BY bytes DESC, n LIMIT 1", nowMs)[0];
  }

  /** Whether the cohort pays for the job through another running row. */
  isBilled(job: string): boolean {
    return this.#select("state = 'running' AND mine = 1 AND job = ?", job).length > 0;
  }

  /** When the first postponed row is due. */
  nextDue(nowMs: number): number | undefined {
    const { at } = this.#sql
      .exec<{ at: number | null }>(
        "SELECT min(due_at) AS at FROM rows WHERE state = 'pending' AND due_at > ?",
        nowMs,
      )
      .one();
    return at ?? undefined;
  }

  unsized(most: number): StoredRow[] {
    return this.#select("state = 'pending' AND bytes IS NULL ORDER BY bytes DESC, n LIMIT ?", most);
  }

  /** Does not change `seq`: the size affects only the order of starts. */
  setSize({ n }: StoredRow, bytes: number): void {
    this.#sql.exec("UPDATE rows SET bytes = ? WHERE n = ?", bytes, n);
  }

  /**
   * Marks a row as running before its job is created, in case the object is cut off in between. A postponed row keeps the
   * time of its first attempt, which may have created the job. @returns the changed row
   */
  begin(row: StoredRow, nowMs: number): StoredRow {
    const startedAt = row.started_at ?? nowMs;
    this.#sql.exec(
      "UPDATE rows SET seq = ?, state = 'running', job = NULL, mine = 0, started_at = ? WHERE n = ?",
      ++this.#seq,
      startedAt,
      row.n,
    );
    this.#moved(row.state, "running");
    return { ...row, state: "running", job: null, mine: 0, started_at: startedAt };
  }

  /** The row now; undefined where it is no longer in the start of `row`. */
  current(row: StoredRow): StoredRow | undefined {
    return this.#select("n = ? AND state = 'running' AND started_at = ?", row.n, row.started_at)[0];
  }

  started({ n }: StoredRow, job: string, mine: boolean): void {
    this.#sql.exec(
      "UPDATE rows SET seq = ?, job = ?, mine = ? WHERE n = ?",
      ++this.#seq,
      job,
      mine ? 1 : 0,
      n,
    );
  }

  planned({ n }: StoredRow, windows: number, forecast: number): void {
    this.#sql.exec(
      "UPDATE rows SET seq = ?, windows = ?, forecast = ? WHERE n = ?",
      ++this.#seq,
      windows,
      forecast,
      n,
    );
  }

  done({ n }: StoredRow, cost: number | undefined): void {
    this.#sql.exec(
      "UPDATE rows SET seq = ?, state = 'done', cost = ?, code = NULL, reason = NULL WHERE n = ?",
      ++this.#seq,
      cost ?? null,
      n,
    );
    this.#moved("running", "done");
  }

  fail({ n }: StoredRow, { code, reason }: ScanFailure, cost: number | undefined): void {
    this.#sql.exec(
      "UPDATE rows SET seq = ?, state = 'failed', code = ?, reason = ?, cost = ? WHERE n = ?",
      ++this.#seq,
      code,
      reason,
      cost ?? null,
      n,
    );
    this.#moved("running", "failed");
  }

  /** Schedules another attempt after a failed start. */
  postpone({ n, tries }: StoredRow, dueAt: number): void {
    this.#sql.exec(
      "UPDATE rows SET seq = ?, state = 'pending', tries = ?, due_at = ? WHERE n = ?",
      ++this.#seq,
      tries + 1,
      dueAt,
      n,
    );
    this.#moved("running", "pending");
  }

  /** Restarts a row whose job was abandoned. */
  requeue({ n, tries }: StoredRow, dueAt: number, counts: boolean): void {
    this.#sql.exec(
      `UPDATE rows SET seq = ?, state = 'pending', started_at = NULL, ${LEAVE}, tries = ?, due_at = ? WHERE n = ?`,
      ++this.#seq,
      counts ? tries + 1 : tries,
      dueAt,
      n,
    );
    this.#moved("running", "pending");
  }

  /** Rows that changed after `cursor`, ordered by last change. */
  page(cursor: number, most: number): CohortRowsPage {
    const found = this.#sql
      .exec<StoredRow & { seq: number } & Record<string, string | number | null>>(
        "SELECT * FROM rows WHERE seq > ? ORDER BY seq LIMIT ?",
        cursor,
        most + 1,
      )
      .toArray();
    const rows = found.slice(0, most);
    return {
      rows: rows.map(toRowStatus),
      cursor: String(rows.at(-1)?.seq ?? cursor),
      more: found.length > most,
    };
  }

  #select(where: string, ...values: readonly (string | number | null)[]): StoredRow[] {
    return this.#sql
      .exec<StoredRow & Record<string, string | number | null>>(
        `SELECT * FROM rows WHERE ${where}`,
        ...values,
      )
      .toArray();
  }

  #moved(from: CohortRowState, to: CohortRowState): void {
    this.#counts[from]--;
    this.#counts[to]++;
  }
}

function toRowStatus(row: StoredRow): CohortRowStatus {
  const { id, source, mpp, state, job, windows, forecast, cost, code, reason } = row;
  return {
    id,
    source: withoutQuery(source),
    mpp: mpp ?? undefined,
    state,
    job: job ?? undefined,
    code: code ?? undefined,
    reason: reason ?? undefined,
    windows: windows ?? undefined,
    forecastUsd: forecast ?? undefined,
    costUsd: cost ?? undefined,
  };
}
