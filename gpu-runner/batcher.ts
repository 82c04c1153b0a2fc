import { InferenceError } from "../src/inference/errors.ts";
import type {
  EncodedWindows,
  SegmentBatchOptions,
  Segmenter,
  SegmenterInfo,
} from "../src/inference/segmenter.ts";
import { getDType, product, type Raster, type SampleArray } from "../src/tiling/grid/raster.ts";
import { decodeProbabilitiesInto, encodeWindows, type MaskRecord } from "../src/tiling/wire/mask-record.ts";
import { RunnerError } from "./errors.ts";
import { type Job, kindOf, type QueuedWindow, WindowQueue } from "./window-queue.ts";

export interface BatcherOptions {
  /** Windows that a session takes in one run at most. */
  maxBatch: number;
  /** How long a window waits for others to be run with, at most, while every session is at work. */
  latencyMs: number;
  /** Windows that wait at most; more are refused. */
  maxQueued: number;
  /** How long a session that fails again and again is given nothing while another works; default 30 s. */
  restMs?: number;
  /** After which a batch that was made smaller for want of memory is tried twice as large; default 60 s. */
  regrowMs?: number;
  /** Told after each run. */
  onRun?(run: BatchResult): void;
}

export interface BatchResult {
  windows: number;
  /** That the session was at work on it. */
  milliseconds: number;
  outcome: "done" | "failed" | "out_of_memory";
}

/** One window's probabilities `[K, ...window]` in the precision asked for. */
export type OnWindow = (n: number, data: MaskRecord["data"]) => void;

interface Session {
  readonly segmenter: Segmenter;
  /** Runs it has been given: one computes, one more may wait behind it, so that no device waits for us. */
  runs: number;
  failedInARow: number;
  /** Not used before, while another session can be. */
  restsUntil: number;
  lastEnd: number;
}

const RUNS_PER_SESSION = 2;
const REGROW_MS = 60_000;
/** A session that fails this often in a row is given nothing for a while: it would be idle first every time. */
const FAILURES_BEFORE_REST = 3;
const REST_MS = 30_000;

/**
 * Puts windows of many requests together into runs of a model, over several sessions.
 *
 * Windows are of a kind when their type, shape, scaling and precision are equal; only those of a kind share a run, first
 * come, first run. A session with nothing to do takes what has waited longest at once. A batch that is full, or whose
 * oldest window has waited for `latencyMs`, is put in line behind the run that a session is at. What is overdue goes
 * before what is full, so that no kind starves.
 *
 * A run that fails for want of memory is done again in halves, down to one window. A run of several requests that fails
 * otherwise is done again request by request, so that none fails for another's pixels.
 */
export class Batcher implements Segmenter {
  readonly info: SegmenterInfo;
  readonly #options: BatcherOptions;
  readonly #sessions: readonly Session[];
  readonly #queue = new WindowQueue();
  readonly #jobs = new Set<Job>();
  readonly #running = new Set<Promise<void>>();
  /** Windows in one run, now. */
  #limit: number;
  #limitedAt = 0;
  #order = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(sessions: readonly Segmenter[], options: BatcherOptions) {
    if (sessions.length === 0) throw new RangeError("a batcher has at least one session");
    this.info = { ...sessions[0]!.info, threads: sessions.reduce((sum, s) => sum + s.info.threads, 0) };
    this.#options = options;
    this.#limit = options.maxBatch;
    this.#sessions = sessions.map((segmenter) => ({
      segmenter,
      runs: 0,
      failedInARow: 0,
      restsUntil: 0,
      lastEnd: 0,
    }));
  }

  /** Windows that wait for a run. */
  get queued(): number {
    return this.#queue.length;
  }

  /** Windows in one run at most, now: less than at the start where a device had no memory for more. */
  get batchLimit(): number {
    return this.#limit;
  }

  /** Whether some session is not at rest for having failed again and again; after its rest it is worth another try. */
  get healthy(): boolean {
    const now = performance.now();
    return this.#sessions.some((s) => s.restsUntil <= now);
  }

  async segment(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<Raster<Float32Array>> {
    const { classes, window } = this.info;
    const { precision = "f32" } = options;
    const size = classes * product(window);
    const out = new Float32Array(batch.shape[0]! * size);
    await this.segmentEach(batch, options, (n, data) =>
      decodeProbabilitiesInto({ precision, data }, out, n * size),
    );
    return { data: out, shape: [batch.shape[0]!, classes, ...window] };
  }

  async segmentEncoded(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<EncodedWindows> {
    const { classes, window } = this.info;
    const data = new Array<MaskRecord["data"]>(batch.shape[0]!);
    await this.segmentEach(batch, options, (n, one) => {
      data[n] = one;
    });
    return { data, shape: [classes, ...window] };
  }

  /**
   * Hands each window of `[N, ...window, C]` to `onWindow`, in any order and once; settles when all were handed over.
   * An abort frees what waits at once; nothing is handed over after it.
   * @throws {RunnerError} busy, where the queue has no room for all of them; out_of_memory
   */
  segmentEach(batch: Raster<SampleArray>, options: SegmentBatchOptions, onWindow: OnWindow): Promise<void> {
    const { scaling, precision = "f32", signal } = options;
    const [windows, ...shape] = batch.shape as [number, ...number[]];
    const { maxQueued } = this.#options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#closed) return Promise.reject(new RunnerError("draining", "the runner is being stopped"));
    if (this.#queue.length + windows > maxQueued) {
      const sentence = `${this.#queue.length} windows wait already, ${windows} more would be over ${maxQueued}; try again soon`;
      return Promise.reject(new RunnerError("busy", sentence));
    }
    if (windows === 0) return Promise.resolve();
    const kind = kindOf({ dtype: getDType(batch.data), shape, scaling, precision });
    const samples = product(shape);
    const since = performance.now();
    return new Promise<void>((resolve, reject) => {
      const job: Job = {
        left: windows,
        over: false,
        onWindow,
        settle: (error) => {
          if (job.over) return;
          job.over = true;
          signal?.removeEventListener("abort", onAbort);
          this.#jobs.delete(job);
          if (error === undefined) return resolve();
          this.#queue.drop(job);
          reject(error);
        },
      };
      const onAbort = () => job.settle(signal!.reason ?? new DOMException("aborted", "AbortError"));
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#jobs.add(job);
      for (let n = 0; n < windows; n++) {
        const data = batch.data.subarray(n * samples, (n + 1) * samples) as SampleArray;
        this.#queue.push({ job, n, order: this.#order++, data, kind, since, alone: false });
      }
      this.#dispatch();
    });
  }

  /** Gives up what waits, lets runs that have begun come to their end, and closes the sessions. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const job of this.#jobs) job.settle(new RunnerError("draining", "the runner was stopped"));
    await Promise.allSettled(this.#running);
    await Promise.all(this.#sessions.map((s) => s.segmenter.close()));
  }

  #dispatch(): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    for (;;) {
      const now = performance.now();
      this.#regrow(now);
      const next = this.#queue.next(this.#limit, now - this.#options.latencyMs);
      if (!next) return;
      const session = this.#leastBusy(now);
      if (session.runs >= (next.ready ? RUNS_PER_SESSION : 1)) {
        // Full lines are looked at again when a run ends; room in a line is for what becomes overdue.
        if (session.runs < RUNS_PER_SESSION) {
          const wait = Math.max(1, next.oldest + this.#options.latencyMs - now);
          this.#timer = setTimeout(() => this.#dispatch(), wait);
        }
        return;
      }
      const running = this.#run(session, this.#queue.take(next, this.#limit)).finally(() => {
        this.#running.delete(running);
        this.#dispatch();
      });
      this.#running.add(running);
    }
  }

  #leastBusy(now: number): Session {
    const rested = this.#sessions.filter((s) => s.restsUntil <= now);
    return (rested.length > 0 ? rested : this.#sessions).reduce((a, b) => (b.runs < a.runs ? b : a));
  }

  async #run(session: Session, windows: readonly QueuedWindow[]): Promise<void> {
    session.runs++;
    const started = performance.now();
    let outcome: BatchResult["outcome"] = "done";
    try {
      const { shape, scaling, precision } = windows[0]!.kind;
      const batch = { data: joined(windows), shape: [windows.length, ...shape] };
      const { segmenter } = session;
      const options = { scaling, precision };
      const result = segmenter.segmentEncoded
        ? await segmenter.segmentEncoded(batch, options)
        : encodeWindows(await segmenter.segment(batch, options), precision);
      this.#handOver(windows, result);
      session.failedInARow = 0;
      session.restsUntil = 0;
    } catch (error) {
      outcome = this.#failed(session, windows, error);
    } finally {
      session.runs--;
      const ended = performance.now();
      // A run that waited behind another was not computed meanwhile.
      const milliseconds = ended - Math.max(started, session.lastEnd);
      session.lastEnd = ended;
      this.#options.onRun?.({ windows: windows.length, milliseconds, outcome });
    }
  }

  #handOver(windows: readonly QueuedWindow[], { data, shape }: EncodedWindows): void {
    const { classes, window } = this.info;
    const expected = [windows.length, classes, ...window];
    const answered = [data.length, ...shape];
    const size = product(shape);
    if (answered.join() !== expected.join() || data.some(({ length }) => length !== size)) {
      throw new InferenceError(
        `the model answered with ${answered.join("×")}, expected ${expected.join("×")}`,
      );
    }
    for (const [i, { job, n }] of windows.entries()) {
      if (job.over) continue;
      try {
        const one = data[i]!;
        // A request whose answer is fetched slowly must not hold the memory of all that were run with it.
        const shared = one.byteLength < one.buffer.byteLength;
        job.onWindow(n, shared ? one.slice() : one);
        if (--job.left === 0) job.settle(undefined);
      } catch (error) {
        job.settle(error);
      }
    }
  }

  #failed(session: Session, windows: readonly QueuedWindow[], error: unknown): "failed" | "out_of_memory" {
    const outOfMemory = error instanceof InferenceError && error.outOfMemory;
    const wanted = windows.filter(({ job }) => !job.over);
    if (outOfMemory && windows.length > 1) {
      this.#limit = Math.max(1, Math.min(this.#limit, Math.floor(windows.length / 2)));
      this.#limitedAt = performance.now();
      this.#queue.putBack(wanted);
      return "out_of_memory";
    }
    if (outOfMemory) {
      const sentence =
        "the device has no memory left, not even for one window; free some, or use a larger one";
      for (const { job } of wanted) job.settle(new RunnerError("out_of_memory", sentence, { cause: error }));
      return "out_of_memory";
    }
    if (++session.failedInARow >= FAILURES_BEFORE_REST) {
      session.restsUntil = performance.now() + (this.#options.restMs ?? REST_MS);
    }
    if (new Set(windows.map(({ job }) => job)).size > 1) {
      for (const window of wanted) window.alone = true;
      this.#queue.putBack(wanted);
    } else for (const { job } of wanted) job.settle(error);
    return "failed";
  }

  /** Memory that another program held may be free again. */
  #regrow(now: number): void {
    const { maxBatch, regrowMs = REGROW_MS } = this.#options;
    if (this.#limit === maxBatch || now - this.#limitedAt < regrowMs) return;
    this.#limit = Math.min(maxBatch, this.#limit * 2);
    this.#limitedAt = now;
  }
}

/** Windows one after another; one alone is not copied. */
function joined(windows: readonly QueuedWindow[]): SampleArray {
  const [first] = windows;
  if (windows.length === 1) return first!.data;
  const samples = first!.data.length;
  const all = new (first!.data.constructor as new (length: number) => SampleArray)(samples * windows.length);
  windows.forEach(({ data }, i) => {
    all.set(data, i * samples);
  });
  return all;
}
