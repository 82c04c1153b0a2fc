import type { DurableObjectNamespace } from "@cloudflare/workers-types";
import type { JobDocument } from "../../contracts/job-plan-message.ts";
import type { JobState, JobStatus } from "../../contracts/job-request.ts";
import type { MergeStatistics } from "../../orchestrator/map/merge-block.ts";
import type { TaskLedger } from "../../service/consume-task.ts";

export type TaskKind = "plan" | "shard" | "merge" | "finish";

/** What a finished task tells the ledger: adds up over the tasks of a kind. */
export interface TaskReport {
  windows?: number;
  bytesRead?: number;
  /** Time inside the model, where the platform's clock runs while a Worker computes. */
  modelMilliseconds?: number;
  /** What ran the model. */
  runtime?: string;
  merge?: MergeStatistics;
}

export interface TaskTotals {
  total: number;
  done: number;
  report: TaskReport;
}

/** The ledger of one job as other Workers see it: a Durable Object, so each call is one step on one thread. */
export interface Ledger {
  /** Opens the ledger; `created` is false where the job is there already. `again` starts over one that failed or was cancelled, `lost` one that is done. */
  create(
    job: JobDocument,
    options: { again: boolean; lost?: boolean },
  ): Promise<{ created: boolean; status: JobStatus }>;
  status(): Promise<JobStatus | undefined>;
  document(): Promise<JobDocument | undefined>;
  /** Notes tasks that are about to be sent. May be told in parts; `total` is that of all parts. */
  expect(kind: TaskKind, ids: readonly number[], total: number): Promise<void>;
  /** Sends the tasks that are not done: as many as a job may have on a queue, and more as they get done. @returns how many are not done */
  send(kind: TaskKind): Promise<number>;
  /** "skip": the task is done, or the job has ended. */
  take(kind: TaskKind, id: number): Promise<"run" | "skip">;
  done(kind: TaskKind, id: number, report: TaskReport): Promise<void>;
  /** A shard whose records turned out to be none: it is to be done once more, and is sent again. */
  redo(shard: number): Promise<void>;
  /** A sign of life of a long task. */
  alive(): Promise<void>;
  /** Keeps why a try failed, for when it was the last. */
  tried(kind: TaskKind, id: number, message: string): Promise<void>;
  totals(kind: TaskKind): Promise<TaskTotals>;
  setWindows(total: number): Promise<void>;
  setOutputs(outputs: NonNullable<JobStatus["outputs"]>): Promise<void>;
  fail(code: string, message: string): Promise<void>;
  /** A task was given up after its last try. */
  giveUp(kind: TaskKind, id: number): Promise<void>;
  /** @param reason why, where it is not whoever asks for the job */
  cancel(reason?: { code: string; message: string }): Promise<JobState | undefined>;
  /**
   * Of a job whose objects were removed, for it had ended, nothing is known any more. One that was started over meanwhile fails.
   * @returns whether nothing is known
   */
  forget(): Promise<boolean>;
}

export function ledgerOf(namespace: DurableObjectNamespace, job: string): Ledger {
  return namespace.get(namespace.idFromName(job)) as unknown as Ledger;
}

/** What consumers of a queue tell the ledger of one task. */
export function taskLedger(ledger: Ledger, kind: TaskKind, id: number): TaskLedger<TaskReport> {
  return {
    take: () => ledger.take(kind, id),
    done: (report) => ledger.done(kind, id, report),
    alive: () => ledger.alive(),
    tried: (message) => ledger.tried(kind, id, message),
    fail: (code, message) => ledger.fail(code, message),
  };
}

/** Between two signs of life of a task: some come before its job counts as standing still. */
export function aliveSeconds({ STALL_SECONDS }: { STALL_SECONDS?: string }): number {
  return (Number(STALL_SECONDS) || 300) / 3;
}

/** Before the first retry of a task, and so much longer before each further one. */
export function retrySeconds({ RETRY_SECONDS }: { RETRY_SECONDS?: string }): number | undefined {
  return RETRY_SECONDS === undefined ? undefined : Number(RETRY_SECONDS);
}
