import pLimit from "p-limit";

export interface ConcurrencyOptions {
  /** After an abort no further call starts. */
  signal?: AbortSignal;
}

/**
 * Calls `fn` for each item, at most `concurrency` calls at a time, in the order of the items.
 *
 * After the first error, or an abort, no further call starts. Running calls are awaited before the error is thrown, so
 * nothing is still running when the returned promise settles.
 * @param concurrency a positive integer, or `Infinity`
 * @returns the results in the order of the items
 * @throws the first error in time, or `signal.reason` if the abort kept a call from starting
 */
export async function mapConcurrent<T, R>(
  items: Iterable<T>,
  concurrency: number,
  fn: (item: T, index: number) => R | PromiseLike<R>,
  { signal }: ConcurrencyOptions = {},
): Promise<R[]> {
  const results: R[] = [];
  let failure: { error: unknown } | undefined;
  await pLimit(concurrency).map(items, async (item, index) => {
    if (failure) return;
    try {
      signal?.throwIfAborted();
      results[index] = await fn(item, index);
    } catch (error) {
      failure ??= { error };
    }
  });
  if (failure) throw failure.error;
  return results;
}

/** `mapConcurrent` without results. */
export async function forEachConcurrent<T>(
  items: Iterable<T>,
  concurrency: number,
  fn: (item: T, index: number) => unknown,
  options?: ConcurrencyOptions,
): Promise<void> {
  await mapConcurrent(items, concurrency, fn, options);
}
