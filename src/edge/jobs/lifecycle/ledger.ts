import { DurableObject } from "cloudflare:workers";
import type { DurableObjectState, SqlStorage } from "@cloudflare/workers-types";
import type { JobDocument } from "../../../contracts/job-plan-message.ts";
import { isFinal, type JobState, type JobStatus } from "../../../contracts/job-request.ts";
import { addStatistics } from "../../../orchestrator/map/merge-block.ts";
import type { Ledger, MergeNeeds, TaskKind, TaskReport, TaskTotals } from "../../shared/ledger-port.ts";
import type { Bindings } from "../context/bindings.ts";
import { EarlyMerges } from "./early-merges.ts";
import {
  canReplace,
  createJobRecord,
  currentPhase,
  dispatchRoom,
  endJob,
  isActive,
  type JobRecord,
  markStalled,
  millisecondsUntilStall,
  parseJobRecord,
  stateAfter,
  toJobStatus,
  touch,
} from "./job-state.ts";
import { sendTasks } from "./send-tasks.ts";
import { shardQueues } from "./shard-queues.ts";
import { TaskTable } from "./task-table.ts";

/** Tasks of a job in flight per shard queue: twice the consumers a queue can have. One alarm can dispatch as many again. */
const TASKS_AHEAD = 500;
/** Dispatch more when this share of them has room. */
const REFILL_SHARE = 0.2;
const STALL_SECONDS = 300;
/** Workers that one task may stop, by exceeding memory or time. */
const MAX_STOPPED_WORKERS = 3;

/**
 * The ledger of one job. It records each task as done once, however often its message arrives. A phase is complete when
 * all its tasks are done. If there is no progress, an alarm dispatches the open tasks again: tasks are idempotent, so
 * duplicates cost time and never change a result.
 */
export class JobLedger extends DurableObject<Bindings> implements Ledger {
  readonly #sql: SqlStorage;
  readonly #tasks: TaskTable;
  readonly #early: EarlyMerges;
  readonly #stallSeconds: number;
  readonly #tasksAhead: number;
  #dispatching = false;
  /** The record as stored; every call needs it. */
  #cached: JobRecord | undefined;

  constructor(state: DurableObjectState, env: Bindings) {
    super(state, env);
    this.#sql = state.storage.sql;
    this.#stallSeconds = Number(env.STALL_SECONDS) || STALL_SECONDS;
    this.#tasksAhead = (Number(env.TASKS_AHEAD) || TASKS_AHEAD) * shardQueues(env).length;
    this.#sql.exec(
      "CREATE TABLE IF NOT EXISTS meta (id INTEGER PRIMARY KEY CHECK (id = 0), value TEXT NOT NULL)",
    );
    this.#tasks = new TaskTable(this.#sql);
    this.#early = new EarlyMerges(this.#sql);
  }

  async create(document: JobDocument, options: { again: boolean; lost?: boolean }) {
    const before = this.#record();
    if (before && !canReplace(before, options)) return { created: false, status: this.#status(before) };
    const now = Date.now();
    this.#tasks.clear();
    this.#early.clear();
    const record = createJobRecord(document, now, this.#stallSeconds);
    this.#save(record);
    await this.ctx.storage.setAlarm(now + this.#stallSeconds * 1000);
    return { created: true, status: this.#status(record) };
  }

  async status() {
    const record = this.#record();
    return record && this.#status(record);
  }

  async document() {
    return this.#record()?.document;
  }

  async register(kind: TaskKind, ids: readonly number[], total: number): Promise<void> {
    const record = this.#active();
    if (!record) return;
    this.#tasks.add(kind, ids);
    this.#touch({ ...record, expected: { ...record.expected, [kind]: total } });
  }

  async registerMerges(merges: readonly MergeNeeds[], total: number): Promise<void> {
    const record = this.#active();
    if (!record) return;
    this.#early.add(merges);
    const ids = merges.map(({ id }) => id);
    await this.register("merge", ids, total);
  }

  async doneIds(kind: TaskKind) {
    return this.#tasks.doneIds(kind);
  }

  async dispatch(kind: TaskKind): Promise<number> {
    const record = this.#active();
    if (!record) return 0;
    const { tasks } = this.#tasks.finished(kind);
    const open = (record.expected[kind] ?? 0) - tasks;
    const next = stateAfter(record, kind);
    if (open === 0 && next !== undefined && next !== "done") {
      // All merges were done while shards were computed.
      this.#touch({ ...record, state: next });
      return 0;
    }
    this.#touch({ ...record, dispatched: { kind, lastId: -1, tasks } });
    await this.#dispatchAhead(kind);
    return open;
  }

  async claim(kind: TaskKind, id: number) {
    const record = this.#active();
    if (!record || !this.#tasks.isOpen(kind, id)) return "skip";
    if (kind === "merge" && record.state === "mapping" && this.#mustWait(id)) return "skip";
    return record.stalled && (await this.#failStopped(kind, id)) ? "skip" : "run";
  }

  /** Whether a merge lacks a shard, for instance one whose records were damaged. It is dispatched when that is done. */
  #mustWait(merge: number): boolean {
    const lacks = this.#early.shardsOf(merge).some((shard) => this.#tasks.isOpen("shard", shard));
    if (lacks) this.#early.markSent([merge], false);
    return lacks;
  }

  /** After a stall, counts attempts that end without a report. @returns whether there were too many, so the job failed */
  async #failStopped(kind: TaskKind, id: number): Promise<boolean> {
    // The attempt before the stall was not counted, so this one is one too many when the limit is reached.
    const attempts = this.#tasks.countAttempt(kind, id, this.#stallSeconds * 1000);
    if (attempts < MAX_STOPPED_WORKERS) return false;
    await this.fail(
      "task_stopped",
      `${kind} ${id} stopped its worker ${MAX_STOPPED_WORKERS} times without an error: the scan may be damaged or need more memory or time than a worker has; try it on one machine with tilewright segment`,
    );
    return true;
  }

  async done(kind: TaskKind, id: number, report: TaskReport): Promise<void> {
    const active = this.#active();
    if (!active || !this.#tasks.markDone(kind, id, report)) return;
    const record = this.#touch({ ...active, runtime: active.runtime ?? report.runtime });
    if (this.#tasks.finished(kind).tasks === record.expected[kind]) return this.#advance(record, kind);
    try {
      await this.#dispatchAhead(kind);
      if (kind === "shard") await this.#dispatchReadyMerges(record.document.id, id);
    } catch (error) {
      // The task is done. The next one, or the alarm, dispatches what the queue did not take.
      console.warn(`job ${record.document.id}: cannot dispatch more tasks (${(error as Error).message})`);
    }
  }

  /** Dispatches the merges that waited for this shard only. */
  async #dispatchReadyMerges(job: string, shard: number): Promise<void> {
    const ready = this.#early
      .waitingFor(shard)
      .filter(({ shards }) => shards.every((needed) => !this.#tasks.isOpen("shard", needed)))
      .map(({ id }) => id);
    if (ready.length === 0) return;
    // Before the await, so that the phase of merges does not dispatch them again; a lost message ends in a stall.
    this.#early.markSent(ready);
    try {
      await sendTasks(this.env, job, "merge", ready);
    } catch (error) {
      this.#early.markSent(ready, false);
      throw error;
    }
  }

  /** Dispatches tasks of a phase in the order of their ids, up to the number a job may have in flight. */
  async #dispatchAhead(kind: TaskKind): Promise<void> {
    // Other calls can run while we await the queue.
    if (this.#dispatching) return;
    this.#dispatching = true;
    try {
      for (let record = this.#active(); record?.dispatched?.kind === kind; record = this.#active()) {
        const { lastId, tasks } = record.dispatched;
        const limits = { tasksAhead: this.#tasksAhead, refillShare: REFILL_SHARE };
        const room = dispatchRoom(record, this.#tasks.finished(kind), limits);
        if (room === 0) return;
        const ids = this.#tasks.openIds(kind, lastId, room);
        if (ids.length === 0) return;
        const unsent = kind === "merge" ? ids.filter((id) => !this.#early.isSent(id)) : ids;
        await sendTasks(this.env, record.document.id, kind, unsent);
        const now = this.#active();
        // Unless the phase was started again meanwhile.
        if (
          now?.createdAt === record.createdAt &&
          now.dispatched?.kind === kind &&
          now.dispatched.lastId === lastId
        ) {
          this.#save({ ...now, dispatched: { kind, lastId: ids.at(-1)!, tasks: tasks + ids.length } });
        }
      }
    } finally {
      this.#dispatching = false;
    }
  }

  async requeueShard(shard: number): Promise<void> {
    const record = this.#active();
    if (!record) return;
    if (this.#tasks.reopen("shard", shard)) this.#touch(record);
    await sendTasks(this.env, record.document.id, "shard", [shard]);
  }

  async heartbeat(): Promise<void> {
    const record = this.#active();
    if (record) this.#touch(record);
  }

  async recordFailedAttempt(kind: TaskKind, id: number, message: string): Promise<void> {
    this.#tasks.recordError(kind, id, message);
  }

  async totals(kind: TaskKind): Promise<TaskTotals> {
    const record = this.#record();
    let done = 0;
    const sum: TaskReport = { windows: 0, bytesRead: 0, runtime: record?.runtime };
    for (const report of this.#tasks.reports(kind)) {
      done++;
      sum.windows! += report.windows ?? 0;
      sum.bytesRead! += report.bytesRead ?? 0;
      sum.modelMilliseconds = (sum.modelMilliseconds ?? 0) + (report.modelMilliseconds ?? 0);
      if (report.merge) sum.merge = sum.merge ? addStatistics(sum.merge, report.merge) : report.merge;
    }
    return { total: record?.expected[kind] ?? 0, done, report: sum };
  }

  async setWindows(total: number): Promise<void> {
    const record = this.#active();
    if (record) this.#touch({ ...record, windows: total });
  }

  async setOutputs(outputs: NonNullable<JobStatus["outputs"]>): Promise<void> {
    const record = this.#active();
    if (record) this.#touch({ ...record, outputs });
  }

  async fail(code: string, message: string): Promise<void> {
    const record = this.#active();
    if (record) await this.#end(record, "failed", { code, message });
  }

  async deadLetter(kind: TaskKind, id: number): Promise<void> {
    if (!this.#tasks.isOpen(kind, id)) return;
    const error = this.#tasks.lastError(kind, id) ?? "no reason is known";
    await this.fail("task_failed", `${kind} ${id} failed on every attempt: ${error}`);
  }

  async cancel(reason?: { code: string; message: string }): Promise<JobState | undefined> {
    const record = this.#active();
    if (record) await this.#end(record, "cancelled", reason);
    return this.#record()?.state;
  }

  async delete(): Promise<boolean> {
    const record = this.#record();
    // Otherwise its Workflow would wait for the end forever.
    if (record && isFinal(record.state)) await this.#notifyEnd(record);
    // Read again: the job may have been started over while its objects were removed or its Workflow was notified. Some of
    // what it had made by then may be gone, so it must not end as done.
    const active = this.#active();
    if (active) {
      const message = "the job was removed while it was started again: start it once more";
      await this.#end(active, "failed", { code: "work_lost", message });
      return false;
    }
    this.#tasks.clear();
    this.#early.clear();
    this.#sql.exec("DELETE FROM meta");
    this.#cached = undefined;
    await this.ctx.storage.deleteAlarm();
    return true;
  }

  override async alarm(): Promise<void> {
    const record = this.#record();
    if (!record) return;
    if (isFinal(record.state)) return this.#notifyEnd(record);
    const now = Date.now();
    const waitMs = millisecondsUntilStall(record, now);
    if (waitMs > 0) return this.ctx.storage.setAlarm(now + waitMs);
    const stalled = this.#save(markStalled(record, now));
    await this.ctx.storage.setAlarm(now + stalled.stallTimeoutSeconds * 1000);
    await this.#recover(stalled);
  }

  /** There was no progress for too long: a message, an event or the Workflow's own step may be lost. */
  async #recover(record: JobRecord): Promise<void> {
    const { kind } = currentPhase(record);
    const open = this.#tasks.openIds(kind, -1, this.#tasksAhead);
    if (open.length > 0) return sendTasks(this.env, record.document.id, kind, open);
    await this.#restartWorkflow(record.document.id);
  }

  async #restartWorkflow(id: string): Promise<void> {
    const workflows = this.env.JOBS!;
    try {
      await (await workflows.get(id)).restart();
    } catch {
      // It does not exist: the request that created this ledger was cut off before it created the Workflow.
      await workflows.create({ id });
    }
  }

  async #advance(record: JobRecord, kind: TaskKind): Promise<void> {
    const next = stateAfter(record, kind);
    if (next === undefined) return;
    if (next === "done") return this.#end(record, "done");
    this.#touch({ ...record, state: next });
    await this.#notifyWorkflow(record.document.id, kind, next);
  }

  async #end(
    record: JobRecord,
    state: "done" | "failed" | "cancelled",
    error?: { code: string; message: string },
  ): Promise<void> {
    const { kind } = currentPhase(record);
    // Stored before the notification: this object may be cut off in between.
    const ended = this.#touch(endJob(record, state, error));
    await this.ctx.storage.setAlarm(Date.now() + this.#stallSeconds * 1000);
    if (await this.#notifyWorkflow(record.document.id, kind, state)) this.#markNotified(ended);
  }

  /** A Workflow that restarts finds that the job has ended, and does the rest. */
  async #notifyEnd(record: JobRecord): Promise<void> {
    if (!record.notificationPending) return;
    await this.ctx.storage.setAlarm(Date.now() + this.#stallSeconds * 1000);
    await this.#restartWorkflow(record.document.id);
    this.#markNotified(record);
  }

  #markNotified({ createdAt }: JobRecord): void {
    // Read again: the job may have been started over meanwhile.
    const record = this.#record();
    if (record?.createdAt === createdAt) this.#save({ ...record, notificationPending: false });
  }

  /** Losing this event is safe: the alarm restarts the Workflow, which asks what is done before it waits. */
  async #notifyWorkflow(id: string, kind: TaskKind, state: JobState): Promise<boolean> {
    try {
      await (await this.env.JOBS!.get(id)).sendEvent({ type: `${kind}-done`, payload: { state } });
      return true;
    } catch (error) {
      console.warn(`job ${id}: cannot notify its Workflow of ${state} (${(error as Error).message})`);
      return false;
    }
  }

  #active(): JobRecord | undefined {
    const record = this.#record();
    return isActive(record) ? record : undefined;
  }

  #record(): JobRecord | undefined {
    if (this.#cached) return this.#cached;
    const row = this.#sql.exec("SELECT value FROM meta").toArray()[0];
    this.#cached = row && parseJobRecord(row.value as string);
    return this.#cached;
  }

  #touch(record: JobRecord): JobRecord {
    return this.#save(touch(record, Date.now(), this.#stallSeconds));
  }

  #save(record: JobRecord): JobRecord {
    this.#sql.exec("INSERT OR REPLACE INTO meta (id, value) VALUES (0, ?)", JSON.stringify(record));
    this.#cached = record;
    return record;
  }

  #status(record: JobRecord): JobStatus {
    return toJobStatus(record, (kind) => this.#tasks.finished(kind), this.env);
  }
}
