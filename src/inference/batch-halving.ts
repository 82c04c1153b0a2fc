import { InferenceError, isOutOfMemory } from "./errors.ts";

/**
 * Runs windows in batches of at most `maxBatch`, halving the batch whenever the device lacks memory.
 * @returns the batch size that worked, for the next call
 * @throws {InferenceError} if a single window does not fit in memory; other errors of `run`
 */
export async function runWithBatchHalving(
  windows: number,
  maxBatch: number,
  run: (first: number, count: number) => Promise<void>,
): Promise<number> {
  let limit = Math.max(1, maxBatch);
  for (let first = 0; first < windows; ) {
    const count = Math.min(limit, windows - first);
    try {
      await run(first, count);
      first += count;
    } catch (cause) {
      if (!isLackOfMemory(cause)) throw cause;
      if (count === 1) {
        throw new InferenceError(
          "the device has no memory for a single window; free some, or run the model on another provider",
          { cause, outOfMemory: true },
        );
      }
      limit = count >> 1;
    }
  }
  return limit;
}

function isLackOfMemory(cause: unknown): boolean {
  if (cause instanceof InferenceError) return cause.outOfMemory;
  return cause instanceof RangeError && isOutOfMemory(cause.message);
}
