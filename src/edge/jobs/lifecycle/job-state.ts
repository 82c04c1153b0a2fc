import type { JobDocument } from "../../../contracts/job-plan-message.ts";
import { isFinal, type JobState, type JobStatus } from "../../../contracts/job-request.ts";
import { boxAround, type RegionPolygons } from "../../../orchestrator/region-polygons.ts";
import type { TaskKind } from "../../shared/ledger-port.ts";
import { costSoFar, forecastJob } from "./estimate-cost.ts";
import { JOB_PHASES } from "./job-phase.ts";

const MAX_STALL_TIMEOUT_SECONDS = 3600;
const MAX_MESSAGE_LENGTH = 1000;

/** What a ledger stores of its job, apart from the rows of tasks. */
export interface JobRecord {
  document: JobDocument;
  state: JobState;
  createdAt: number;
  updatedAt: number;
  /** When a task last made progress. */
  lastProgressAt: number;
  /** How long to wait for the next progress; doubled each time there is none. */
  stallTimeoutSeconds: number;
  /** The job stalled, and its tasks were dispatched again. */
  stalled?: boolean;
  windows?: number;
  /** Number of tasks of each kind. */
  expected: Partial<Record<TaskKind, number>>;
  /** The runtime that the first task reported. Stored once per job; task rows dominate the ledger's size. */
  runtime?: string;
  /** How far the tasks of this phase are dispatched, in the order of their ids. */
  dispatched?: { kind: TaskKind; lastId: number; tasks: number };
  error?: { code: string; message: string };
  outputs?: NonNullable<JobStatus["outputs"]>;
  /** The job has ended, and its Workflow does not know yet: no cleanup and no callback so far. */
  notificationPending?: boolean;
}

/** Tasks done and the windows in them. */
export interface FinishedTasks {
  tasks: number;
  windows: number;
}

export function createJobRecord(document: JobDocument, now: number, stallSeconds: number): JobRecord {
  return {
    document,
    state: "planning",
    createdAt: now,
    updatedAt: now,
    lastProgressAt: now,
    stallTimeoutSeconds: stallSeconds,
    expected: {},
  };
}

/**
 * Whether a new run may replace the job that is there.
 * @param again replace a job that failed or was cancelled
 * @param lost replace a job that is done, because its results were removed
 */
export function canReplace(before: JobRecord, { again, lost }: { again: boolean; lost?: boolean }): boolean {
  if (before.state === "failed" || before.state === "cancelled") return again;
  return before.state === "done" && lost === true;
}

export function isActive(record: JobRecord | undefined): record is JobRecord {
  return record !== undefined && !isFinal(record.state);
}

/** Notes progress, which also resets the stall timeout. */
export function touch(record: JobRecord, now: number, stallSeconds: number): JobRecord {
  return { ...record, updatedAt: now, lastProgressAt: now, stallTimeoutSeconds: stallSeconds };
}

/** The phase that the job is in. @throws where the job has ended */
export function currentPhase({ state }: JobRecord) {
  const phase = JOB_PHASES.find((p) => p.state === state);
  if (!phase) throw new Error(`a job that is ${state} is in no phase`);
  return phase;
}

/** The state after all tasks of a kind are done; undefined where the job is not in that phase. */
export function stateAfter(record: JobRecord, kind: TaskKind): JobState | undefined {
  const index = JOB_PHASES.findIndex((phase) => phase.kind === kind);
  if (JOB_PHASES[index]!.state !== record.state) return undefined;
  return JOB_PHASES[index + 1]?.state ?? "done";
}

/** The job has ended; its Workflow is to be notified. */
export function endJob(
  record: JobRecord,
  state: "done" | "failed" | "cancelled",
  error = record.error,
): JobRecord {
  return {
    ...record,
    state,
    error: error && { code: error.code, message: error.message.slice(0, MAX_MESSAGE_LENGTH) },
    notificationPending: true,
  };
}

/** Milliseconds until the job counts as stalled; 0 or less: it does. */
export function millisecondsUntilStall(record: JobRecord, now: number): number {
  return record.lastProgressAt + record.stallTimeoutSeconds * 1000 - now;
}

/** Notes that the job stalled: the next timeout is twice as long. */
export function markStalled(record: JobRecord, now: number): JobRecord {
  return {
    ...record,
    stallTimeoutSeconds: Math.min(record.stallTimeoutSeconds * 2, MAX_STALL_TIMEOUT_SECONDS),
    lastProgressAt: now,
    stalled: true,
  };
}

/** How many tasks to dispatch now: none until a share of those that may be ahead has room. */
export function dispatchRoom(
  record: JobRecord,
  finished: FinishedTasks,
  { tasksAhead, refillShare }: { tasksAhead: number; refillShare: number },
): number {
  if (!record.dispatched) return 0;
  const room = tasksAhead - (record.dispatched.tasks - finished.tasks);
  return room < tasksAhead * refillShare ? 0 : room;
}

/** The status that the API answers. */
export function toJobStatus(
  record: JobRecord,
  finished: (kind: TaskKind) => FinishedTasks,
  { CPU_MS_PER_WINDOW }: { CPU_MS_PER_WINDOW?: string } = {},
): JobStatus {
  const { document, expected } = record;
  const { uri, etag, byteLength } = document.source;
  const { name, variant } = document.model;
  const { roi, polygons } = document.request.settings;
  const progress = (kind: TaskKind) => {
    const total = expected[kind];
    return total === undefined ? undefined : { total, done: finished(kind).tasks };
  };
  const windows =
    record.windows === undefined ? undefined : { total: record.windows, done: finished("shard").windows };
  const shards = progress("shard");
  const merges = progress("merge");
  const costs = { CPU_MS_PER_WINDOW };
  return {
    id: document.id,
    state: record.state,
    source: { uri, etag, byteLength },
    model: { name, variant },
    ...(roi && { roi }),
    ...(polygons && { roi: statedBox(polygons), polygons: polygons.length }),
    createdAt: new Date(record.createdAt).toISOString(),
    updatedAt: new Date(record.updatedAt).toISOString(),
    windows,
    shards,
    merges,
    estimatedCost: windows && {
      currency: "USD",
      amount: costSoFar(costs, { windows, shards, merges }),
      ...(shards && !isFinal(record.state) && { total: forecastJob(costs, windows.total, shards.total) }),
    },
    error: record.error,
    outputs: record.state === "done" ? record.outputs : undefined,
  };
}

/** The box around polygons within the counts of the status: what reaches outside the image is refused when the job is planned. */
function statedBox(polygons: RegionPolygons): NonNullable<JobStatus["roi"]> {
  const [x, y, width, height] = boxAround(polygons);
  return [Math.max(0, x), Math.max(0, y), width, height];
}

/** Names of the fields in ledgers written by version 0.1.0. */
interface OldFields {
  movedAt?: number;
  stallSeconds?: number;
  woken?: boolean;
  untold?: boolean;
  sent?: { kind: TaskKind; last: number; tasks: number };
}

/** Reads a stored record, also one that version 0.1.0 wrote. */
export function parseJobRecord(text: string): JobRecord {
  const { movedAt, stallSeconds, woken, untold, sent, ...record } = JSON.parse(text) as JobRecord & OldFields;
  if (movedAt === undefined) return record;
  return {
    ...record,
    lastProgressAt: movedAt,
    stallTimeoutSeconds: stallSeconds!,
    stalled: woken,
    notificationPending: untold,
    dispatched: sent && { kind: sent.kind, lastId: sent.last, tasks: sent.tasks },
  };
}
