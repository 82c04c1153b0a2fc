import type { Bindings } from "../../src/edge/jobs/bindings.ts";
import { ledgerOf, type TaskKind, type TaskReport, taskLedger } from "../../src/edge/shared/ledger-port.ts";
import type { ShardMessage, TaskMessage } from "../../src/edge/shared/queue-messages.ts";
import type { JobDocument } from "../../src/orchestrator/job-plan-message.ts";
import { jobRequestSchema } from "../../src/orchestrator/job-request.ts";
import { CPU_MS_PER_TASK } from "../../src/orchestrator/prices.ts";
import { consumeTask } from "../../src/service/consume-task.ts";
import { StorageError } from "../../src/storage/errors.ts";
import { noSeams } from "../../src/tiling/seam-score.ts";
import { LedgerHost } from "./ledgers.ts";
import type { LoadedWorkers } from "./load-workers.ts";
import type { Durations, Faults, Platform } from "./platform.ts";
import { type Delivery, ModelQueue } from "./queue.ts";
import { Random } from "./random.ts";
import type { Slide } from "./slides.ts";
import { Timeline, type TimelinePoint } from "./timeline.ts";
import { VirtualTime } from "./virtual-time.ts";
import { WorkflowHost } from "./workflows.ts";

/** R2 reads of a try of a shard: is it there, and the region's tiles; the plan, where an isolate does not have it. */
const READS_A_SHARD = 9;
/** Reads of planning and of finishing beside the chunks: headers and tiles of the source. */
const READS_A_PLAN = 60;
/** Plans that an isolate keeps, as read-plan.ts has it. */
const PLANS_KEPT = 2;
/** Rows of chunks between two signs of life, as tasks.ts has it. */
const ALIVE_EVERY = 4;
const RUNTIME = "onnxruntime-web 1.30.0 (edge function)";

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

interface Job {
  id: string;
  slide: Slide;
  slideIndex: number;
  /** By id of the shard: whether its records are in the bucket. */
  records: Uint8Array;
  startedAt: number;
  ended: boolean;
}

/**
 * A cohort through the job service in virtual time. Real are the ledgers, the Workflow, how tasks are sent, chosen queues
 * and tried again, and all plans; a model are the platform and how long a task takes.
 * @throws where something is lost or done in excess of what the platform allows
 */
export async function simulate(scenario: Scenario, workers: LoadedWorkers): Promise<Outcome> {
  const { platform, durations, faults, slides } = scenario;
  const time = new VirtualTime();
  const random = new Random(scenario.seed);
  const jobs = new Map<string, Job>();
  const outcome: Outcome["jobs"] = [];
  const cpuMs = { model: 0, tasks: 0 };
  const r2 = { reads: 0, writes: 0 };
  let windowsComputed = 0;
  let windowsDone = 0;

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
      giveUp: (body) => void ledgerOf(env.LEDGERS!, body.job).giveUp(...taskOf(body)),
    });
  const shardQueues = Array.from({ length: platform.queues }, () =>
    queueOf<ShardMessage>(consumeShard, ({ shard }) => ["shard", shard]),
  );
  const taskQueue = queueOf<TaskMessage>(consumeOther, ({ kind, id }) => [kind, id]);
  const env: Bindings = {
    ...scenario.bindings,
    LEDGERS: ledgers.namespace,
    JOBS: workflows.binding,
    TASKS: taskQueue as never,
    SHARDS: shardQueues[0] as never,
    ...Object.fromEntries(shardQueues.slice(1).map((queue, n) => [`SHARDS_${n + 1}`, queue])),
    // Asked for what is left of a job that has ended.
    RESULTS: { list: async ({ prefix }: { prefix: string }) => removed(prefix) } as never,
  };
  ledgers.env = env;
  workflows.env = env;

  const timeline = new Timeline(time, () => ({
    windows: windowsDone,
    waiting: shardQueues.reduce((n, q) => n + q.waiting, 0),
    busy: shardQueues.reduce((n, q) => n + q.busy, 0),
    rows: ledgers.rows,
    r2: r2.reads + r2.writes,
    jobs: underWay,
  }));

  let next = 0;
  let underWay = 0;
  let mayBegin = true;
  let fault: unknown;
  /** At most so many jobs at a time, and the next one when one has ended. */
  function begin(): void {
    while (mayBegin && underWay < scenario.concurrency && next < slides.length) {
      underWay++;
      watched(start(next++));
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

  async function start(index: number): Promise<void> {
    const slide = slides[index]!;
    const job: Job = {
      id: random.hex(),
      slide,
      slideIndex: index,
      records: new Uint8Array(slide.windowsOf.length),
      startedAt: time.now(),
      ended: false,
    };
    jobs.set(job.id, job);
    await ledgerOf(env.LEDGERS!, job.id).create(documentOf(job.id), { again: false });
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
    const status = (await ledgerOf(env.LEDGERS!, job.id).status())!;
    const { slide, records } = job;
    const windows = slide.shards.reduce((n, id) => n + (records[id] ? slide.windowsOf[id]! : 0), 0);
    if (status.state === "done" && (status.windows!.done !== slide.windows || windows !== slide.windows)) {
      throw new Error(`job ${job.id} has ${status.windows!.done} and ${windows} of ${slide.windows} windows`);
    }
    outcome.push({
      slide: job.slideIndex,
      startedAt: job.startedAt,
      endedAt,
      ...(status.error && { error: status.error.message }),
    });
    underWay--;
    begin();
  }

  /** Time of a task; part of it where it fails or its consumer is lost. */
  async function busy(ms: number): Promise<"done" | "failed" | "gone"> {
    const takes = ms * random.lognormal(durations.spread);
    if (random.happens(faults.crashes)) {
      await time.wait(takes * random.uniform());
      return "gone";
    }
    if (random.happens(faults.failures)) {
      await time.wait(takes * random.uniform());
      return "failed";
    }
    await time.wait(takes);
    return "done";
  }

  function consume<T extends { job: string }>(
    delivery: Delivery<T>,
    kind: TaskKind,
    id: number,
    work: () => Promise<TaskReport | "gone">,
  ): void {
    // A consumer that is gone settles nothing: the platform hands the message out again.
    const gone = () => {
      delivery.consumer.cold = true;
      delivery.consumer.jobs.length = 0;
      delivery.retry();
    };
    const ledger = taskLedger(ledgerOf(env.LEDGERS!, delivery.body.job), kind, id);
    const task = consumeTask(
      delivery,
      ledger,
      async () => {
        const report = await work();
        if (report !== "gone") return report;
        gone();
        return new Promise<TaskReport>(() => {});
      },
      { log: () => {} },
    );
    watched(task);
  }

  function consumeShard(delivery: Delivery<ShardMessage>): void {
    const { job: id, shard } = delivery.body;
    consume(delivery, "shard", shard, async () => {
      const job = jobs.get(id)!;
      const windows = job.slide.windowsOf[shard]!;
      readPlan(delivery, id);
      r2.reads++;
      // Written by a try whose report was lost.
      if (job.records[shard]) return { windows };
      r2.reads += READS_A_SHARD;
      let cpu = windows * durations.window;
      let ms = durations.shard + cpu;
      if (random.happens(faults.stragglers)) ms *= faults.stragglerFactor;
      if (delivery.consumer.cold || random.happens(faults.coldStarts)) {
        ms += durations.coldStart;
        cpu += durations.coldStart;
      }
      delivery.consumer.cold = false;
      const how = await busy(ms);
      cpuMs.model += cpu;
      cpuMs.tasks += CPU_MS_PER_TASK;
      windowsComputed += windows;
      if (how === "gone") return "gone";
      if (how === "failed") throw new StorageError("the source does not answer", { retryable: true });
      r2.writes++;
      // One of two that were at it.
      if (!job.records[shard]) windowsDone += windows;
      job.records[shard] = 1;
      return {
        windows,
        bytesRead: 1_500_000 + Math.floor(500_000 * random.uniform()),
        modelMilliseconds: Math.round(windows * durations.window),
        runtime: RUNTIME,
      };
    });
  }

  function readPlan({ consumer }: Delivery<unknown>, job: string): void {
    const { jobs: kept } = consumer;
    if (kept.includes(job)) return;
    r2.reads++;
    kept.push(job);
    if (kept.length > PLANS_KEPT) kept.shift();
  }

  function consumeOther(delivery: Delivery<TaskMessage>): void {
    const { job: id, kind, id: task } = delivery.body;
    const ledger = ledgerOf(env.LEDGERS!, id);
    consume(delivery, kind, task, async () => {
      const { slide } = jobs.get(id)!;
      const merge = kind === "merge" ? slide.merges.find((m) => m.id === task)! : undefined;
      const ms = {
        plan: durations.plan,
        merge: durations.merge + (merge?.windows ?? 0) * durations.mergeWindow,
        finish: durations.finish + slide.megapixels * durations.finishMegapixel,
      }[kind];
      if (kind !== "plan") readPlan(delivery, id);
      if (kind === "finish") {
        for (let row = ALIVE_EVERY; row <= slide.chunkRows; row += ALIVE_EVERY) {
          time.after((ms * row) / (slide.chunkRows + 1), () => void ledger.alive());
        }
      }
      const how = await busy(ms);
      cpuMs.tasks += ms;
      if (how === "gone") return "gone";
      if (how === "failed") throw new StorageError("the bucket does not answer", { retryable: true });
      if (kind === "plan") {
        r2.reads += READS_A_PLAN;
        r2.writes++;
        await ledger.document();
        await ledger.setWindows(slide.windows);
        return { bytesRead: 20_000_000 };
      }
      if (merge) return mergeOf(merge, jobs.get(id)!, ledger);
      r2.reads += slide.chunks + READS_A_PLAN;
      r2.writes += outputsOf(slide);
      if ((await ledger.take("finish", 0)) === "skip") return {};
      await Promise.all((["plan", "shard", "merge"] as const).map((stage) => ledger.totals(stage)));
      await ledger.setOutputs([]);
      return { bytesRead: 50_000_000 };
    });
  }

  async function mergeOf(
    merge: Slide["merges"][number],
    { records, slide }: Job,
    ledger: ReturnType<typeof ledgerOf>,
  ): Promise<TaskReport> {
    const first = merge.shards[0]!;
    if (records[first] && random.happens(faults.lostRecords)) {
      records[first] = 0;
      windowsDone -= slide.windowsOf[first]!;
    }
    for (const shard of merge.shards) {
      r2.reads++;
      if (records[shard]) continue;
      await ledger.redo(shard);
      throw new StorageError(`the records of shard ${shard} are gone`, { retryable: true });
    }
    r2.writes += merge.chunks;
    return { merge: { windows: merge.windows, seams: noSeams(), compared: 1e6, disagreed: 1e3 } };
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
      windowsComputed,
      shards,
      tasks: slides.reduce((n, slide) => n + slide.shards.length + slide.merges.length + 2, 0),
      cpuMs,
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
      r2,
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

/** Chunks of the pyramid above the first level, a third of that, and metadata and outputs beside it. */
export function outputsOf(slide: Slide): number {
  return Math.round(slide.chunks / 3) + 16;
}

function documentOf(id: string): JobDocument {
  const uri = `r2://tilewright-scans/cohort/${id}.svs`;
  return {
    id,
    tilewright: "0.1.0",
    createdAt: new Date().toISOString(),
    source: { uri, name: `${id}.svs`, etag: id, byteLength: 1e9 },
    model: { name: "nuclei", version: "0.3.0", variant: "int4-edge", hash: id + id, license: "Apache-2.0" },
    request: jobRequestSchema.parse({ source: uri, model: "nuclei" }),
  };
}
