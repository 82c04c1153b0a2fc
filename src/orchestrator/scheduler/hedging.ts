import type { OpenRange, OpenShard } from "./shard-backlog.ts";

/** A hedged request must be expected to save at least this much. */
const MIN_SAVING_MS = 50;
/** A request is overdue after this multiple of its usual time, and not before `MIN_OVERDUE_MS`. */
const OVERDUE_FACTOR = 3;
const MIN_OVERDUE_MS = 5000;
/** The hedged request must be expected to end this much earlier than the original. */
const SPEED_MARGIN = 1.2;

interface Speed {
  /** Milliseconds a window; undefined before the first response. */
  readonly msPerWindow: number | undefined;
}

/** A request in flight. */
export interface HedgeCandidate<S, W extends Speed> extends OpenRange<S> {
  worker: W;
  startedAt: number;
}

export interface HedgePolicy<W extends Speed> {
  /** The idle backend. */
  worker: W;
  /** Whether no other backend is enabled: the backend may then repeat its own overdue requests. */
  isOnly: boolean;
  /** Whether requests of the backend can get lost. */
  canTimeOut: boolean;
  maxWindows: number;
  batchSize: number;
  now: number;
}

/**
 * The windows that an idle backend should request although another request for them is in flight (a hedged request):
 * part of the request that has the longest to go, if the idle backend is expected to end earlier.
 * @returns undefined if no hedged request would help
 */
export function chooseHedge<S, W extends Speed>(
  attempts: Iterable<HedgeCandidate<S, W>>,
  { worker, isOnly, canTimeOut, maxWindows, batchSize, now }: HedgePolicy<W>,
): OpenRange<S> | undefined {
  const all = [...attempts];
  const isOwn = (open: OpenShard<S>, i: number) =>
    all.some((a) => a.worker === worker && a.open === open && a.from <= i && i < a.to);
  let best: OpenRange<S> | undefined;
  let longest = 0;
  for (const attempt of all) {
    const { open } = attempt;
    const usualMs = (attempt.worker.msPerWindow ?? 0) * (attempt.to - attempt.from);
    const ageMs = now - attempt.startedAt;
    const isOverdue = ageMs >= Math.max(MIN_OVERDUE_MS, OVERDUE_FACTOR * usualMs);
    if (attempt.worker === worker && !(isOnly && isOverdue && canTimeOut)) continue;
    // One hedged request a window, and another one if it is overdue too.
    const maxInFlight = isOverdue && !isOnly ? 2 : 1;
    const isFree = (i: number) =>
      open.done[i] === 0 && open.inFlight[i]! <= maxInFlight && (isOnly || !isOwn(open, i));
    let { from } = attempt;
    while (from < attempt.to && !isFree(from)) from += batchSize;
    if (from >= attempt.to) continue;
    let to = from;
    const end = Math.min(attempt.to, from + maxWindows);
    while (to < end && isFree(to)) to++;
    // A request that exceeds its usual time is expected to take as long again.
    const remainingMs = ageMs < usualMs ? usualMs - ageMs : ageMs;
    const hedgeMs = (worker.msPerWindow ?? attempt.worker.msPerWindow ?? 0) * (to - from);
    if (remainingMs < MIN_SAVING_MS || remainingMs < SPEED_MARGIN * hedgeMs || remainingMs <= longest)
      continue;
    longest = remainingMs;
    best = { open, from, to };
  }
  return best;
}
