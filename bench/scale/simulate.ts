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
  /** In the order in which they are started. */
  slides: readonly Slide[];
  /** Concurrent jobs. */
  concurrency: number;
  /** Minimum time between the starts of two jobs. */
  betweenMs?: number;
  platform: Platform;
  durations: Durations;
  faults: Faults;
  /** Additional bindings of the job service. */
  bindings?: Pick<Bindings, "TASKS_AHEAD" | "STALL_SECONDS" | "RETRY_SECONDS" | "LATE_SECONDS">;
}

export interface Outcome {
  /** From the start of the first job to the end of the last one. */
  seconds: number;
  jobs: { slide: number; startedAt: number; endedAt: number; error?: string }[];
  windows: number;
  /** Computed windows, repeated ones included. */
  windowsComputed: number;
  shards: number;
  tasks: number;
  cpuMs: { model: number; tasks: number };
  queue: { sent: number; deliveries: number; retries: number; operations: number; mostWaiting: number };
  /** Maximum of concurrent consumers of any queue. */
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
  /** Utilization from the first job to the last, 0 to 1. */
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
 * Simulates a cohort at the job service in virtual time. Rows of the cohort, ledgers, the Workflow, sending and retrying of
 * tasks and plans are real code; the platform and the durations of tasks are models.
 * @throws if work is lost or a limit of the platform is exceeded
 */
export async function simulate(scenario: Scenario, workers: LoadedWorkers): Promise<Outcome> {
  return new Simulation(scenario, workers).run();
}

class Simulation {
  readonly #scenario: Scenario;
  readonly #time = new VirtualTime();
  readonly #random: Random;
  readonly #jobs = new Map<string, Job>();
  readonly #outcome: Outcome["jobs"] = [];
  readonly #rows = new CohortRows(new SqlStorage() as never);
  readonly #ledgers: LedgerHost;
  readonly #workflows: WorkflowHost;
  readonly #shardQueues: ModelQueue<ShardMessage>[];
  readonly #taskQueue: ModelQueue<TaskMessage>;
  readonly #tasks: ModelledTasks;
  readonly #timeline: Timeline;
  readonly #env: Bindings;
  #mayBegin = true;
  #fault: unknown;

  constructor(scenario: Scenario, workers: LoadedWorkers) {
    this.#scenario = scenario;
    const { platform, durations, faults } = scenario;
    const time = this.#time;
    const random = new Random(scenario.seed);
    this.#random = random;
    this.#ledgers = new LedgerHost(time, platform, workers);
    this.#workflows = new WorkflowHost({
      time,
      platform,
      workers,
      idsOf: (id, kind) => idsOf(this.#jobs.get(id)!.slide, kind),
      mergesOf: (id) => this.#jobs.get(id)!.slide.merges.map(({ id, shards }) => ({ id, shards })),
      ended: (id) => {
        this.#ledgers.close(id);
        this.#jobs.delete(id);
      },
    });
    this.#shardQueues = Array.from({ length: platform.queues }, () =>
      this.#createQueue<ShardMessage>(
        (delivery) => this.#watch(this.#tasks.shard(delivery)),
        ({ shard }) => ["shard", shard],
      ),
    );
    this.#taskQueue = this.#createQueue<TaskMessage>(
      (delivery) => this.#watch(this.#tasks.other(delivery)),
      ({ kind, id }) => [kind, id],
    );
    this.#env = this.#createBindings();
    this.#ledgers.env = this.#env;
    this.#workflows.env = this.#env;
    this.#tasks = new ModelledTasks({
      time,
      random,
      durations,
      faults,
      jobOf: (id) => this.#jobs.get(id)!,
      getLedger: (id) => getLedger(this.#ledgers.namespace, id),
    });
    this.#timeline = new Timeline(time, () => ({
      windows: this.#tasks.windowsDone,
      waiting: this.#shardQueues.reduce((n, q) => n + q.waiting, 0),
      rows: this.#ledgers.rows,
      r2: this.#tasks.r2.reads + this.#tasks.r2.writes,
    }));
  }

  async run(): Promise<Outcome> {
    const { slides } = this.#scenario;
    for (const n of slides.keys()) this.#rows.add({ id: `slide ${n}`, source: `s3://cohort/${n}.svs` });
    this.#begin();
    await this.#time.run(() => {
      if (this.#fault) throw this.#fault;
      return this.#outcome.length === slides.length;
    });
    const endedAtMs = this.#time.now();
    this.#timeline.stop();
    for (const id of [...this.#jobs.keys()]) this.#ledgers.close(id);
    return this.#summarize(endedAtMs);
  }

  #createQueue<T extends { job: string }>(
    consume: (delivery: Delivery<T>) => void,
    taskOf: (body: T) => [TaskKind, number],
  ): ModelQueue<T> {
    const { platform, faults } = this.#scenario;
    return new ModelQueue<T>({
      time: this.#time,
      random: this.#random,
      platform,
      faults,
      consume,
      giveUp: (body) => this.#watch(getLedger(this.#env.LEDGERS!, body.job).deadLetter(...taskOf(body))),
    });
  }

  #createBindings(): Bindings {
    return {
      ...this.#scenario.bindings,
      LEDGERS: this.#ledgers.namespace,
      JOBS: this.#workflows.binding,
      TASKS: this.#taskQueue as never,
      SHARDS: this.#shardQueues[0] as never,
      ...Object.fromEntries(this.#shardQueues.slice(1).map((queue, n) => [`SHARDS_${n + 1}`, queue])),
      // The Workflow lists the remaining objects of an ended job.
      RESULTS: {
        list: async ({ prefix }: { prefix: string }) => this.#removed(prefix),
        delete: async () => undefined,
      } as never,
    };
  }

  /** Starts jobs up to the cohort's concurrency; each job that ends makes room for the next. */
  #begin(): void {
    const { concurrency, betweenMs } = this.#scenario;
    while (this.#mayBegin && this.#rows.counts.running < concurrency) {
      const row = this.#rows.next(Date.now());
      if (!row) return;
      this.#watch(this.#start(this.#rows.begin(row, Date.now())));
      if (!betweenMs) continue;
      this.#mayBegin = false;
      this.#time.after(betweenMs, () => {
        this.#mayBegin = true;
        this.#begin();
      });
    }
  }

  /** A fault of the simulation itself ends it. */
  #watch(work: Promise<unknown>): void {
    work.catch((error) => {
      this.#fault ??= error;
    });
  }

  async #start(row: StoredRow): Promise<void> {
    // Rows are numbered from 1.
    const slide = this.#scenario.slides[row.n - 1]!;
    const job: Job = {
      id: this.#random.hex(),
      slide,
      row,
      records: new Uint8Array(slide.windowsOf.length),
      startedAt: this.#time.now(),
      ended: false,
    };
    this.#jobs.set(job.id, job);
    this.#rows.started(row, job.id, true);
    await getLedger(this.#env.LEDGERS!, job.id).create(documentOf(job.id), { again: false });
    await this.#env.JOBS!.create({ id: job.id });
  }

  /** The Workflow removes a job's work when the job has ended, in whatever way it learned of that. */
  #removed(prefix: string): { objects: [] } {
    const job = this.#jobs.get(prefix.split("/")[1]!);
    if (!job || job.ended) return { objects: [] };
    job.ended = true;
    this.#watch(this.#end(job));
    return { objects: [] };
  }

  async #end(job: Job): Promise<void> {
    const endedAt = this.#time.now();
    const status = (await getLedger(this.#env.LEDGERS!, job.id).status())!;
    const { slide, records } = job;
    const windows = slide.shards.reduce((n, id) => n + (records[id] ? slide.windowsOf[id]! : 0), 0);
    if (status.state === "done" && (status.windows!.done !== slide.windows || windows !== slide.windows)) {
      throw new Error(`job ${job.id} has ${status.windows!.done} and ${windows} of ${slide.windows} windows`);
    }
    this.#outcome.push({
      slide: job.row.n - 1,
      startedAt: job.startedAt,
      endedAt,
      ...(status.error && { error: status.error.message }),
    });
    if (status.error)
      this.#rows.fail(job.row, { code: "unexpected", reason: status.error.message }, undefined);
    else this.#rows.done(job.row, undefined);
    this.#begin();
  }

  #summarize(endedAtMs: number): Outcome {
    const { platform, slides } = this.#scenario;
    const [shardQueues, taskQueue, tasks] = [this.#shardQueues, this.#taskQueue, this.#tasks];
    const [ledgers, workflows] = [this.#ledgers, this.#workflows];
    const queues = [...shardQueues, taskQueue];
    const sum = (of: (queue: (typeof queues)[number]) => number) => queues.reduce((n, q) => n + of(q), 0);
    const capacity = endedAtMs * platform.consumersPerQueue;
    const shards = slides.reduce((n, slide) => n + slide.shards.length, 0);
    return {
      seconds: endedAtMs / 1000,
      jobs: this.#outcome,
      windows: slides.reduce((n, slide) => n + slide.windows, 0),
      windowsComputed: tasks.windowsComputed,
      shards,
      tasks: slides.reduce((n, slide) => n + slide.shards.length + slide.merges.length + 2, 0),
      cpuMs: tasks.cpuMs,
      queue: {
        sent: sum((q) => q.sent),
        deliveries: sum((q) => q.deliveries),
        retries: sum((q) => q.retries),
        // Written once, read at each delivery, deleted once.
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
        sending: Math.max(...queues.map((q) => q.sendMs)) / endedAtMs,
        creating: workflows.createMs / endedAtMs,
      },
      timeline: this.#timeline.points,
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
