import { LaneLimit } from "./adaptive-concurrency.ts";
import { Breaker } from "./circuit-breaker.ts";
import type { Verdict } from "./classify-failure.ts";
import type { Clock } from "./clock.ts";

/** Something that segments windows, as the scheduler sees it. */
export interface Member {
  name: string;
  /** Requests at a time; "auto" finds out how many it takes. */
  lanes: number | "auto";
  /** At most, in one request. */
  windowsPerRequest: number;
  /** After which a request is given up and sent again. Undefined for what runs here, which cannot be lost. */
  timeoutMs?: number;
}

/** Windows `from` to `to` (half-open) of a shard that is at hand. */
export interface Task<S> {
  shard: S;
  from: number;
  to: number;
}

export interface FleetOptions<S, R> {
  members: readonly Member[];
  /** The next shard and how many windows it has; undefined at the end. Called once at a time. */
  next: () => Promise<{ shard: S; windows: number } | undefined>;
  /** Results of a task's windows, in their order. */
  run: (member: Member, task: Task<S>, signal: AbortSignal) => Promise<readonly R[]>;
  /** Takes each window's result once; a failure ends the job. */
  deliver: (results: readonly R[]) => Promise<void>;
  verdictOf: (error: unknown, windows: number) => Verdict;
  /** Of all shards together. */
  totalWindows: number;
  /** Tasks begin and end at multiples of this within a shard, whoever runs them. */
  quantum: number;
  clock: Clock;
  /** 0 to 1. */
  random: () => number;
  signal: AbortSignal;
  onExpelled?: (member: Member, error: unknown) => void;
}

/** What a member did. */
export interface MemberReport {
  /** That came first and were taken. */
  windows: number;
  /** That another member answered first. */
  wastedWindows: number;
  requests: number;
  /** Of them second attempts at what another member had not answered yet. */
  hedges: number;
  /** How often each kind of failure was met, by its code. */
  errors: Record<string, number>;
  /** Why it was given no more work. */
  expelled?: string;
}

interface Open<S> {
  shard: S;
  /** Number in the order of reading. */
  order: number;
  /** Windows of all shards before it. */
  before: number;
  windows: number;
  done: Uint8Array;
  /** Requests under way for each window. */
  running: Uint8Array;
  left: number;
}

interface Range<S> {
  open: Open<S>;
  from: number;
  to: number;
}

interface Attempt<S> extends Range<S> {
  worker: Worker;
  startedAt: number;
  stop: AbortController;
  /** Taken back, since all of its windows came from elsewhere. */
  needless: boolean;
}

interface Worker {
  member: Member;
  report: MemberReport;
  limit: LaneLimit;
  breaker: Breaker;
  windowsPerRequest: number;
  active: number;
  /** Time of a request over its windows, recent ones counting most. */
  msPerWindow: number | undefined;
  live: boolean;
}

/** Windows that may be under way or waiting beyond the oldest unfinished shard, in multiples of what all can hold. */
const SPAN = 2;
const SPARE_WINDOWS = 64;
/** How much a new request counts in a member's time per window. */
const NEWEST = 0.3;
/** A member's share of what is left, in one request: so that all end together. */
const TAIL_SHARE = 0.25;
/** Nothing is sent twice for less than this. */
const LEAST_HEDGE_MS = 50;
/** A request to the same member is repeated when it takes this many times as long as usual, and this much at least. */
const OVERDUE = 3;
const LEAST_OVERDUE_MS = 5000;
const LOOK_AGAIN_MS = 100;
/** Before a busy service of a fixed number of requests is asked again. */
const BUSY_MS = 250;

/**
 * Deals windows out to members of any speed. One list of shards, in order; whoever has room takes the next windows.
 * What fails goes back to the head of the list. When nothing is left to begin, those that are idle try what others have
 * not answered yet, and the first answer counts. Never is more than a bounded number of windows beyond the oldest
 * unfinished shard begun, so that what the merger holds is bounded too.
 * @returns what each member did, in the order of `members`
 * @throws what the last member was expelled for when none is left; what `next` and `deliver` throw; the signal's reason
 */
export function runFleet<S, R>(options: FleetOptions<S, R>): Promise<MemberReport[]> {
  const { clock, quantum, random, totalWindows } = options;
  const workers: Worker[] = options.members.map((member) => ({
    member,
    report: { windows: 0, wastedWindows: 0, requests: 0, hedges: 0, errors: {} },
    limit: new LaneLimit(member.lanes),
    breaker: new Breaker(),
    windowsPerRequest: member.windowsPerRequest,
    active: 0,
    msPerWindow: undefined,
    live: true,
  }));
  /** Not begun, by shard and window. */
  const pending: Range<S>[] = [];
  /** Shards that are not finished, oldest first. */
  const opened: Open<S>[] = [];
  const attempts = new Set<Attempt<S>>();
  let pendingWindows = 0;
  let readWindows = 0;
  let doneWindows = 0;
  let orders = 0;
  let largestShard = 0;
  let reading = false;
  let exhausted = false;
  /** What has to come to an end before the job does: reading, and handing over results. */
  const loose = new Set<Promise<void>>();
  let ended = false;
  let sleep: (() => void) | undefined;
  let lastError: unknown;
  let resolve!: (reports: MemberReport[]) => void;
  let reject!: (error: unknown) => void;
  const result = new Promise<MemberReport[]>((yes, no) => {
    resolve = yes;
    reject = no;
  });

  const fail = (error: unknown) => {
    if (ended) return;
    ended = true;
    sleep?.();
    options.signal.removeEventListener("abort", aborted);
    for (const attempt of attempts) attempt.stop.abort(error);
    Promise.allSettled(loose).then(() => reject(error));
  };
  const loosely = (work: Promise<void>) => {
    const tracked: Promise<void> = work.catch(fail).finally(() => {
      loose.delete(tracked);
      pump();
    });
    loose.add(tracked);
  };
  const aborted = () => fail(options.signal.reason);
  if (options.signal.aborted) fail(options.signal.reason);
  options.signal.addEventListener("abort", aborted, { once: true });

  const lanesOf = (worker: Worker) => worker.breaker.allows(worker.limit.value);
  const capacity = () => workers.reduce((n, w) => n + (w.live ? w.limit.value * w.windowsPerRequest : 0), 0);

  function read(): void {
    if (reading || exhausted) return;
    const wanted = workers.reduce((n, w) => n + (w.live ? w.windowsPerRequest : 0), 0);
    if (pendingWindows >= Math.max(wanted, largestShard)) return;
    const span = readWindows - (opened[0]?.before ?? readWindows);
    if (span > SPAN * capacity() + SPARE_WINDOWS + largestShard) return;
    reading = true;
    loosely(
      options.next().then((next) => {
        reading = false;
        if (!next) exhausted = true;
        else add(next.shard, next.windows);
      }),
    );
  }

  function add(shard: S, windows: number): void {
    const open: Open<S> = {
      shard,
      windows,
      order: orders++,
      before: readWindows,
      done: new Uint8Array(windows),
      running: new Uint8Array(windows),
      left: windows,
    };
    readWindows += windows;
    largestShard = Math.max(largestShard, windows);
    opened.push(open);
    pending.push({ open, from: 0, to: windows });
    pendingWindows += windows;
  }

  /** Windows for one request: fewer towards the end, so that none is left waiting for a long one. */
  function size(worker: Worker): number {
    const rate = workers.reduce(
      (sum, w) => sum + (w.live && w.msPerWindow ? lanesOf(w) / w.msPerWindow : 0),
      0,
    );
    const left = totalWindows - doneWindows;
    // Before anything is known, short requests find out.
    const share =
      worker.msPerWindow === undefined
        ? worker.windowsPerRequest / 4
        : ((left / rate) * TAIL_SHARE) / worker.msPerWindow;
    const windows = Math.max(1, Math.min(worker.windowsPerRequest, Math.floor(share)));
    return Math.max(1, Math.floor(windows / quantum)) * quantum;
  }

  function take(worker: Worker): Range<S> | undefined {
    const range = pending[0];
    if (!range) return undefined;
    const { open, from } = range;
    const to = Math.min(range.to, from + size(worker));
    range.from = to;
    if (range.from >= range.to) pending.shift();
    pendingWindows -= to - from;
    return { open, from, to };
  }

  /** The part of another's request that this worker would finish first, of the one that has longest to go. */
  function hedge(worker: Worker): Range<S> | undefined {
    const now = clock.now();
    const alone = workers.filter((w) => w.live).length === 1;
    let best: Range<S> | undefined;
    let longest = 0;
    for (const attempt of attempts) {
      const { open } = attempt;
      const usual = (attempt.worker.msPerWindow ?? 0) * (attempt.to - attempt.from);
      const age = now - attempt.startedAt;
      const overdue = age >= Math.max(LEAST_OVERDUE_MS, OVERDUE * usual);
      // Asking the same one again is for those who have no other to ask.
      if (attempt.worker === worker && !(alone && overdue && worker.member.timeoutMs !== undefined)) continue;
      let from = attempt.from;
      // One second attempt is enough, unless it hangs too.
      const most = overdue && !alone ? 2 : 1;
      const free = (i: number) =>
        open.done[i] === 0 && open.running[i]! <= most && (alone || !asks(worker, open, i));
      while (from < attempt.to && !free(from)) from += quantum;
      if (from >= attempt.to) continue;
      let to = from;
      const end = Math.min(attempt.to, from + size(worker));
      while (to < end && free(to)) to++;
      // A request that takes longer than usual is expected to take as long again.
      const remaining = age < usual ? usual - age : age;
      const mine = (worker.msPerWindow ?? attempt.worker.msPerWindow ?? 0) * (to - from);
      if (remaining < LEAST_HEDGE_MS || remaining < 1.2 * mine || remaining <= longest) continue;
      longest = remaining;
      best = { open, from, to };
    }
    return best;
  }

  function asks(worker: Worker, open: Open<S>, i: number): boolean {
    for (const a of attempts)
      if (a.worker === worker && a.open === open && a.from <= i && i < a.to) return true;
    return false;
  }

  function begin(worker: Worker, range: Range<S>, isHedge: boolean): void {
    const attempt: Attempt<S> = {
      ...range,
      worker,
      startedAt: clock.now(),
      stop: new AbortController(),
      needless: false,
    };
    const { open, from, to } = range;
    for (let i = from; i < to; i++) open.running[i]!++;
    worker.active++;
    worker.report.requests++;
    if (isHedge) worker.report.hedges++;
    attempts.add(attempt);
    const { timeoutMs } = worker.member;
    const wake =
      timeoutMs === undefined
        ? () => {}
        : clock.after(timeoutMs, () =>
            attempt.stop.abort(new DOMException("no answer came in time", "TimeoutError")),
          );
    const over = () => {
      wake();
      attempts.delete(attempt);
      for (let i = from; i < to; i++) open.running[i]!--;
    };
    // Its own, and not one made of several: those that listen to what is made of a signal that lives as long as the job are
    // kept as long, with all that they hold.
    const { signal } = attempt.stop;
    // Begun from the event loop: a member that computes on this very thread would otherwise let no answer of others come in.
    const running = new Promise<void>((go) => clock.after(0, go)).then(() =>
      options.run(worker.member, { shard: open.shard, from, to }, signal),
    );
    Promise.race([running, rejection(signal)])
      .then(
        (results) => {
          over();
          if (!ended) succeeded(attempt, results);
        },
        (error) => {
          over();
          worker.active--;
          if (!ended) failed(attempt, error);
        },
      )
      .catch(fail);
  }

  function succeeded(attempt: Attempt<S>, results: readonly R[]): void {
    const { worker, open, from, to, startedAt } = attempt;
    const perWindow = (clock.now() - startedAt) / (to - from);
    worker.msPerWindow =
      worker.msPerWindow === undefined ? perWindow : worker.msPerWindow * (1 - NEWEST) + perWindow * NEWEST;
    worker.breaker.succeeded();
    worker.limit.succeeded(worker.active);
    const fresh: R[] = [];
    for (let i = from; i < to; i++) {
      if (open.done[i] !== 0) continue;
      open.done[i] = 1;
      open.left--;
      fresh.push(results[i - from]!);
    }
    worker.report.windows += fresh.length;
    worker.report.wastedWindows += to - from - fresh.length;
    doneWindows += fresh.length;
    if (open.left === 0) {
      for (let i = opened.length - 1; i >= 0; i--) if (opened[i]!.left === 0) opened.splice(i, 1);
    }
    for (const other of attempts) {
      if (other.open === open && isDone(other)) {
        other.needless = true;
        other.stop.abort(new DOMException("another was first", "AbortError"));
      }
    }
    // The lane stays taken until its results are: results that nobody has time for must not pile up.
    loosely(
      options.deliver(fresh).finally(() => {
        worker.active--;
      }),
    );
    pump();
  }

  function failed(attempt: Attempt<S>, error: unknown): void {
    const { worker, startedAt, needless } = attempt;
    giveBack(attempt);
    if (!needless) {
      const timedOut = attempt.stop.signal.aborted ? attempt.stop.signal.reason : error;
      const verdict = options.verdictOf(timedOut, attempt.to - attempt.from);
      const { errors } = worker.report;
      errors[verdict.code] = (errors[verdict.code] ?? 0) + 1;
      lastError = timedOut;
      if (verdict.kind === "expel") expel(worker, timedOut);
      else if (verdict.kind === "smaller") {
        worker.windowsPerRequest = Math.max(1, Math.floor((attempt.to - attempt.from) / 2));
      } else {
        const now = clock.now();
        if (verdict.kind === "busy") worker.limit.refused(worker.active + 1);
        if (verdict.kind === "busy" && worker.active > 0) {
          // It is at work. Where fewer requests are now allowed, that is answer enough.
          if (worker.active < worker.limit.value) worker.breaker.rest(now, verdict.retryAfterMs ?? BUSY_MS);
        } else if (worker.breaker.failed(now, startedAt, random(), verdict.retryAfterMs)) {
          expel(worker, timedOut);
        }
      }
    }
    pump();
  }

  function isDone({ open, from, to }: Range<S>): boolean {
    for (let i = from; i < to; i++) if (open.done[i] === 0) return false;
    return true;
  }

  /** What of a failed request nobody else is at goes back to the head of the list. */
  function giveBack({ open, from, to }: Range<S>): void {
    const free = (i: number) => open.done[i] === 0 && open.running[i] === 0;
    for (let i = from; i < to; ) {
      if (!free(i)) {
        i++;
        continue;
      }
      let end = i;
      while (end < to && free(end)) end++;
      const at = pending.findIndex(
        (r) => r.open.order > open.order || (r.open.order === open.order && r.from >= end),
      );
      pending.splice(at < 0 ? pending.length : at, 0, { open, from: i, to: end });
      pendingWindows += end - i;
      i = end;
    }
  }

  function expel(worker: Worker, error: unknown): void {
    if (!worker.live) return;
    worker.live = false;
    worker.report.expelled = (error as Error)?.message ?? String(error);
    for (const attempt of attempts) {
      if (attempt.worker !== worker) continue;
      attempt.needless = true;
      attempt.stop.abort(error);
    }
    options.onExpelled?.(worker.member, error);
  }

  function pump(): void {
    if (ended) return;
    sleep?.();
    sleep = undefined;
    if (exhausted && opened.length === 0 && loose.size === 0) {
      ended = true;
      options.signal.removeEventListener("abort", aborted);
      resolve(workers.map((w) => w.report));
      return;
    }
    if (!workers.some((w) => w.live)) {
      fail(lastError);
      return;
    }
    read();
    const now = clock.now();
    let lookAgain = Number.POSITIVE_INFINITY;
    for (const worker of workers) {
      while (worker.live && worker.active < lanesOf(worker)) {
        const { pausedUntil } = worker.breaker;
        if (pausedUntil > now) {
          lookAgain = Math.min(lookAgain, pausedUntil - now);
          break;
        }
        const range = take(worker);
        if (range) {
          begin(worker, range, false);
          continue;
        }
        // What is about to be read is better than what another is at.
        const second = reading ? undefined : hedge(worker);
        if (!second) {
          if (attempts.size > 0) lookAgain = Math.min(lookAgain, LOOK_AGAIN_MS);
          break;
        }
        begin(worker, second, true);
      }
    }
    read();
    if (Number.isFinite(lookAgain)) sleep = clock.after(lookAgain, pump);
  }

  pump();
  return result;
}

function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
