import { DurableObject } from "cloudflare:workers";
import type { DurableObjectNamespace, DurableObjectState } from "@cloudflare/workers-types";
import {
  type ChangedLimits,
  type CohortJob,
  type CohortLimits,
  type CohortRowsPage,
  MAX_COHORT_ROWS,
  type NewCohortRow,
  type RemoteCohortStatus,
} from "../../../contracts/cohort-request.ts";
import { isFinal, type JobStatus } from "../../../contracts/job-request.ts";
import { getLedger } from "../../shared/ledger-port.ts";
import { openSourceStore } from "../../sources/open-source-store.ts";
import type { Bindings } from "../context/bindings.ts";
import { costOfJob, forecastJob } from "../lifecycle/estimate-cost.ts";
import { CohortRows, type StoredRow } from "./cohort-rows.ts";
import {
  type CohortRecord,
  createCohortRecord,
  type DesiredState,
  parseCohortRecord,
  toCohortStatus,
  toSpend,
} from "./cohort-state.ts";
import { forEachInRounds, runInRounds } from "./in-rounds.ts";
import { COHORT_CANCELLED, classifyStartError, jobFailure } from "./row-failure.ts";
import { budgetDecision, overBudgetMessage, type Spend } from "./spend.ts";
import { startRow, toR2Address } from "./start-row.ts";

/** Concurrent calls of other objects. */
const CONCURRENCY = 12;
/** Limits of one alarm, after which others have their turn: time for starting jobs, sources to size, jobs to cancel. */
const STARTING_MS = 10_000;
const SIZES_PER_ALARM = 200;
const CANCELS_PER_ALARM = 200;
const HEAD_TIMEOUT_MS = 20_000;
/** Interval of polls of running jobs: short after a change, doubled while there is none. */
const MIN_POLL_MS = 1000;
const MAX_POLL_MS = 15_000;
/** Minimum interval per running scan: large cohorts are polled less often. */
const POLL_MS_PER_SCAN = 20;
/** Set before the work of an alarm, so that another follows one that is cut off. */
const ALARM_RETRY_MS = 20_000;
const MAX_ATTEMPTS = 5;
const FIRST_RETRY_MS = 5000;

/**
 * The ledger of one cohort: its rows and their jobs. All work happens in the alarm, which polls running jobs and starts as
 * many as the limits allow; calls from outside store the desired state and wake the alarm. The object may be cut off
 * anywhere: a row is stored as running before its job is created, and creating a job twice finds the first.
 */
export class CohortLedger extends DurableObject<Bindings> {
  readonly #rows: CohortRows;
  #pollMs = MIN_POLL_MS;
  /** Counts calls from outside, so that a running alarm notices them. */
  #wakeUps = 0;

  constructor(state: DurableObjectState, env: Bindings) {
    super(state, env);
    state.storage.sql.exec(`
      CREATE TABLE IF NOT EXISTS meta (id INTEGER PRIMARY KEY CHECK (id = 0), value TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS given_up (job TEXT PRIMARY KEY) WITHOUT ROWID;
    `);
    this.#rows = new CohortRows(state.storage.sql);
  }

  /** Creates the cohort, or finds it. "other": the cohort of this id has other settings. */
  async create(
    id: string,
    job: CohortJob,
    limits: CohortLimits,
  ): Promise<{ created: boolean; status: RemoteCohortStatus } | "other"> {
    const before = this.#record();
    if (before) {
      const same = JSON.stringify(before.job) === JSON.stringify(job);
      return same ? { created: false, status: this.#status(before) } : "other";
    }
    const record = createCohortRecord(id, job, limits, Date.now());
    this.#save(record);
    return { created: true, status: this.#status(record) };
  }

  async status(): Promise<RemoteCohortStatus | undefined> {
    const record = this.#record();
    return record && this.#status(record);
  }

  /** Adds rows. A row whose id is there is replaced only if its source or pixel size differs. "full": none was added. */
  async add(rows: readonly NewCohortRow[]): Promise<RemoteCohortStatus | "full" | undefined> {
    const record = this.#record();
    if (!record) return undefined;
    const known = this.#rows.find(rows.map((row) => row.id));
    if (this.#rows.total + rows.length - known.size > MAX_COHORT_ROWS) return "full";
    for (const row of rows) {
      const before = known.get(row.id);
      if (!before) this.#rows.add(row);
      else if (before.source !== row.source || before.mpp !== (row.mpp ?? null)) {
        this.#abandon(before);
        this.#rows.replace(before, row);
      }
    }
    return this.#wake(record);
  }

  async page(cursor: number, most: number): Promise<CohortRowsPage | undefined> {
    return this.#record() && this.#rows.page(cursor, most);
  }

  /** Restarts rows that have ended; default those that failed. Unknown ids are ignored. */
  async retry(ids: readonly string[] | undefined): Promise<RemoteCohortStatus | undefined> {
    const record = this.#record();
    if (!record) return undefined;
    const rows = ids ? [...this.#rows.find(ids).values()] : this.#rows.failed();
    for (const row of rows) if (row.state === "failed" || row.state === "done") this.#rows.reopen(row);
    return this.#wake(record);
  }

  async setLimits(changed: ChangedLimits): Promise<RemoteCohortStatus | undefined> {
    const record = this.#record();
    return record && this.#wake({ ...record, limits: { ...record.limits, ...changed } });
  }

  /** "paused": running jobs go on to their end. "cancelled": running jobs are cancelled, and start again after "running". */
  async setDesiredState(desired: DesiredState): Promise<RemoteCohortStatus | undefined> {
    const record = this.#record();
    return record && this.#wake({ ...record, desired });
  }

  /** Deletes the cohort; its jobs stay. "busy": rows are running, or about to start. */
  async delete(): Promise<"gone" | "busy" | undefined> {
    const record = this.#record();
    if (!record) return undefined;
    const { pending, running } = this.#rows.counts;
    const willStart = record.desired === "running" && pending > 0;
    if (willStart || running > 0 || this.#abandonedJobs(1).length > 0) return "busy";
    this.#rows.clear();
    this.ctx.storage.sql.exec("DELETE FROM meta");
    await this.ctx.storage.deleteAlarm();
    return "gone";
  }

  override async alarm(): Promise<void> {
    if (!this.#record()) return;
    const woken = this.#wakeUps;
    await this.ctx.storage.setAlarm(Date.now() + ALARM_RETRY_MS);
    const moved = await this.#work();
    this.#pollMs = moved ? MIN_POLL_MS : Math.min(2 * this.#pollMs, MAX_POLL_MS);
    if (this.#wakeUps !== woken) return this.ctx.storage.setAlarm(Date.now());
    const next = this.#nextPoll(moved);
    if (next === undefined) await this.ctx.storage.deleteAlarm();
    else await this.ctx.storage.setAlarm(next);
  }

  /** @returns whether anything changed */
  async #work(): Promise<boolean> {
    let moved = await this.#cancelAbandoned();
    await forEachInRounds(this.#rows.running(), CONCURRENCY, async (row) => {
      moved = (await (row.job === null ? this.#start(row) : this.#poll(row, row.job))) || moved;
    });
    if (this.#record()!.desired === "cancelled") {
      for (const row of this.#rows.running()) {
        this.#abandon(row);
        this.#rows.requeue(row, 0, false);
        moved = true;
      }
      return (await this.#cancelAbandoned()) || moved;
    }
    if (await this.#fetchSizes()) return true;
    return (await this.#startRows()) || moved;
  }

  /** Undefined where nothing will change by itself. */
  #nextPoll(moved: boolean): number | undefined {
    const now = Date.now();
    const busy = moved || this.#rows.counts.running > 0 || this.#abandonedJobs(1).length > 0;
    const { desired } = this.#record()!;
    const due = desired === "running" ? this.#rows.nextDue(now) : undefined;
    if (!busy) return due;
    const look = now + Math.max(this.#pollMs, POLL_MS_PER_SCAN * this.#rows.counts.running);
    return Math.min(look, due ?? look);
  }

  /** Starts rows as long as the limits allow; a row whose job exists already makes room for the next at once. */
  async #startRows(): Promise<boolean> {
    const until = Date.now() + STARTING_MS;
    let begun = false;
    await runInRounds(() => {
      const row = Date.now() < until ? this.#nextRow() : undefined;
      if (!row) return undefined;
      begun = true;
      const started = this.#rows.begin(row, Date.now());
      return async () => void (await this.#start(started));
    }, CONCURRENCY);
    return begun;
  }

  /** Reads the record each time: limits and rows may have changed meanwhile. */
  #nextRow(): StoredRow | undefined {
    const record = this.#record()!;
    if (record.desired !== "running" || this.#rows.counts.running >= record.limits.concurrency)
      return undefined;
    const row = this.#rows.next(Date.now());
    if (!row) return undefined;
    // Only a limit needs the sum over running rows.
    if (record.limits.spendLimitUsd === null) return row;
    const spend = this.#spend(record);
    const decision = budgetDecision(spend, row.forecast ?? undefined);
    const blockedReason =
      decision.kind === "overBudget" ? overBudgetMessage(spend, decision.neededUsd) : undefined;
    if (blockedReason !== record.blockedReason) this.#save({ ...record, blockedReason });
    return decision.kind === "start" ? row : undefined;
  }

  /** Creates the job of a row that is marked as running. @returns true: something changed */
  async #start(row: StoredRow): Promise<boolean> {
    const { job } = this.#record()!;
    try {
      const found = await startRow(this.env, job, row);
      const { status } = found;
      // Of rows with the same scan, one is billed.
      const isBilled = found.billedToCohort && !this.#rows.isBilled(status.id);
      const started = { ...row, job: status.id, mine: isBilled ? 1 : 0 };
      if (!this.#rows.current(row)) {
        // The row was replaced meanwhile: no row needs this job.
        this.#abandon(started);
        return true;
      }
      this.#rows.started(row, status.id, isBilled);
      // If that fails, the next poll does it.
      if (isFinal(status.state)) await this.#end(started, status).catch(console.error);
    } catch (error) {
      const { transient, ...failure } = classifyStartError(error, row.source);
      if (!this.#rows.current(row)) return true;
      if (transient && row.tries + 1 < MAX_ATTEMPTS)
        this.#rows.postpone(row, Date.now() + FIRST_RETRY_MS * 2 ** row.tries);
      else this.#rows.fail(row, failure, undefined);
    }
    return true;
  }

  /** Polls the job of a row. @returns whether something changed */
  async #poll(row: StoredRow, job: string): Promise<boolean> {
    try {
      const status = await getLedger(this.env.LEDGERS!, job).status();
      if (!status) this.#retry(row, { code: "storage", reason: "its job was deleted" });
      else if (isFinal(status.state)) await this.#end(row, status);
      else return this.#recordForecast(row, status);
      return true;
    } catch (error) {
      // The next poll tries again.
      console.error(error);
      return false;
    }
  }

  #recordForecast(row: StoredRow, { windows, shards }: JobStatus): boolean {
    if (row.windows !== null || !windows || !shards) return false;
    const record = this.#record()!;
    const forecast = forecastJob(this.env, windows.total, shards.total);
    if (!this.#rows.current(row)) return false;
    this.#rows.planned(row, windows.total, forecast);
    const { scans, usd } = record.forecasts;
    this.#save({ ...record, forecasts: { scans: scans + 1, usd: usd + forecast } });
    return true;
  }

  async #end(row: StoredRow, status: JobStatus): Promise<void> {
    const cost = await costOfJob(this.env, status);
    if (!this.#rows.current(row)) return;
    if (row.mine) this.#addCost(cost);
    if (status.state === "done") {
      if (row.windows === null) this.#recordForecast(row, status);
      this.#rows.done(row, cost);
    } else if (status.error?.code === COHORT_CANCELLED) {
      this.#retry(row, { code: "refused", reason: status.error.message });
    } else this.#rows.fail(row, jobFailure(status), cost);
  }

  /** Restarts the job after an error that is not the scan's fault, up to the maximum number of attempts. */
  #retry(row: StoredRow, failure: Parameters<CohortRows["fail"]>[1]): void {
    if (!this.#rows.current(row)) return;
    if (row.tries + 1 < MAX_ATTEMPTS) this.#rows.requeue(row, Date.now(), true);
    else this.#rows.fail(row, failure, undefined);
  }

  /** @returns whether more sizes are to be fetched before the first row starts */
  async #fetchSizes(): Promise<boolean> {
    const { desired, limits } = this.#record()!;
    const rows = limits.largestFirst && desired === "running" ? this.#rows.unsized(SIZES_PER_ALARM) : [];
    await forEachInRounds(rows, CONCURRENCY, async (row) => {
      let bytes = 0;
      try {
        const { store, key } = openSourceStore(this.env, toR2Address(this.env, row.source));
        bytes = (await store.head(key, { signal: AbortSignal.timeout(HEAD_TIMEOUT_MS) }))?.byteLength ?? 0;
      } catch {
        // Starting the job reports the error.
      }
      this.#rows.setSize(row, bytes);
    });
    return rows.length === SIZES_PER_ALARM;
  }

  /** Marks the job of a row for cancelling, unless another cohort or user started it. */
  #abandon({ state, job, mine }: StoredRow): void {
    if (state === "running" && job !== null && mine)
      this.ctx.storage.sql.exec("INSERT OR IGNORE INTO given_up (job) VALUES (?)", job);
  }

  #abandonedJobs(most: number): string[] {
    return this.ctx.storage.sql
      .exec<{ job: string }>("SELECT job FROM given_up LIMIT ?", most)
      .toArray()
      .map(({ job }) => job);
  }

  /** Cancels abandoned jobs and adds their cost. @returns whether there were any */
  async #cancelAbandoned(): Promise<boolean> {
    const jobs = this.#abandonedJobs(CANCELS_PER_ALARM);
    await forEachInRounds(jobs, CONCURRENCY, async (job) => {
      try {
        const ledger = getLedger(this.env.LEDGERS!, job);
        await ledger.cancel({
          code: COHORT_CANCELLED,
          message: "the cohort that started the job was cancelled or has another source for it",
        });
        const status = await ledger.status();
        const cost = status ? await costOfJob(this.env, status) : 0;
        this.ctx.storage.sql.exec("DELETE FROM given_up WHERE job = ?", job);
        this.#addCost(cost);
      } catch (error) {
        console.error(error);
      }
    });
    return jobs.length > 0;
  }

  #addCost(usd: number): void {
    const record = this.#record()!;
    this.#save({ ...record, spent: record.spent + usd });
  }

  #spend(record: CohortRecord): Spend {
    return toSpend(record, this.#rows.running());
  }

  #status(record: CohortRecord): RemoteCohortStatus {
    return toCohortStatus(record, this.#rows.counts, this.#rows.total, this.#spend(record));
  }

  #record(): CohortRecord | undefined {
    const row = this.ctx.storage.sql.exec<{ value: string }>("SELECT value FROM meta").toArray()[0];
    return row && parseCohortRecord(row.value);
  }

  #save(record: CohortRecord): void {
    const value = JSON.stringify({ ...record, updatedAt: Date.now() });
    this.ctx.storage.sql.exec("INSERT OR REPLACE INTO meta (id, value) VALUES (0, ?)", value);
  }

  async #wake(record: CohortRecord): Promise<RemoteCohortStatus> {
    this.#wakeUps++;
    this.#pollMs = MIN_POLL_MS;
    this.#save({ ...record, blockedReason: undefined });
    await this.ctx.storage.setAlarm(Date.now());
    return this.#status(this.#record()!);
  }
}

/** RPC interface of the ledger of one cohort. */
export type CohortStub = Pick<
  CohortLedger,
  "create" | "status" | "add" | "page" | "retry" | "setLimits" | "setDesiredState" | "delete"
>;

export function getCohortLedger(cohorts: DurableObjectNamespace, id: string): CohortStub {
  return cohorts.get(cohorts.idFromName(id)) as unknown as CohortStub;
}
