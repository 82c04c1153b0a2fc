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
import { eachInRounds, inRounds } from "./in-rounds.ts";
import { COHORT_CANCELLED, jobFailure, startFailure } from "./row-failure.ts";
import { forecastOf, mayBegin, type Spend, spendReason } from "./spend.ts";
import { inPlace, startRow } from "./start-row.ts";

/** Calls of other objects under way together. */
const AT_ONCE = 12;
/** Of one alarm, after which others have their turn: time in which jobs are started, sources looked up for their size, jobs cancelled. */
const BEGINNING_MS = 10_000;
const SIZES = 200;
const CANCELS = 200;
const HEAD_TIMEOUT_MS = 20_000;
/** Between two looks at what runs: short after something moved, doubled while nothing does. */
const FIRST_LOOK_MS = 1000;
const LONGEST_LOOK_MS = 15_000;
/** Of each scan under way: many are not looked at as often. */
const LOOK_MS_A_SCAN = 20;
/** An alarm that is cut off is followed by another one. */
const CUT_OFF_MS = 20_000;
const TRIES = 5;
const FIRST_TRY_MS = 5000;

interface Meta {
  id: string;
  job: CohortJob;
  limits: CohortLimits;
  createdAt: number;
  updatedAt: number;
  /** What its user last asked for. */
  wanted: "running" | "paused" | "cancelled";
  /** Why nothing more begins though it should. */
  waits?: string;
  /** USD of what has ended. */
  spent: number;
  /** Scans whose forecast is known, and its sum in USD. */
  known: { scans: number; usd: number };
}

/**
 * One cohort: its rows, and which job each of them has. The alarm alone works: it looks at what runs, and begins as much
 * as the limits allow. What is called from outside writes down what is wanted and wakes it. It may be cut off anywhere:
 * a row is written down as begun before its job is made, and making a job twice finds the first.
 */
export class CohortLedger extends DurableObject<Bindings> {
  readonly #rows: CohortRows;
  #lookMs = FIRST_LOOK_MS;
  /** Counts what came from outside, to be seen by an alarm that was at work meanwhile. */
  #woken = 0;

  constructor(state: DurableObjectState, env: Bindings) {
    super(state, env);
    state.storage.sql.exec(`
      CREATE TABLE IF NOT EXISTS meta (id INTEGER PRIMARY KEY CHECK (id = 0), value TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS given_up (job TEXT PRIMARY KEY) WITHOUT ROWID;
    `);
    this.#rows = new CohortRows(state.storage.sql);
  }

  /** Opens the cohort, or finds it. "other": one of this id asks for something else. */
  async create(
    id: string,
    job: CohortJob,
    limits: CohortLimits,
  ): Promise<{ created: boolean; status: RemoteCohortStatus } | "other"> {
    const before = this.#meta();
    if (before) {
      const same = JSON.stringify(before.job) === JSON.stringify(job);
      return same ? { created: false, status: this.#status(before) } : "other";
    }
    const now = Date.now();
    const meta: Meta = {
      id,
      job,
      limits,
      createdAt: now,
      updatedAt: now,
      wanted: "running",
      spent: 0,
      known: { scans: 0, usd: 0 },
    };
    this.#save(meta);
    return { created: true, status: this.#status(meta) };
  }

  async status(): Promise<RemoteCohortStatus | undefined> {
    const meta = this.#meta();
    return meta && this.#status(meta);
  }

  /** Adds rows, of ids that differ. One whose id is there stays as it is, unless its source or pixel size is another. "full": none was added. */
  async add(rows: readonly NewCohortRow[]): Promise<RemoteCohortStatus | "full" | undefined> {
    const meta = this.#meta();
    if (!meta) return undefined;
    const known = this.#rows.known(rows.map((row) => row.id));
    if (this.#rows.total + rows.length - known.size > MAX_COHORT_ROWS) return "full";
    for (const row of rows) {
      const before = known.get(row.id);
      if (!before) this.#rows.add(row);
      else if (before.source !== row.source || before.mpp !== (row.mpp ?? null)) {
        this.#giveUp(before);
        this.#rows.replace(before, row);
      }
    }
    return this.#wake(meta);
  }

  async page(cursor: number, most: number): Promise<CohortRowsPage | undefined> {
    return this.#meta() && this.#rows.page(cursor, most);
  }

  /** Does rows again that have ended; default those that failed. Ids that are not there count for nothing. */
  async retry(ids: readonly string[] | undefined): Promise<RemoteCohortStatus | undefined> {
    const meta = this.#meta();
    if (!meta) return undefined;
    const rows = ids ? [...this.#rows.known(ids).values()] : this.#rows.failed();
    for (const row of rows) if (row.state === "failed" || row.state === "done") this.#rows.again(row);
    return this.#wake(meta);
  }

  async setLimits(changed: ChangedLimits): Promise<RemoteCohortStatus | undefined> {
    const meta = this.#meta();
    return meta && this.#wake({ ...meta, limits: { ...meta.limits, ...changed } });
  }

  /** "paused": what runs goes on to its end. "cancelled": it is ended, and is to be done again after "running". */
  async want(wanted: Meta["wanted"]): Promise<RemoteCohortStatus | undefined> {
    const meta = this.#meta();
    return meta && this.#wake({ ...meta, wanted });
  }

  /** Nothing is known of the cohort any more; its jobs stay. "busy": something is under way, or about to be. */
  async forget(): Promise<"gone" | "busy" | undefined> {
    const meta = this.#meta();
    if (!meta) return undefined;
    const { pending, running } = this.#rows.counts;
    const begins = meta.wanted === "running" && pending > 0;
    if (begins || running > 0 || this.#givenUp(1).length > 0) return "busy";
    this.#rows.clear();
    this.ctx.storage.sql.exec("DELETE FROM meta");
    await this.ctx.storage.deleteAlarm();
    return "gone";
  }

  override async alarm(): Promise<void> {
    if (!this.#meta()) return;
    const woken = this.#woken;
    await this.ctx.storage.setAlarm(Date.now() + CUT_OFF_MS);
    const moved = await this.#work();
    this.#lookMs = moved ? FIRST_LOOK_MS : Math.min(2 * this.#lookMs, LONGEST_LOOK_MS);
    if (this.#woken !== woken) return this.ctx.storage.setAlarm(Date.now());
    const next = this.#nextLook(moved);
    if (next === undefined) await this.ctx.storage.deleteAlarm();
    else await this.ctx.storage.setAlarm(next);
  }

  /** @returns whether anything moved, so that more may soon */
  async #work(): Promise<boolean> {
    let moved = await this.#cancelJobs();
    await eachInRounds(this.#rows.running(), AT_ONCE, async (row) => {
      moved = (await (row.job === null ? this.#start(row) : this.#look(row, row.job))) || moved;
    });
    if (this.#meta()!.wanted === "cancelled") {
      for (const row of this.#rows.running()) {
        this.#giveUp(row);
        this.#rows.putBack(row, 0, false);
        moved = true;
      }
      return (await this.#cancelJobs()) || moved;
    }
    if (await this.#findSizes()) return true;
    return (await this.#begin()) || moved;
  }

  /** Undefined where nothing moves by itself any more. */
  #nextLook(moved: boolean): number | undefined {
    const now = Date.now();
    const busy = moved || this.#rows.counts.running > 0 || this.#givenUp(1).length > 0;
    const { wanted } = this.#meta()!;
    const due = wanted === "running" ? this.#rows.nextDue(now) : undefined;
    if (!busy) return due;
    const look = now + Math.max(this.#lookMs, LOOK_MS_A_SCAN * this.#rows.counts.running);
    return Math.min(look, due ?? look);
  }

  /** Begins rows as long as the limits allow; one whose job is there already makes room for the next at once. */
  async #begin(): Promise<boolean> {
    const until = Date.now() + BEGINNING_MS;
    let begun = false;
    await inRounds(() => {
      const row = Date.now() < until ? this.#nextRow() : undefined;
      if (!row) return undefined;
      begun = true;
      const started = this.#rows.begin(row, Date.now());
      return async () => void (await this.#start(started));
    }, AT_ONCE);
    return begun;
  }

  /** Read anew each time: limits and rows may have changed meanwhile. */
  #nextRow(): StoredRow | undefined {
    const meta = this.#meta()!;
    if (meta.wanted !== "running" || this.#rows.counts.running >= meta.limits.concurrency) return undefined;
    const row = this.#rows.next(Date.now());
    if (!row) return undefined;
    // All that runs is added up for a limit alone.
    if (meta.limits.spendLimitUsd === null) return row;
    const spend = this.#spend(meta);
    const verdict = mayBegin(spend, row.forecast ?? undefined);
    const waits = typeof verdict === "number" ? spendReason(spend, verdict) : undefined;
    if (waits !== meta.waits) this.#save({ ...meta, waits });
    return verdict === "yes" ? row : undefined;
  }

  /** Makes the job of a row that is begun. @returns true: something moved */
  async #start(row: StoredRow): Promise<boolean> {
    const { job } = this.#meta()!;
    try {
      const found = await startRow(this.env, job, row);
      const { status } = found;
      // Of rows of the same scan, begun together, one pays.
      const mine = found.mine && !this.#rows.isPaidFor(status.id);
      const started = { ...row, job: status.id, mine: mine ? 1 : 0 };
      if (!this.#rows.same(row)) {
        // Replaced meanwhile: nobody waits for this job.
        this.#giveUp(started);
        return true;
      }
      this.#rows.started(row, status.id, mine);
      // Where that fails the next look does it.
      if (isFinal(status.state)) await this.#end(started, status).catch(console.error);
    } catch (error) {
      const { passing, ...failure } = startFailure(error, row.source);
      if (!this.#rows.same(row)) return true;
      if (passing && row.tries + 1 < TRIES)
        this.#rows.putOff(row, Date.now() + FIRST_TRY_MS * 2 ** row.tries);
      else this.#rows.fail(row, failure, undefined);
    }
    return true;
  }

  /** How the job of a row stands. @returns whether something moved */
  async #look(row: StoredRow, job: string): Promise<boolean> {
    try {
      const status = await getLedger(this.env.LEDGERS!, job).status();
      if (!status) this.#again(row, { code: "storage", reason: "its job is not known any more" });
      else if (isFinal(status.state)) await this.#end(row, status);
      else return this.#noteForecast(row, status);
      return true;
    } catch (error) {
      // Nothing is lost: the next look tells.
      console.error(error);
      return false;
    }
  }

  #noteForecast(row: StoredRow, { windows, shards }: JobStatus): boolean {
    if (row.windows !== null || !windows || !shards) return false;
    const meta = this.#meta()!;
    const forecast = forecastJob(this.env, windows.total, shards.total);
    if (!this.#rows.same(row)) return false;
    this.#rows.planned(row, windows.total, forecast);
    const { scans, usd } = meta.known;
    this.#save({ ...meta, known: { scans: scans + 1, usd: usd + forecast } });
    return true;
  }

  async #end(row: StoredRow, status: JobStatus): Promise<void> {
    const cost = await costOfJob(this.env, status);
    if (!this.#rows.same(row)) return;
    if (row.mine) this.#spent(cost);
    if (status.state === "done") {
      if (row.windows === null) this.#noteForecast(row, status);
      this.#rows.done(row, cost);
    } else if (status.error?.code === COHORT_CANCELLED) {
      this.#again(row, { code: "refused", reason: status.error.message });
    } else this.#rows.fail(row, jobFailure(status), cost);
  }

  /** Not the scan's fault: started again, but not for ever. */
  #again(row: StoredRow, failure: Parameters<CohortRows["fail"]>[1]): void {
    if (!this.#rows.same(row)) return;
    if (row.tries + 1 < TRIES) this.#rows.putBack(row, Date.now(), true);
    else this.#rows.fail(row, failure, undefined);
  }

  /** @returns whether there is more to do before the first begins */
  async #findSizes(): Promise<boolean> {
    const { wanted, limits } = this.#meta()!;
    const rows = limits.largestFirst && wanted === "running" ? this.#rows.unsized(SIZES) : [];
    await eachInRounds(rows, AT_ONCE, async (row) => {
      let bytes = 0;
      try {
        const { store, key } = openSourceStore(this.env, inPlace(this.env, row.source));
        bytes = (await store.head(key, { signal: AbortSignal.timeout(HEAD_TIMEOUT_MS) }))?.byteLength ?? 0;
      } catch {
        // Whatever it is, starting the job will tell.
      }
      this.#rows.size(row, bytes);
    });
    return rows.length === SIZES;
  }

  /** The job of a row that nobody waits for any more; one that others started is left to them. */
  #giveUp({ state, job, mine }: StoredRow): void {
    if (state === "running" && job !== null && mine)
      this.ctx.storage.sql.exec("INSERT OR IGNORE INTO given_up (job) VALUES (?)", job);
  }

  #givenUp(most: number): string[] {
    return this.ctx.storage.sql
      .exec<{ job: string }>("SELECT job FROM given_up LIMIT ?", most)
      .toArray()
      .map(({ job }) => job);
  }

  /** Cancels what was given up and counts what it has cost. @returns whether there was something */
  async #cancelJobs(): Promise<boolean> {
    const jobs = this.#givenUp(CANCELS);
    await eachInRounds(jobs, AT_ONCE, async (job) => {
      try {
        const ledger = getLedger(this.env.LEDGERS!, job);
        await ledger.cancel({
          code: COHORT_CANCELLED,
          message: "the cohort that started the job was cancelled or has another source for it",
        });
        const status = await ledger.status();
        const cost = status ? await costOfJob(this.env, status) : 0;
        this.ctx.storage.sql.exec("DELETE FROM given_up WHERE job = ?", job);
        this.#spent(cost);
      } catch (error) {
        console.error(error);
      }
    });
    return jobs.length > 0;
  }

  #spent(usd: number): void {
    const meta = this.#meta()!;
    this.#save({ ...meta, spent: meta.spent + usd });
  }

  #spend({ limits, spent, known }: Meta): Spend {
    return {
      limit: limits.spendLimitUsd,
      spent,
      running: this.#rows
        .running()
        .filter(({ job, mine }) => job === null || mine)
        .map(({ forecast }) => forecast ?? undefined),
      mean: known.scans === 0 ? undefined : known.usd / known.scans,
    };
  }

  #status(meta: Meta): RemoteCohortStatus {
    const { id, limits, wanted, waits, spent } = meta;
    const { counts, total } = this.#rows;
    const left = counts.pending + counts.running;
    const state = wanted === "running" && waits !== undefined && counts.pending > 0 ? "paused" : wanted;
    return {
      id,
      state: left === 0 && wanted !== "cancelled" ? "done" : state,
      reason: left > 0 && wanted === "running" ? waits : undefined,
      createdAt: new Date(meta.createdAt).toISOString(),
      updatedAt: new Date(meta.updatedAt).toISOString(),
      limits,
      rows: { total, ...counts },
      spentUsd: spent,
      forecastUsd: forecastOf(this.#spend(meta)),
    };
  }

  #meta(): Meta | undefined {
    const row = this.ctx.storage.sql.exec<{ value: string }>("SELECT value FROM meta").toArray()[0];
    return row && (JSON.parse(row.value) as Meta);
  }

  #save(meta: Meta): void {
    const value = JSON.stringify({ ...meta, updatedAt: Date.now() });
    this.ctx.storage.sql.exec("INSERT OR REPLACE INTO meta (id, value) VALUES (0, ?)", value);
  }

  async #wake(meta: Meta): Promise<RemoteCohortStatus> {
    this.#woken++;
    this.#lookMs = FIRST_LOOK_MS;
    this.#save({ ...meta, waits: undefined });
    await this.ctx.storage.setAlarm(Date.now());
    return this.#status(this.#meta()!);
  }
}

/** The calls of a cohort as they are made from outside the object. */
export type CohortStub = Pick<
  CohortLedger,
  "create" | "status" | "add" | "page" | "retry" | "setLimits" | "want" | "forget"
>;

export function cohortLedger(cohorts: DurableObjectNamespace, id: string): CohortStub {
  return cohorts.get(cohorts.idFromName(id)) as unknown as CohortStub;
}
