import { AdaptiveConcurrencyLimit } from "./adaptive-concurrency.ts";
import type { BackendCounts, BackendLimits } from "./backend.ts";
import { CircuitBreaker } from "./circuit-breaker.ts";
import type { FailureClass } from "./classify-failure.ts";
import type { Clock } from "./clock.ts";
import { chooseHedge } from "./hedging.ts";
import { requestSize } from "./request-size.ts";
import { countInFlight, isDone, type OpenRange, ShardBacklog } from "./shard-backlog.ts";

/** Windows `from` to `to` (half-open) of a shard in memory. */
export interface WindowRange<S> {
  shard: S;
  from: number;
  to: number;
}

export interface SchedulerOptions<B extends BackendLimits, S, R> {
  backends: readonly B[];
  /** Reads the next shard; undefined at the end. Never called while another call runs. */
  next: () => Promise<{ shard: S; windows: number } | undefined>;
  /** One request. @returns a result for each window, in their order */
  run: (backend: B, range: WindowRange<S>, signal: AbortSignal) => Promise<readonly R[]>;
  /** Gets each window's result exactly once; an error ends the job. */
  deliver: (results: readonly R[]) => Promise<void>;
  /** @param windows number of windows in the failed request */
  classifyFailure: (error: unknown, windows: number) => FailureClass;
  /** Windows of all shards. */
  totalWindows: number;
  /** Requests start and end at multiples of this within a shard, whichever backend runs them. */
  batchSize: number;
  clock: Clock;
  /** In [0, 1). */
  random: () => number;
  signal: AbortSignal;
  onDisabled?: (backend: B, error: unknown) => void;
}

interface BackendState<B> {
  readonly backend: B;
  readonly counts: BackendCounts;
  readonly limit: AdaptiveConcurrencyLimit;
  readonly breaker: CircuitBreaker;
  windowsPerRequest: number;
  /** Requests in flight, and requests whose results are being delivered. */
  active: number;
  /** Exponential moving average. */
  msPerWindow: number | undefined;
  enabled: boolean;
}

/** A request in flight. */
interface Attempt<B, S> extends OpenRange<S> {
  readonly worker: BackendState<B>;
  readonly startedAt: number;
  readonly controller: AbortController;
  /** Aborted by the scheduler: its windows came from elsewhere, or its backend is disabled. */
  superseded: boolean;
}

/** Bound of the windows read since the oldest unfinished shard, in multiples of what all backends hold. */
const SPAN_FACTOR = 2;
const SPAN_SPARE_WINDOWS = 64;
/** Weight of the newest request in a backend's time per window. */
const NEWEST_WEIGHT = 0.3;
/** How often an idle backend looks for a request to hedge. */
const HEDGE_POLL_MS = 100;
/** Pause of a backend that is busy, of fixed concurrency, and states no Retry-After. */
const BUSY_PAUSE_MS = 250;

/**
 * Distributes the windows of a list of shards to backends of any speed. A backend with free capacity gets the next
 * windows; windows of failed requests return to the head of the list. When none is pending, idle backends send hedged
 * requests, and the first result counts. The windows read since the oldest unfinished shard are bounded, and with them
 * the memory of the merger.
 *
 * One scheduler runs one job: call `run` once.
 */
export class Scheduler<B extends BackendLimits, S, R> {
  readonly #options: SchedulerOptions<B, S, R>;
  readonly #workers: readonly BackendState<B>[];
  readonly #backlog = new ShardBacklog<S>();
  readonly #attempts = new Set<Attempt<B, S>>();
  /** Reads and deliveries: the job ends after them. */
  readonly #tracked = new Set<Promise<void>>();
  readonly #outcome = Promise.withResolvers<BackendCounts[]>();
  #reading = false;
  #exhausted = false;
  #ended = false;
  #cancelWakeUp: (() => void) | undefined;
  #lastError: unknown;

  constructor(options: SchedulerOptions<B, S, R>) {
    this.#options = options;
    this.#workers = options.backends.map((backend) => ({
      backend,
      counts: { windows: 0, wastedWindows: 0, requests: 0, hedges: 0, errors: {} },
      limit: new AdaptiveConcurrencyLimit(backend.concurrency),
      breaker: new CircuitBreaker(),
      windowsPerRequest: backend.windowsPerRequest,
      active: 0,
      msPerWindow: undefined,
      enabled: true,
    }));
  }

  /**
   * @returns the counts of each backend, in the order of `backends`
   * @throws the error that disabled the last backend; the error of `next` or `deliver`; the signal's reason
   */
  run(): Promise<BackendCounts[]> {
    const { signal } = this.#options;
    if (signal.aborted) this.#fail(signal.reason);
    else signal.addEventListener("abort", this.#onAbort, { once: true });
    this.#schedule();
    return this.#outcome.promise;
  }

  readonly #onAbort = () => this.#fail(this.#options.signal.reason);

  #end(): void {
    this.#ended = true;
    this.#cancelWakeUp?.();
    this.#options.signal.removeEventListener("abort", this.#onAbort);
  }

  #fail(error: unknown): void {
    if (this.#ended) return;
    this.#end();
    for (const attempt of this.#attempts) attempt.controller.abort(error);
    Promise.allSettled(this.#tracked).then(() => this.#outcome.reject(error));
  }

  /** Awaits `work` before the job ends; an error of it ends the job. */
  #track(work: Promise<void>): void {
    const tracked: Promise<void> = work
      .catch((error) => this.#fail(error))
      .finally(() => {
        this.#tracked.delete(tracked);
        this.#schedule();
      });
    this.#tracked.add(tracked);
  }

  /** Starts whatever can start now. Called after every event. */
  #schedule(): void {
    if (this.#ended) return;
    this.#cancelWakeUp?.();
    this.#cancelWakeUp = undefined;
    if (this.#exhausted && this.#backlog.isFinished && this.#tracked.size === 0) {
      this.#end();
      this.#outcome.resolve(this.#workers.map(({ counts }) => counts));
      return;
    }
    if (!this.#workers.some(({ enabled }) => enabled)) {
      this.#fail(this.#lastError);
      return;
    }
    this.#read();
    const wakeAfterMs = Math.min(...this.#workers.map((worker) => this.#fill(worker)));
    this.#read();
    if (Number.isFinite(wakeAfterMs))
      this.#cancelWakeUp = this.#options.clock.after(wakeAfterMs, () => this.#schedule());
  }

  /** Reads the next shard if few windows are pending and the bound of `SPAN_FACTOR` allows it. */
  #read(): void {
    if (this.#reading || this.#exhausted) return;
    const { pendingWindows, largestShard, span } = this.#backlog;
    const enabled = this.#workers.filter((worker) => worker.enabled);
    const wanted = enabled.reduce((n, worker) => n + worker.windowsPerRequest, 0);
    if (pendingWindows >= Math.max(wanted, largestShard)) return;
    const held = enabled.reduce((n, { limit, windowsPerRequest }) => n + limit.value * windowsPerRequest, 0);
    if (span > SPAN_FACTOR * held + SPAN_SPARE_WINDOWS + largestShard) return;
    this.#reading = true;
    this.#track(
      this.#options.next().then((next) => {
        this.#reading = false;
        if (!next) this.#exhausted = true;
        else this.#backlog.add(next.shard, next.windows);
      }),
    );
  }

  /** Starts requests until the backend is at its concurrency. @returns milliseconds until it should be tried again */
  #fill(worker: BackendState<B>): number {
    const now = this.#options.clock.now();
    while (worker.enabled && worker.active < currentConcurrency(worker)) {
      if (worker.breaker.state(now) === "open") return worker.breaker.retryAt - now;
      const range = this.#backlog.take(this.#requestSize(worker));
      if (range) {
        this.#start(worker, range);
        continue;
      }
      // A shard that is about to be read is better work than a hedged request.
      const hedge = this.#reading ? undefined : this.#chooseHedge(worker, now);
      if (!hedge) return this.#attempts.size > 0 ? HEDGE_POLL_MS : Number.POSITIVE_INFINITY;
      worker.counts.hedges++;
      this.#start(worker, hedge);
    }
    return Number.POSITIVE_INFINITY;
  }

  #requestSize({ windowsPerRequest, msPerWindow }: BackendState<B>): number {
    const { totalWindows, batchSize } = this.#options;
    const windowsPerMs = this.#workers.reduce(
      (sum, worker) =>
        sum + (worker.enabled && worker.msPerWindow ? currentConcurrency(worker) / worker.msPerWindow : 0),
      0,
    );
    const windowsLeft = totalWindows - this.#backlog.doneWindows;
    return requestSize({ windowsPerRequest, msPerWindow, windowsPerMs, windowsLeft, batchSize });
  }

  #chooseHedge(worker: BackendState<B>, now: number): OpenRange<S> | undefined {
    return chooseHedge(this.#attempts, {
      worker,
      isOnly: this.#workers.filter(({ enabled }) => enabled).length === 1,
      canTimeOut: worker.backend.timeoutMs !== undefined,
      maxWindows: this.#requestSize(worker),
      batchSize: this.#options.batchSize,
      now,
    });
  }

  #start(worker: BackendState<B>, range: OpenRange<S>): void {
    const startedAt = this.#options.clock.now();
    const attempt = { ...range, worker, startedAt, controller: new AbortController(), superseded: false };
    worker.active++;
    worker.counts.requests++;
    countInFlight(attempt, 1);
    this.#attempts.add(attempt);
    this.#run(attempt).catch((error) => this.#fail(error));
  }

  async #run(attempt: Attempt<B, S>): Promise<void> {
    let results: readonly R[];
    try {
      results = await this.#request(attempt);
    } catch (error) {
      attempt.worker.active--;
      if (!this.#ended) this.#onFailure(attempt, error);
      return;
    }
    if (!this.#ended) this.#onSuccess(attempt, results);
  }

  /** @throws the reason of the attempt's controller, even if the backend ignores its signal */
  async #request({ worker, open, from, to, controller }: Attempt<B, S>): Promise<readonly R[]> {
    const { clock, run } = this.#options;
    const { backend } = worker;
    // One controller for each attempt: a signal of `AbortSignal.any()` that includes the job's signal would live as
    // long as the job, with its listeners and what they refer to.
    const { signal } = controller;
    const cancelTimeout =
      backend.timeoutMs === undefined
        ? undefined
        : clock.after(backend.timeoutMs, () =>
            controller.abort(new DOMException("no response within the time limit", "TimeoutError")),
          );
    // Through the event loop: a backend that computes on this thread would otherwise starve the responses of others.
    const response = new Promise<void>((resolve) => clock.after(0, resolve)).then(() =>
      run(backend, { shard: open.shard, from, to }, signal),
    );
    try {
      return await Promise.race([response, rejectOnAbort(signal)]);
    } finally {
      cancelTimeout?.();
    }
  }

  /** Removes an attempt that has ended. */
  #close(attempt: Attempt<B, S>): void {
    this.#attempts.delete(attempt);
    countInFlight(attempt, -1);
  }

  #onSuccess(attempt: Attempt<B, S>, results: readonly R[]): void {
    this.#close(attempt);
    const { worker, open, from, to, startedAt } = attempt;
    const { clock, deliver } = this.#options;
    const msPerWindow = (clock.now() - startedAt) / (to - from);
    worker.msPerWindow =
      worker.msPerWindow === undefined
        ? msPerWindow
        : worker.msPerWindow * (1 - NEWEST_WEIGHT) + msPerWindow * NEWEST_WEIGHT;
    worker.breaker.recordSuccess();
    worker.limit.recordSuccess(worker.active);
    const fresh = this.#backlog.complete(attempt, results);
    worker.counts.windows += fresh.length;
    worker.counts.wastedWindows += to - from - fresh.length;
    for (const other of this.#attempts) {
      if (other.open !== open || !isDone(other)) continue;
      other.superseded = true;
      other.controller.abort(new DOMException("another backend answered first", "AbortError"));
    }
    // The request counts as active until its results are delivered, so that undelivered results do not pile up.
    this.#track(
      deliver(fresh).finally(() => {
        worker.active--;
      }),
    );
    this.#schedule();
  }

  #onFailure(attempt: Attempt<B, S>, error: unknown): void {
    this.#close(attempt);
    this.#backlog.requeue(attempt);
    const { signal } = attempt.controller;
    if (!attempt.superseded) this.#penalize(attempt, signal.aborted ? signal.reason : error);
    this.#schedule();
  }

  /** Counts a failure against its backend: shorter requests, a pause, or no more requests. */
  #penalize({ worker, from, to, startedAt }: Attempt<B, S>, error: unknown): void {
    const { clock, random, classifyFailure } = this.#options;
    const { kind, code, retryAfterMs } = classifyFailure(error, to - from);
    const { errors } = worker.counts;
    errors[code] = (errors[code] ?? 0) + 1;
    this.#lastError = error;
    if (kind === "too-large") worker.windowsPerRequest = Math.max(1, Math.floor((to - from) / 2));
    if (kind === "fatal") this.#disable(worker, error);
    if (kind === "too-large" || kind === "fatal") return;
    const now = clock.now();
    if (kind === "busy") worker.limit.recordBusy(worker.active + 1);
    if (kind === "busy" && worker.active > 0) {
      // The backend is processing other requests. A lower limit is enough, unless the limit is fixed.
      if (worker.active < worker.limit.value) worker.breaker.backOff(now, retryAfterMs ?? BUSY_PAUSE_MS);
    } else if (worker.breaker.recordFailure(now, startedAt, random(), retryAfterMs)) {
      this.#disable(worker, error);
    }
  }

  /** Gives the backend no more requests, and those in flight to others. */
  #disable(worker: BackendState<B>, error: unknown): void {
    if (!worker.enabled) return;
    worker.enabled = false;
    worker.counts.expelled = (error as Error)?.message ?? String(error);
    for (const attempt of this.#attempts) {
      if (attempt.worker !== worker) continue;
      attempt.superseded = true;
      attempt.controller.abort(error);
    }
    this.#options.onDisabled?.(worker.backend, error);
  }
}

/** Requests that the backend may have at a time now. */
function currentConcurrency({
  breaker,
  limit,
}: {
  breaker: CircuitBreaker;
  limit: AdaptiveConcurrencyLimit;
}): number {
  return breaker.concurrencyAllowed(limit.value);
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
