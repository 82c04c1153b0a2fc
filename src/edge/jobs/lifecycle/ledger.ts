import { DurableObject } from "cloudflare:workers";
import type { DurableObjectState, SqlStorage } from "@cloudflare/workers-types";
import type { JobDocument } from "../../../contracts/job-plan-message.ts";
import { isFinal, type JobState, type JobStatus } from "../../../contracts/job-request.ts";
import { addStatistics } from "../../../orchestrator/map/merge-block.ts";
import type { Ledger, TaskKind, TaskReport, TaskTotals } from "../../shared/ledger-port.ts";
import type { Bindings } from "../context/bindings.ts";
import { STAGES } from "./job-phase.ts";
import { sendTasks } from "./send-tasks.ts";
import { shardQueues } from "./shard-queues.ts";
import { readStoredReport, storeReport } from "./stored-report.ts";
import { addStops, countStop, stopReason } from "./task-stops.ts";

/** Tasks of a job under way at a time, for each queue of shards: twice the consumers a queue can have. Few enough that one alarm can send them again. */
const TASKS_AHEAD = 500;
/** More are sent when this share of them has room. */
const REFILL_SHARE = 0.2;
const LONGEST_STALL_SECONDS = 3600;

interface Meta {
  document: JobDocument;
  state: JobState;
  createdAt: number;
  updatedAt: number;
  /** When something last moved, and how long to wait for the next move: doubled each time nothing does. */
  movedAt: number;
  stallSeconds: number;
  /** It stood still for so long that tasks were sent again. */
  woken?: boolean;
  windows?: number;
  expected: Partial<Record<TaskKind, number>>;
  /** What ran the model, as the first task said that told; kept once, for a row of each task is what a ledger is large by. */
  runtime?: string;
  /** How far the tasks of the stage were sent, in the order of their ids; `tasks` counts those that were done before, too. */
  sent?: { kind: TaskKind; last: number; tasks: number };
  error?: { code: string; message: string };
  outputs?: NonNullable<JobStatus["outputs"]>;
  /** Of a job that has ended: its Workflow could not be told, so nobody cleans up and calls back yet. */
  untold?: boolean;
}

/**
 * The ledger of one job: which tasks are done, each once however often it was sent. Whether a stage is complete follows
 * from the set of finished tasks alone. An alarm sends again what got lost on the way; tasks are repeatable, so sending
 * too much costs time and never a result.
 */
export class JobLedger extends DurableObject<Bindings> implements Ledger {
  readonly #sql: SqlStorage;
  readonly #stallSeconds: number;
  readonly #tasksAhead: number;
  #sending = false;
  /** As it was saved last, once it is known: every call asks for it. */
  #known: Meta | undefined;
  /** Finished tasks and their windows by kind, counted once an instance: rows are what a Durable Object pays for. */
  readonly #finished = new Map<TaskKind, { tasks: number; windows: number }>();

  constructor(state: DurableObjectState, env: Bindings) {
    super(state, env);
    this.#sql = state.storage.sql;
    this.#stallSeconds = Number(env.STALL_SECONDS) || 300;
    this.#tasksAhead = (Number(env.TASKS_AHEAD) || TASKS_AHEAD) * shardQueues(env).length;
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS meta (id INTEGER PRIMARY KEY CHECK (id = 0), value TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS tasks (kind TEXT, id INTEGER, done INTEGER NOT NULL DEFAULT 0, report TEXT, error TEXT,
        PRIMARY KEY (kind, id)) WITHOUT ROWID;
    `);
    addStops(this.#sql);
  }

  async create(document: JobDocument, { again, lost }: { again: boolean; lost?: boolean }) {
    const before = this.#meta();
    const over =
      (again && (before?.state === "failed" || before?.state === "cancelled")) ||
      (lost && before?.state === "done");
    if (before && !over) return { created: false, status: this.#status(before) };
    const now = Date.now();
    this.#sql.exec("DELETE FROM tasks");
    this.#finished.clear();
    const meta: Meta = {
      document,
      state: "planning",
      createdAt: now,
      updatedAt: now,
      movedAt: now,
      stallSeconds: this.#stallSeconds,
      expected: {},
    };
    this.#save(meta);
    await this.ctx.storage.setAlarm(now + this.#stallSeconds * 1000);
    return { created: true, status: this.#status(meta) };
  }

  async status() {
    const meta = this.#meta();
    return meta && this.#status(meta);
  }

  async document() {
    return this.#meta()?.document;
  }

  async expect(kind: TaskKind, ids: readonly number[], total: number): Promise<void> {
    const meta = this.#live();
    if (!meta) return;
    for (const id of ids) this.#sql.exec("INSERT OR IGNORE INTO tasks (kind, id) VALUES (?, ?)", kind, id);
    meta.expected[kind] = total;
    this.#moved(meta);
  }

  async send(kind: TaskKind): Promise<number> {
    const meta = this.#live();
    if (!meta) return 0;
    const { tasks } = this.#finishedOf(kind);
    this.#moved({ ...meta, sent: { kind, last: -1, tasks } });
    await this.#sendAhead(kind);
    return (meta.expected[kind] ?? 0) - tasks;
  }

  async take(kind: TaskKind, id: number) {
    const meta = this.#live();
    const row = this.#sql.exec("SELECT done FROM tasks WHERE kind = ? AND id = ?", kind, id).toArray()[0];
    if (!meta || !row || row.done !== 0) return "skip";
    return meta.woken && (await this.#stopsWorkers(kind, id)) ? "skip" : "run";
  }

  async #stopsWorkers(kind: TaskKind, id: number): Promise<boolean> {
    if (!countStop(this.#sql, kind, id, this.#stallSeconds * 1000)) return false;
    await this.fail("task_stopped", stopReason(kind, id));
    return true;
  }

  async done(kind: TaskKind, id: number, report: TaskReport): Promise<void> {
    const meta = this.#live();
    if (!meta) return;
    const finished = this.#finishedOf(kind);
    const { rowsWritten } = this.#sql.exec(
      "UPDATE tasks SET done = 1, report = ?, error = NULL WHERE kind = ? AND id = ? AND done = 0",
      storeReport(report),
      kind,
      id,
    );
    if (rowsWritten === 0) return;
    finished.tasks++;
    finished.windows += report.windows ?? 0;
    meta.runtime ??= report.runtime;
    this.#moved(meta);
    if (finished.tasks === meta.expected[kind]) return this.#advance(meta, kind);
    try {
      await this.#sendAhead(kind);
    } catch (error) {
      // The task is done all the same; the next one that is, or the alarm, sends what was not taken.
      console.warn(`job ${meta.document.id}: no more tasks could be sent (${(error as Error).message})`);
    }
  }

  /** Sends tasks of a stage in the order of their ids, as far as a job may be ahead. */
  async #sendAhead(kind: TaskKind): Promise<void> {
    // While a queue is told, this object is told of tasks.
    if (this.#sending) return;
    this.#sending = true;
    try {
      for (let meta = this.#live(); meta?.sent?.kind === kind; meta = this.#live()) {
        const { last, tasks } = meta.sent;
        const room = this.#tasksAhead - (tasks - this.#finishedOf(kind).tasks);
        if (room < this.#tasksAhead * REFILL_SHARE) return;
        const ids = this.#notDone(kind, last, room);
        if (ids.length === 0) return;
        await sendTasks(this.env, meta.document.id, kind, ids);
        const now = this.#live();
        // Unless the stage was begun anew meanwhile.
        if (now?.createdAt === meta.createdAt && now.sent?.kind === kind && now.sent.last === last) {
          this.#save({ ...now, sent: { kind, last: ids.at(-1)!, tasks: tasks + ids.length } });
        }
      }
    } finally {
      this.#sending = false;
    }
  }

  #notDone(kind: TaskKind, after: number, limit: number): number[] {
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

  async redo(shard: number): Promise<void> {
    const meta = this.#live();
    if (!meta) return;
    const finished = this.#finishedOf("shard");
    const row = this.#sql
      .exec("SELECT report FROM tasks WHERE kind = 'shard' AND id = ? AND done = 1", shard)
      .toArray()[0];
    if (row) {
      this.#sql.exec("UPDATE tasks SET done = 0, report = NULL WHERE kind = 'shard' AND id = ?", shard);
      finished.tasks--;
      finished.windows -= readStoredReport(row.report as string).windows ?? 0;
      this.#moved(meta);
    }
    await sendTasks(this.env, meta.document.id, "shard", [shard]);
  }

  async alive(): Promise<void> {
    const meta = this.#live();
    if (meta) this.#moved(meta);
  }

  async tried(kind: TaskKind, id: number, message: string): Promise<void> {
    this.#sql.exec(
      "UPDATE tasks SET error = ?, taken = 0 WHERE kind = ? AND id = ?",
      message.slice(0, 500),
      kind,
      id,
    );
  }

  async totals(kind: TaskKind): Promise<TaskTotals> {
    const meta = this.#meta();
    let done = 0;
    const sum: TaskReport = { windows: 0, bytesRead: 0, runtime: meta?.runtime };
    for (const row of this.#sql.exec(
      "SELECT report FROM tasks WHERE kind = ? AND done = 1 ORDER BY id",
      kind,
    )) {
      const report = readStoredReport(row.report as string);
      done++;
      sum.windows! += report.windows ?? 0;
      sum.bytesRead! += report.bytesRead ?? 0;
      sum.modelMilliseconds = (sum.modelMilliseconds ?? 0) + (report.modelMilliseconds ?? 0);
      if (report.merge) sum.merge = sum.merge ? addStatistics(sum.merge, report.merge) : report.merge;
    }
    return { total: meta?.expected[kind] ?? 0, done, report: sum };
  }

  async setWindows(total: number): Promise<void> {
    const meta = this.#live();
    if (meta) this.#moved({ ...meta, windows: total });
  }

  async setOutputs(outputs: NonNullable<JobStatus["outputs"]>): Promise<void> {
    const meta = this.#live();
    if (meta) this.#moved({ ...meta, outputs });
  }

  async fail(code: string, message: string): Promise<void> {
    const meta = this.#live();
    if (meta) await this.#end({ ...meta, error: { code, message: message.slice(0, 1000) } }, "failed");
  }

  async giveUp(kind: TaskKind, id: number): Promise<void> {
    const row = this.#sql
      .exec("SELECT done, error FROM tasks WHERE kind = ? AND id = ?", kind, id)
      .toArray()[0];
    if (!row || row.done === 1) return;
    await this.fail(
      "task_failed",
      `${kind} ${id} failed every time it was tried: ${row.error ?? "no reason is known"}`,
    );
  }

  async cancel(reason?: { code: string; message: string }): Promise<JobState | undefined> {
    const meta = this.#live();
    if (meta) await this.#end({ ...meta, error: reason }, "cancelled");
    return this.#meta()?.state;
  }

  async forget(): Promise<boolean> {
    const meta = this.#meta();
    // Its Workflow would wait for the end for ever.
    if (meta && isFinal(meta.state)) await this.#tellEnd(meta);
    // Looked at again: the job may have been started over while its objects were removed or its Workflow was told. Some of what it
    // had made by then may be gone, and it must not end as one that has all.
    const live = this.#live();
    if (live) {
      const message = "the job was removed while it was started again: start it once more";
      await this.#end({ ...live, error: { code: "work_lost", message } }, "failed");
      return false;
    }
    this.#sql.exec("DELETE FROM tasks");
    this.#sql.exec("DELETE FROM meta");
    this.#known = undefined;
    this.#finished.clear();
    await this.ctx.storage.deleteAlarm();
    return true;
  }

  override async alarm(): Promise<void> {
    const meta = this.#meta();
    if (!meta) return;
    if (isFinal(meta.state)) return this.#tellEnd(meta);
    const waits = meta.movedAt + meta.stallSeconds * 1000 - Date.now();
    if (waits > 0) return this.ctx.storage.setAlarm(Date.now() + waits);
    meta.stallSeconds = Math.min(meta.stallSeconds * 2, LONGEST_STALL_SECONDS);
    meta.movedAt = Date.now();
    meta.woken = true;
    this.#save(meta);
    await this.ctx.storage.setAlarm(Date.now() + meta.stallSeconds * 1000);
    await this.#wake(meta);
  }

  /** Nothing has moved for too long: a message, an event or the Workflow's own step may be lost. */
  async #wake(meta: Meta): Promise<void> {
    const { kind } = STAGES.find((s) => s.state === meta.state)!;
    const pending = this.#notDone(kind, -1, this.#tasksAhead);
    if (pending.length > 0) return sendTasks(this.env, meta.document.id, kind, pending);
    await this.#restartWorkflow(meta.document.id);
  }

  async #restartWorkflow(id: string): Promise<void> {
    const jobs = this.env.JOBS!;
    try {
      await (await jobs.get(id)).restart();
    } catch {
      // It was never made: the request that opened this ledger was cut off before it could.
      await jobs.create({ id });
    }
  }

  async #advance(meta: Meta, kind: TaskKind): Promise<void> {
    const at = STAGES.findIndex((s) => s.kind === kind);
    if (STAGES[at]!.state !== meta.state) return;
    const next = STAGES[at + 1]?.state ?? "done";
    if (next === "done") return this.#end(meta, "done");
    meta.state = next;
    this.#moved(meta);
    await this.#tellWorkflow(meta.document.id, kind, next);
  }

  async #end(meta: Meta, state: JobState): Promise<void> {
    const { kind } = STAGES.find((s) => s.state === meta.state)!;
    meta.state = state;
    // Noted before it is tried: this object may be cut off in between.
    meta.untold = true;
    this.#moved(meta);
    await this.ctx.storage.setAlarm(Date.now() + this.#stallSeconds * 1000);
    if (await this.#tellWorkflow(meta.document.id, kind, state)) this.#toldEnd(meta);
  }

  /** A Workflow that starts anew finds that the job has ended, and does what is left. */
  async #tellEnd(meta: Meta): Promise<void> {
    if (!meta.untold) return;
    await this.ctx.storage.setAlarm(Date.now() + this.#stallSeconds * 1000);
    await this.#restartWorkflow(meta.document.id);
    this.#toldEnd(meta);
  }

  #toldEnd({ createdAt }: Meta): void {
    // Read again: the job may have been started over while its Workflow was told.
    const meta = this.#meta();
    if (meta?.createdAt === createdAt) this.#save({ ...meta, untold: false });
  }

  /** An event that is lost is no loss: the alarm restarts the Workflow, which asks what is done before it waits. */
  async #tellWorkflow(id: string, kind: TaskKind, state: JobState): Promise<boolean> {
    try {
      await (await this.env.JOBS!.get(id)).sendEvent({ type: `${kind}-done`, payload: { state } });
      return true;
    } catch (error) {
      console.warn(`job ${id}: its Workflow was not told of ${state} (${(error as Error).message})`);
      return false;
    }
  }

  #live(): Meta | undefined {
    const meta = this.#meta();
    return meta && !isFinal(meta.state) ? meta : undefined;
  }

  #meta(): Meta | undefined {
    if (this.#known) return this.#known;
    const row = this.#sql.exec("SELECT value FROM meta").toArray()[0];
    this.#known = row && (JSON.parse(row.value as string) as Meta);
    return this.#known;
  }

  #moved(meta: Meta): void {
    const now = Date.now();
    this.#save({ ...meta, updatedAt: now, movedAt: now, stallSeconds: this.#stallSeconds });
  }

  #save(meta: Meta): void {
    this.#sql.exec("INSERT OR REPLACE INTO meta (id, value) VALUES (0, ?)", JSON.stringify(meta));
    this.#known = meta;
  }

  #finishedOf(kind: TaskKind): { tasks: number; windows: number } {
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

  #status(meta: Meta): JobStatus {
    const { document, expected } = meta;
    const share = (kind: TaskKind) =>
      expected[kind] === undefined
        ? undefined
        : { total: expected[kind], done: this.#finishedOf(kind).tasks };
    return {
      id: document.id,
      state: meta.state,
      source: {
        uri: document.source.uri,
        etag: document.source.etag,
        byteLength: document.source.byteLength,
      },
      model: { name: document.model.name, variant: document.model.variant },
      createdAt: new Date(meta.createdAt).toISOString(),
      updatedAt: new Date(meta.updatedAt).toISOString(),
      windows:
        meta.windows === undefined
          ? undefined
          : { total: meta.windows, done: this.#finishedOf("shard").windows },
      shards: share("shard"),
      merges: share("merge"),
      error: meta.error,
      outputs: meta.state === "done" ? meta.outputs : undefined,
    };
  }
}
