/** Between two rounds nothing of ours is at work: where requests share the thread, theirs come in now. */
const BREATH_MS = 15;
/** A round does not wait longer for its slowest; what is left of it counts among the next. */
const ROUND_MS = 1000;

/**
 * One round at a time in an isolate, of however many cohorts. A time and no lock: who is cut off in its round gives
 * nothing back.
 */
let busyUntil = 0;

/**
 * Does what `next` hands out, `atOnce` together at most, with a breath after each round. Work that never has to wait for
 * anything, as where storage is in the same process, would else let nothing else come in until all of it is done.
 * @param next undefined: there is no more
 * @throws what the first that failed threw, when those under way are done
 */
export async function inRounds(next: () => (() => Promise<void>) | undefined, atOnce: number): Promise<void> {
  const active = new Set<Promise<void>>();
  let failure: { error: unknown } | undefined;
  for (;;) {
    while (Date.now() < busyUntil) await breath(BREATH_MS);
    busyUntil = Date.now() + ROUND_MS;
    while (active.size < atOnce && !failure) {
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
    await Promise.race([Promise.all(active), breath(ROUND_MS)]);
    busyUntil = 0;
    await breath(BREATH_MS);
  }
  if (failure) throw failure.error;
}

/** `work` for each. */
export function eachInRounds<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let at = 0;
  return inRounds(() => {
    const item = items[at++];
    return at > items.length ? undefined : () => work(item!);
  }, atOnce);
}

function breath(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
