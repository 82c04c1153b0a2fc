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
import { createWindowKind, type PendingRequest, type QueuedWindow, WindowQueue } from "./window-queue.ts";

export interface BatcherOptions {
  /** Maximum of windows in one run. */
  maxBatch: number;
  /** Maximum time that a window waits for others while all sessions are busy. */
  latencyMs: number;
  /** Maximum of waiting windows; more are rejected. */
  maxQueued: number;
  /** Pause of a session that fails repeatedly while another one works; default 30 s. */
  restMs?: number;
  /** Time after which a batch size halved by lack of memory is doubled again; default 60 s. */
  regrowMs?: number;
  /** Called after each run. */
  onRun?(run: BatchResult): void;
}

export interface BatchResult {
  windows: number;
  /** Time that the session spent on the run. */
  milliseconds: number;
  outcome: "done" | "failed" | "out_of_memory";
}

/** One window's probabilities `[K, ...window]` in the precision asked for. */
export type OnWindow = (n: number, data: MaskRecord["data"]) => void;

interface Session {
  readonly segmenter: Segmenter;
  /** Runs in progress: one computes, another may wait behind it so that the device never idles. */
  runs: number;
  consecutiveFailures: number;
  /** Not used before this time while another session is available. */
  restsUntil: number;
  lastEnd: number;
}

const RUNS_PER_SESSION = 2;
const REGROW_MS = 60_000;
/** Consecutive failures after which a session pauses: a failing session is idle first and would get all the work. */
const FAILURES_BEFORE_REST = 3;
const REST_MS = 30_000;

/**
 * Batches the windows of concurrent requests into runs of a model, over several sessions.
 *
 * Windows share a run if their type, shape, normalization and precision are equal; first come, first served. An idle
 * session takes the oldest windows at once. A batch that is full, or whose oldest window has waited for `latencyMs`,
 * queues behind the current run of a session. Overdue batches go before full ones, so that no kind starves.
 *
 * A run that fails for lack of memory is repeated in halves, down to one window. A run of several requests that fails
 * otherwise is repeated request by request, so that no request fails because of the pixels of another.
 */
export class Batcher implements Segmenter {
  readonly info: SegmenterInfo;
  readonly #options: BatcherOptions;
  readonly #sessions: readonly Session[];
  readonly #queue = new WindowQueue();
  readonly #requests = new Set<PendingRequest>();
  readonly #running = new Set<Promise<void>>();
  /** Current maximum of windows in one run. */
  #limit: number;
  #limitedAt = 0;
  #order = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(sessions: readonly Segmenter[], options: BatcherOptions) {
    if (sessions.length === 0) throw new RangeError("a batcher needs at least one session");
    this.info = { ...sessions[0]!.info, threads: sessions.reduce((sum, s) => sum + s.info.threads, 0) };
    this.#options = options;
    this.#limit = options.maxBatch;
    this.#sessions = sessions.map((segmenter) => ({
      segmenter,
      runs: 0,
      consecutiveFailures: 0,
      restsUntil: 0,
      lastEnd: 0,
    }));
  }

  /** Number of waiting windows. */
  get queued(): number {
    return this.#queue.length;
  }

  /** Current maximum of windows in one run; below `maxBatch` after a lack of memory. */
  get batchLimit(): number {
    return this.#limit;
  }

  /** Whether at least one session is not pausing after repeated failures. */
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
   * Segments windows `[N, ...window, C]` and passes each result to `onWindow` once, in any order. After an abort, waiting
   * windows are dropped and no result is passed any more.
   * @returns settles after the last result
   * @throws {RunnerError} busy, if the queue has no room for all of them; out_of_memory
   */
  segmentEach(batch: Raster<SampleArray>, options: SegmentBatchOptions, onWindow: OnWindow): Promise<void> {
    const { scaling, precision = "f32", signal } = options;
    const [windows, ...shape] = batch.shape as [number, ...number[]];
    const { maxQueued } = this.#options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#closed) return Promise.reject(new RunnerError("draining", "the runner is shutting down"));
    if (this.#queue.length + windows > maxQueued) {
      const sentence = `${this.#queue.length} windows are waiting, ${windows} more would exceed the limit of ${maxQueued}; try again soon`;
      return Promise.reject(new RunnerError("busy", sentence));
    }
    if (windows === 0) return Promise.resolve();
    const kind = createWindowKind({ dtype: getDType(batch.data), shape, scaling, precision });
    const samples = product(shape);
    const since = performance.now();
    return new Promise<void>((resolve, reject) => {
      const request: PendingRequest = {
        windowsLeft: windows,
        settled: false,
        onWindow,
        settle: (error) => {
          if (request.settled) return;
          request.settled = true;
          signal?.removeEventListener("abort", onAbort);
          this.#requests.delete(request);
          if (error === undefined) return resolve();
          this.#queue.drop(request);
          reject(error);
        },
      };
      const onAbort = () => request.settle(signal!.reason ?? new DOMException("aborted", "AbortError"));
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#requests.add(request);
      for (let n = 0; n < windows; n++) {
        const data = batch.data.subarray(n * samples, (n + 1) * samples) as SampleArray;
        this.#queue.push({ request, n, order: this.#order++, data, kind, since, isolated: false });
      }
      this.#dispatch();
    });
  }

  /** Rejects waiting requests, awaits running ones, and closes the sessions. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const request of this.#requests)
      request.settle(new RunnerError("draining", "the runner has shut down"));
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
        // A full session dispatches again when its run ends; the other ones when a batch becomes overdue.
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
      const batch = { data: concatWindows(windows), shape: [windows.length, ...shape] };
      const { segmenter } = session;
      const options = { scaling, precision };
      const result = segmenter.segmentEncoded
        ? await segmenter.segmentEncoded(batch, options)
        : encodeWindows(await segmenter.segment(batch, options), precision);
      this.#deliver(windows, result);
      session.consecutiveFailures = 0;
      session.restsUntil = 0;
    } catch (error) {
      outcome = this.#handleFailure(session, windows, error);
    } finally {
      session.runs--;
      const ended = performance.now();
      // Without the time spent waiting behind the previous run.
      const milliseconds = ended - Math.max(started, session.lastEnd);
      session.lastEnd = ended;
      this.#options.onRun?.({ windows: windows.length, milliseconds, outcome });
    }
  }

  #deliver(windows: readonly QueuedWindow[], { data, shape }: EncodedWindows): void {
    const { classes, window } = this.info;
    const expected = [windows.length, classes, ...window];
    const received = [data.length, ...shape];
    const size = product(shape);
    if (received.join() !== expected.join() || data.some(({ length }) => length !== size)) {
      throw new InferenceError(`the model returned ${received.join("×")}, expected ${expected.join("×")}`);
    }
    for (const [i, { request, n }] of windows.entries()) {
      if (request.settled) continue;
      try {
        const one = data[i]!;
        // Copied, so that a slow client does not keep the memory of the whole run.
        const shared = one.byteLength < one.buffer.byteLength;
        request.onWindow(n, shared ? one.slice() : one);
        if (--request.windowsLeft === 0) request.settle(undefined);
      } catch (error) {
        request.settle(error);
      }
    }
  }

  #handleFailure(
    session: Session,
    windows: readonly QueuedWindow[],
    error: unknown,
  ): "failed" | "out_of_memory" {
    const outOfMemory = error instanceof InferenceError && error.outOfMemory;
    const wanted = windows.filter(({ request }) => !request.settled);
    if (outOfMemory && windows.length > 1) {
      this.#limit = Math.max(1, Math.min(this.#limit, Math.floor(windows.length / 2)));
      this.#limitedAt = performance.now();
      this.#queue.requeue(wanted);
      return "out_of_memory";
    }
    if (outOfMemory) {
      const sentence = "the device has no memory for a single window; free some, or use a larger device";
      for (const { request } of wanted)
        request.settle(new RunnerError("out_of_memory", sentence, { cause: error }));
      return "out_of_memory";
    }
    if (++session.consecutiveFailures >= FAILURES_BEFORE_REST) {
      session.restsUntil = performance.now() + (this.#options.restMs ?? REST_MS);
    }
    if (new Set(windows.map(({ request }) => request)).size > 1) {
      for (const window of wanted) window.isolated = true;
      this.#queue.requeue(wanted);
    } else for (const { request } of wanted) request.settle(error);
    return "failed";
  }

  /** Doubles the limit again after a while: another program may have freed its memory. */
  #regrow(now: number): void {
    const { maxBatch, regrowMs = REGROW_MS } = this.#options;
    if (this.#limit === maxBatch || now - this.#limitedAt < regrowMs) return;
    this.#limit = Math.min(maxBatch, this.#limit * 2);
    this.#limitedAt = now;
  }
}

/** Concatenates windows; a single one is not copied. */
function concatWindows(windows: readonly QueuedWindow[]): SampleArray {
  const [first] = windows;
  if (windows.length === 1) return first!.data;
  const samples = first!.data.length;
  const all = new (first!.data.constructor as new (length: number) => SampleArray)(samples * windows.length);
  windows.forEach(({ data }, i) => {
    all.set(data, i * samples);
  });
  return all;
}
