import {
  createTaskLedger,
  type Ledger,
  type TaskKind,
  type TaskReport,
} from "../../src/edge/shared/ledger-port.ts";
import type { ShardMessage, TaskMessage } from "../../src/edge/shared/queue-messages.ts";
import { CPU_MS_PER_TASK } from "../../src/orchestrator/prices.ts";
import { consumeTask } from "../../src/service/consume-task.ts";
import { StorageError } from "../../src/storage/errors.ts";
import { emptySeamCounts } from "../../src/tiling/merge/seam-score.ts";
import type { Durations, Faults } from "./platform.ts";
import type { Delivery } from "./queue.ts";
import type { Random } from "./random.ts";
import type { Merge, Slide } from "./slides.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** R2 reads of an attempt at a shard: existence, tiles of the region, and the plan unless the isolate has it. */
const READS_A_SHARD = 9;
/** Reads of planning and of finishing besides chunks: headers and tiles of the source. */
const READS_A_PLAN = 60;
/** Objects besides chunks of the label map: metadata of each level, and outputs. */
const OTHER_OUTPUTS = 16;
/** Plans that an isolate keeps, as in read-plan.ts. */
const PLANS_KEPT = 2;
/** Rows of chunks between two heartbeats, as in tasks.ts. */
const ALIVE_EVERY = 4;
const RUNTIME = "onnxruntime-web 1.30.0 (edge function)";

/** A job, as its tasks see it. */
export interface ModelledJob {
  slide: Slide;
  /** By shard: whether its records are in the bucket. */
  records: Uint8Array;
}

/**
 * What consumers of the queues do with a task: the real `consumeTask` and the calls of the ledger that the real tasks make; the work
 * itself is time that passes, records that are there, and what goes wrong.
 */
export class ModelledTasks {
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #durations: Durations;
  readonly #faults: Faults;
  readonly #jobOf: (id: string) => ModelledJob;
  readonly #getLedger: (id: string) => Ledger;
  readonly cpuMs = { model: 0, tasks: 0 };
  readonly r2 = { reads: 0, writes: 0 };
  /** Repeated ones included. */
  windowsComputed = 0;
  /** Windows whose records exist. */
  windowsDone = 0;

  constructor(options: {
    time: VirtualTime;
    random: Random;
    durations: Durations;
    faults: Faults;
    jobOf: (id: string) => ModelledJob;
    getLedger: (id: string) => Ledger;
  }) {
    this.#time = options.time;
    this.#random = options.random;
    this.#durations = options.durations;
    this.#faults = options.faults;
    this.#jobOf = options.jobOf;
    this.#getLedger = options.getLedger;
  }

  shard(delivery: Delivery<ShardMessage>): Promise<void> {
    const { job, shard } = delivery.body;
    return this.#consume(delivery, "shard", shard, () => this.#segment(delivery, this.#jobOf(job), shard));
  }

  other(delivery: Delivery<TaskMessage>): Promise<void> {
    const { job, kind, id } = delivery.body;
    return this.#consume(delivery, kind, id, () => this.#plannedTask(delivery, this.#jobOf(job)));
  }

  #consume<T extends { job: string }>(
    delivery: Delivery<T>,
    kind: TaskKind,
    id: number,
    work: () => Promise<TaskReport | "gone">,
  ): Promise<void> {
    const untilGone = async () => {
      const report = await work();
      if (report !== "gone") return report;
      // A lost consumer settles nothing: the platform delivers the message again.
      delivery.consumer.cold = true;
      delivery.consumer.jobs.length = 0;
      delivery.retry();
      return new Promise<TaskReport>(() => {});
    };
    const ledger = createTaskLedger(this.#getLedger(delivery.body.job), kind, id);
    // Heartbeats follow the real clock, and a lost consumer would send them for ever.
    return consumeTask(delivery, { ...ledger, heartbeat: undefined }, untilGone, { log: () => {} });
  }

  /** Corresponds to shard-consumer.ts of the edge function. */
  async #segment(
    delivery: Delivery<ShardMessage>,
    job: ModelledJob,
    shard: number,
  ): Promise<TaskReport | "gone"> {
    const { consumer, body } = delivery;
    const windows = job.slide.windowsOf[shard]!;
    this.#readPlan(delivery, body.job);
    this.r2.reads++;
    // Written by an attempt whose report was lost.
    if (job.records[shard]) return { windows };
    this.r2.reads += READS_A_SHARD;
    let cpu = windows * this.#durations.window;
    let ms = this.#durations.shard + cpu;
    if (this.#random.happens(this.#faults.stragglers)) ms *= this.#faults.stragglerFactor;
    if (consumer.cold || this.#random.happens(this.#faults.coldStarts)) {
      ms += this.#durations.coldStart;
      cpu += this.#durations.coldStart;
    }
    consumer.cold = false;
    const how = await this.#busy(ms);
    this.cpuMs.model += cpu;
    this.cpuMs.tasks += CPU_MS_PER_TASK;
    this.windowsComputed += windows;
    if (how === "gone") return "gone";
    if (how === "failed") throw new StorageError("the source does not answer", { retryable: true });
    this.r2.writes++;
    // One of two concurrent attempts.
    if (!job.records[shard]) this.windowsDone += windows;
    job.records[shard] = 1;
    return {
      windows,
      bytesRead: 1_500_000 + Math.floor(500_000 * this.#random.uniform()),
      modelMilliseconds: Math.round(windows * this.#durations.window),
      runtime: RUNTIME,
    };
  }

  /** Corresponds to tasks.ts of the job service. */
  async #plannedTask(delivery: Delivery<TaskMessage>, job: ModelledJob): Promise<TaskReport | "gone"> {
    const { job: id, kind, id: task } = delivery.body;
    const { slide } = job;
    const ledger = this.#getLedger(id);
    const merge = kind === "merge" ? slide.merges.find((m) => m.id === task)! : undefined;
    const { plan, merge: block, mergeWindow, finish, finishMegapixel } = this.#durations;
    const ms = {
      plan,
      merge: block + (merge?.windows ?? 0) * mergeWindow,
      finish: finish + slide.megapixels * finishMegapixel,
    }[kind];
    if (kind !== "plan") this.#readPlan(delivery, id);
    if (kind === "finish") this.#signsOfLife(slide, ms, ledger);
    const how = await this.#busy(ms);
    this.cpuMs.tasks += ms;
    if (how === "gone") return "gone";
    if (how === "failed") throw new StorageError("the bucket does not answer", { retryable: true });
    if (merge) return this.#merge(merge, job, ledger);
    this.r2.reads += READS_A_PLAN;
    if (kind === "plan") {
      this.r2.writes++;
      await ledger.document();
      await ledger.setWindows(slide.windows);
      return { bytesRead: 20_000_000 };
    }
    this.r2.reads += slide.chunks;
    // Levels of a pyramid have a third of the chunks of the first one.
    this.r2.writes += Math.round(slide.chunks / 3) + OTHER_OUTPUTS;
    if ((await ledger.claim("finish", 0)) === "skip") return {};
    await Promise.all((["plan", "shard", "merge"] as const).map((stage) => ledger.totals(stage)));
    await ledger.setOutputs([]);
    return { bytesRead: 50_000_000 };
  }

  async #merge(merge: Merge, { records, slide }: ModelledJob, ledger: Ledger): Promise<TaskReport> {
    const first = merge.shards[0]!;
    if (records[first] && this.#random.happens(this.#faults.lostRecords)) {
      records[first] = 0;
      this.windowsDone -= slide.windowsOf[first]!;
    }
    for (const shard of merge.shards) {
      this.r2.reads++;
      if (records[shard]) continue;
      await ledger.requeueShard(shard);
      throw new StorageError(`the records of shard ${shard} are gone`, { retryable: true });
    }
    this.r2.writes += merge.chunks;
    return { merge: { windows: merge.windows, seams: emptySeamCounts(), compared: 1e6, disagreed: 1e3 } };
  }

  #signsOfLife({ chunkRows }: Slide, ms: number, ledger: Ledger): void {
    for (let row = ALIVE_EVERY; row <= chunkRows; row += ALIVE_EVERY) {
      this.#time.after((ms * row) / (chunkRows + 1), () => void ledger.heartbeat());
    }
  }

  #readPlan({ consumer }: Delivery<unknown>, job: string): void {
    const { jobs: kept } = consumer;
    if (kept.includes(job)) return;
    this.r2.reads++;
    kept.push(job);
    if (kept.length > PLANS_KEPT) kept.shift();
  }

  /** Waits for the duration of a task, or a part of it if it fails or its consumer is lost. */
  async #busy(ms: number): Promise<"done" | "failed" | "gone"> {
    const takes = ms * this.#random.lognormal(this.#durations.spread);
    const gone = this.#random.happens(this.#faults.crashes);
    const failed = !gone && this.#random.happens(this.#faults.failures);
    await this.#time.wait(gone || failed ? takes * this.#random.uniform() : takes);
    return gone ? "gone" : failed ? "failed" : "done";
  }
}
