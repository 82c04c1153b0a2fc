import type { JobDocument } from "../../src/contracts/job-plan-message.ts";
import { jobRequestSchema } from "../../src/contracts/job-request.ts";
import { CohortRows, type StoredRow } from "../../src/edge/jobs/cohorts/cohort-rows.ts";
import type { Bindings } from "../../src/edge/jobs/context/bindings.ts";
import { getLedger, type TaskKind } from "../../src/edge/shared/ledger-port.ts";
import type { ShardMessage, TaskMessage } from "../../src/edge/shared/queue-messages.ts";
import { LedgerHost } from "./ledgers.ts";
import type { LoadedWorkers } from "./load-workers.ts";
import { type ModelledJob, ModelledTasks } from "./modelled-tasks.ts";
import type { Durations, Faults, Platform } from "./platform.ts";
import { type Delivery, ModelQueue } from "./queue.ts";
import { Random } from "./random.ts";
import type { Slide } from "./slides.ts";
import { SqlStorage } from "./sql-storage.ts";
import { Timeline, type TimelinePoint } from "./timeline.ts";
import { VirtualTime } from "./virtual-time.ts";
import { WorkflowHost } from "./workflows.ts";

export interface Scenario {
  seed: number;
  /** In the order in which they are begun. */
  slides: readonly Slide[];
  /** Jobs under way at a time. */
  concurrency: number;
  /** Between the beginnings of two jobs, at least. */
  betweenMs?: number;
  platform: Platform;
  durations: Durations;
  faults: Faults;
  /** Bindings of the job service, beside those that the simulation gives. */
  bindings?: Pick<Bindings, "TASKS_AHEAD" | "STALL_SECONDS" | "RETRY_SECONDS" | "LATE_SECONDS">;
}

export interface Outcome {
  /** From the first job's start to the last one's end. */
  seconds: number;
  jobs: { slide: number; startedAt: number; endedAt: number; error?: string }[];
  windows: number;
  /** That were computed, in vain ones included. */
  windowsComputed: number;
  shards: number;
  tasks: number;
  cpuMs: { model: number; tasks: number };
  queue: { sent: number; deliveries: number; retries: number; operations: number; mostWaiting: number };
  /** The most consumers that any queue of shards, or that of tasks, had at a time. */
  mostConsumers: number;
  ledger: {
    calls: number;
    callsOf: Record<string, number>;
    rows: number;
    mostRowsPerSecond: number;
    bytesPerShard: number;
    cpuMs: number;
  };
  r2: { reads: number; writes: number };
  workflow: { created: number; restarted: number; steps: number };
  /** How much of what there is was used, from the first job to the last, 0 to 1. */
  used: { consumers: number; fullestQueue: number; taskConsumers: number; sending: number; creating: number };
  timeline: TimelinePoint[];
}

interface Job extends ModelledJob {
  id: string;
  row: StoredRow;
  startedAt: number;
  ended: boolean;
}

/**
 * A cohort through the job service in virtual time. Real are the cohort's rows, the ledgers, the Workflow, how tasks are sent, chosen queues
 * and tried again, and all plans; a model are the platform and how long a task takes.
 * @throws where something is lost or done in excess of what the platform allows
 */
export async function simulate(scenario: Scenario, workers: LoadedWorkers): Promise<Outcome> {
  const { platform, durations, faults, slides } = scenario;
  const time = new VirtualTime();
  const random = new Random(scenario.seed);
  const jobs = new Map<string, Job>();
  const outcome: Outcome["jobs"] = [];

  const ledgers = new LedgerHost(time, platform, workers);
  const workflows = new WorkflowHost({
    time,
    platform,
    workers,
    idsOf: (id, kind) => idsOf(jobs.get(id)!.slide, kind),
    ended: (id) => {
      ledgers.close(id);
      jobs.delete(id);
    },
  });
  const queueOf = <T extends { job: string }>(
    consume: (delivery: Delivery<T>) => void,
    taskOf: (body: T) => [TaskKind, number],
  ) =>
    new ModelQueue<T>({
      time,
      random,
      platform,
      faults,
      consume,
      giveUp: (body) => watched(getLedger(env.LEDGERS!, body.job).deadLetter(...taskOf(body))),
    });
  const shardQueues = Array.from({ length: platform.queues }, () =>
    queueOf<ShardMessage>(
      (delivery) => watched(tasks.shard(delivery)),
      ({ shard }) => ["shard", shard],
    ),
  );
  const taskQueue = queueOf<TaskMessage>(
    (delivery) => watched(tasks.other(delivery)),
    ({ kind, id }) => [kind, id],
  );
  const env: Bindings = {
    ...scenario.bindings,
    LEDGERS: ledgers.namespace,
    JOBS: workflows.binding,
    TASKS: taskQueue as never,
    SHARDS: shardQueues[0] as never,
    ...Object.fromEntries(shardQueues.slice(1).map((queue, n) => [`SHARDS_${n + 1}`, queue])),
    // Asked for what is left of a job that has ended.
    RESULTS: {
      list: async ({ prefix }: { prefix: string }) => removed(prefix),
      delete: async () => undefined,
    } as never,
  };
  ledgers.env = env;
  workflows.env = env;

  const tasks = new ModelledTasks({
    time,
    random,
    durations,
    faults,
    jobOf: (id) => jobs.get(id)!,
    getLedger: (id) => getLedger(ledgers.namespace, id),
  });
  const timeline = new Timeline(time, () => ({
    windows: tasks.windowsDone,
    waiting: shardQueues.reduce((n, q) => n + q.waiting, 0),
    rows: ledgers.rows,
    r2: tasks.r2.reads + tasks.r2.writes,
  }));

  const rows = new CohortRows(new SqlStorage() as never);
  for (const n of slides.keys()) rows.add({ id: `slide ${n}`, source: `s3://cohort/${n}.svs` });
  let mayBegin = true;
  let fault: unknown;
  /** At most so many jobs at a time, and the next one when one has ended. */
  function begin(): void {
    while (mayBegin && rows.counts.running < scenario.concurrency) {
      const row = rows.next(Date.now());
      if (!row) return;
      watched(start(rows.begin(row, Date.now())));
      if (!scenario.betweenMs) continue;
      mayBegin = false;
      time.after(scenario.betweenMs, () => {
        mayBegin = true;
        begin();
      });
    }
  }

  /** What goes wrong in the simulation itself ends it. */
  function watched(work: Promise<unknown>): void {
    work.catch((error) => {
      fault ??= error;
    });
  }

  async function start(row: StoredRow): Promise<void> {
    // Rows are numbered from 1.
    const slide = slides[row.n - 1]!;
    const job: Job = {
      id: random.hex(),
      slide,
      row,
      records: new Uint8Array(slide.windowsOf.length),
      startedAt: time.now(),
      ended: false,
    };
    jobs.set(job.id, job);
    rows.started(row, job.id, true);
    await getLedger(env.LEDGERS!, job.id).create(documentOf(job.id), { again: false });
    await env.JOBS!.create({ id: job.id });
  }

  /** The Workflow removes a job's work when the job has ended, however it came to know. */
  function removed(prefix: string): { objects: [] } {
    const job = jobs.get(prefix.split("/")[1]!);
    if (!job || job.ended) return { objects: [] };
    job.ended = true;
    watched(ended(job));
    return { objects: [] };
  }

  async function ended(job: Job): Promise<void> {
    const endedAt = time.now();
    const status = (await getLedger(env.LEDGERS!, job.id).status())!;
    const { slide, records } = job;
    const windows = slide.shards.reduce((n, id) => n + (records[id] ? slide.windowsOf[id]! : 0), 0);
    if (status.state === "done" && (status.windows!.done !== slide.windows || windows !== slide.windows)) {
      throw new Error(`job ${job.id} has ${status.windows!.done} and ${windows} of ${slide.windows} windows`);
    }
    outcome.push({
      slide: job.row.n - 1,
      startedAt: job.startedAt,
      endedAt,
      ...(status.error && { error: status.error.message }),
    });
    if (status.error) rows.fail(job.row, { code: "unexpected", reason: status.error.message }, undefined);
    else rows.done(job.row, undefined);
    begin();
  }

  begin();
  await time.run(() => {
    if (fault) throw fault;
    return outcome.length === slides.length;
  });
  const seconds = time.now() / 1000;
  const endedAll = time.now();
  timeline.stop();
  for (const id of [...jobs.keys()]) ledgers.close(id);
  return summary();

  function summary(): Outcome {
    const queues = [...shardQueues, taskQueue];
    const sum = (of: (queue: (typeof queues)[number]) => number) => queues.reduce((n, q) => n + of(q), 0);
    const capacity = endedAll * platform.consumersPerQueue;
    const shards = slides.reduce((n, slide) => n + slide.shards.length, 0);
    return {
      seconds,
      jobs: outcome,
      windows: slides.reduce((n, slide) => n + slide.windows, 0),
      windowsComputed: tasks.windowsComputed,
      shards,
      tasks: slides.reduce((n, slide) => n + slide.shards.length + slide.merges.length + 2, 0),
      cpuMs: tasks.cpuMs,
      queue: {
        sent: sum((q) => q.sent),
        deliveries: sum((q) => q.deliveries),
        retries: sum((q) => q.retries),
        // Written once, read each time it is handed out, deleted once.
        operations: 2 * sum((q) => q.sent) + sum((q) => q.deliveries),
        mostWaiting: Math.max(...shardQueues.map((q) => q.mostWaiting)),
      },
      mostConsumers: Math.max(...queues.map((q) => q.mostBusy)),
      ledger: {
        calls: ledgers.calls,
        callsOf: ledgers.callsOf,
        rows: ledgers.rows,
        mostRowsPerSecond: ledgers.mostRowsPerSecond,
        bytesPerShard: ledgers.byteLength / shards,
        cpuMs: ledgers.cpuMs,
      },
      r2: tasks.r2,
      workflow: { created: workflows.created, restarted: workflows.restarted, steps: workflows.steps },
      used: {
        consumers: shardQueues.reduce((n, q) => n + q.busyMs, 0) / (capacity * shardQueues.length),
        fullestQueue: Math.max(...shardQueues.map((q) => q.busyMs)) / capacity,
        taskConsumers: taskQueue.busyMs / capacity,
        sending: Math.max(...queues.map((q) => q.sendMs)) / endedAll,
        creating: workflows.createMs / endedAll,
      },
      timeline: timeline.points,
    };
  }
}

function idsOf(slide: Slide, kind: TaskKind): number[] {
  if (kind === "shard") return [...slide.shards];
  if (kind === "merge") return slide.merges.map(({ id }) => id);
  return [0];
}

function documentOf(id: string): JobDocument {
  const uri = `r2://tilewright-scans/cohort/${id}.svs`;
  return {
    id,
    tilewright: "0.1.0",
    createdAt: new Date().toISOString(),
    source: { uri, name: `${id}.svs`, etag: id, byteLength: 1e9 },
    model: { name: "nuclei", version: "0.4.0", variant: "int4-edge", hash: id + id, license: "Apache-2.0" },
    request: jobRequestSchema.parse({ source: uri, model: "nuclei" }),
  };
}
