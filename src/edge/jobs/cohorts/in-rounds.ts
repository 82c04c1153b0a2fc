import { pause } from "../../../storage/retry.ts";

/** Pause between two rounds, in which requests that share the thread are served. */
const PAUSE_MS = 15;
/** Maximum time a round waits for its slowest call, which then counts in the next round. */
const ROUND_MS = 1000;

/**
 * One round at a time per isolate, over all cohorts. A deadline instead of a lock: a round that is cut off releases
 * nothing.
 */
let busyUntil = 0;

/**
 * Runs what `next` returns, at most `concurrency` calls at a time, with a pause after each round. Without the pauses, work
 * that never waits (storage in the same process) would block all requests until it is done. Not over p-limit for this reason.
 * @param next undefined: there is no more
 * @throws the first error, after the running calls have settled
 */
export async function runInRounds(
  next: () => (() => Promise<void>) | undefined,
  concurrency: number,
): Promise<void> {
  const active = new Set<Promise<void>>();
  let failure: { error: unknown } | undefined;
  for (;;) {
    while (Date.now() < busyUntil) await pause(PAUSE_MS);
    busyUntil = Date.now() + ROUND_MS;
    while (active.size < concurrency && !failure) {
      const work = next();
      if (!work) break;
      const running: Promise<void> = work()
        .catch((error: unknown) => {
          failure ??= { error };
        })
        .finally(() => active.delete(running));
      active.add(running);
    }
    if (active.size === 0) {
      busyUntil = 0;
      break;
    }
    await Promise.race([Promise.all(active), pause(ROUND_MS)]);
    busyUntil = 0;
    await pause(PAUSE_MS);
  }
  if (failure) throw failure.error;
}

/** Runs `work` for each item, like `runInRounds`. */
export function forEachInRounds<T>(
  items: readonly T[],
  concurrency: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let at = 0;
  return runInRounds(() => {
    const item = items[at++];
    return at > items.length ? undefined : () => work(item!);
  }, concurrency);
}
