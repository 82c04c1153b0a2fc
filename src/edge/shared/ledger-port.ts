import type { DurableObjectNamespace } from "@cloudflare/workers-types";
import type { JobDocument } from "../../contracts/job-plan-message.ts";
import type { JobState, JobStatus } from "../../contracts/job-request.ts";
import type { MergeStatistics } from "../../orchestrator/map/merge-block.ts";
import type { TaskLedger } from "../../service/consume-task.ts";

export type TaskKind = "plan" | "shard" | "merge" | "finish";

/** What a finished task reports; summed over the tasks of a kind. */
export interface TaskReport {
  windows?: number;
  bytesRead?: number;
  /** Time in inference, where the platform's clock advances while a Worker computes. */
  modelMilliseconds?: number;
  /** The runtime of the model, such as "onnxruntime 1.23 (edge function)". */
  runtime?: string;
  merge?: MergeStatistics;
}

/** A merge and the shards whose records it reads. */
export interface MergeNeeds {
  id: number;
  shards: readonly number[];
}

export interface TaskTotals {
  total: number;
  done: number;
  report: TaskReport;
}

/** RPC interface of the ledger of one job, a Durable Object. */
export interface Ledger {
  /** Creates the job; `created` is false where it is there already. `again` replaces a job that failed or was cancelled, `lost` one that is done. */
  create(
    job: JobDocument,
    options: { again: boolean; lost?: boolean },
  ): Promise<{ created: boolean; status: JobStatus }>;
  status(): Promise<JobStatus | undefined>;
  document(): Promise<JobDocument | undefined>;
  /** Registers tasks before they are dispatched. May be called with part of the ids; `total` counts all of them. */
  register(kind: TaskKind, ids: readonly number[], total: number): Promise<void>;
  /**
   * Registers merges with the shards that each of them reads. A merge whose shards are done is dispatched while other
   * shards are computed, so that a running job shows what it has segmented.
   */
  registerMerges(merges: readonly MergeNeeds[], total: number): Promise<void>;
  /** Ids of the tasks of a kind that are done, ascending. */
  doneIds(kind: TaskKind): Promise<number[]>;
  /** Dispatches the open tasks: as many as a job may have in flight, and more as they finish. @returns how many are open */
  dispatch(kind: TaskKind): Promise<number>;
  /** "skip": the task is done, or the job has ended. */
  claim(kind: TaskKind, id: number): Promise<"run" | "skip">;
  done(kind: TaskKind, id: number, report: TaskReport): Promise<void>;
  /** Reopens a shard whose records are lost or damaged, and dispatches it again. */
  requeueShard(shard: number): Promise<void>;
  /** A long task is still running. */
  heartbeat(): Promise<void>;
  /** Stores why an attempt failed, in case it was the last one. */
  recordFailedAttempt(kind: TaskKind, id: number, message: string): Promise<void>;
  totals(kind: TaskKind): Promise<TaskTotals>;
  setWindows(total: number): Promise<void>;
  setOutputs(outputs: NonNullable<JobStatus["outputs"]>): Promise<void>;
  fail(code: string, message: string): Promise<void>;
  /** The message of a task reached the dead-letter queue: the job fails. */
  deadLetter(kind: TaskKind, id: number): Promise<void>;
  /** @param reason why, where the cancel does not come from the user */
  cancel(reason?: { code: string; message: string }): Promise<JobState | undefined>;
  /**
   * Deletes the record of a job that has ended and whose objects are removed. A job that was started over meanwhile fails.
   * @returns whether the record is deleted
   */
  delete(): Promise<boolean>;
}

export function getLedger(namespace: DurableObjectNamespace, job: string): Ledger {
  return namespace.get(namespace.idFromName(job)) as unknown as Ledger;
}

/** The part of the ledger that a consumer of a queue needs for one task. */
export function createTaskLedger(ledger: Ledger, kind: TaskKind, id: number): TaskLedger<TaskReport> {
  return {
    claim: () => ledger.claim(kind, id),
    done: (report) => ledger.done(kind, id, report),
    heartbeat: () => ledger.heartbeat(),
    recordFailedAttempt: (message) => ledger.recordFailedAttempt(kind, id, message),
    fail: (code, message) => ledger.fail(code, message),
  };
}

/** Seconds between two heartbeats of a task: several fit into the stall timeout. */
export function heartbeatSeconds({ STALL_SECONDS }: { STALL_SECONDS?: string }): number {
  return (Number(STALL_SECONDS) || 300) / 3;
}

/** Delay before the first retry of a task; each further retry waits that much longer. */
export function retrySeconds({ RETRY_SECONDS }: { RETRY_SECONDS?: string }): number | undefined {
  return RETRY_SECONDS === undefined ? undefined : Number(RETRY_SECONDS);
}
