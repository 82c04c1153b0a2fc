import { InferenceError, isOutOfMemory } from "./errors.ts";

/**
 * Runs windows in parts of at most `most`, and in smaller ones where the device has no memory for so many.
 * @returns the most that went at a time, for the next batch
 * @throws {InferenceError} when there is no memory for one window, or for another reason
 */
export async function runWithBatchHalving(
  windows: number,
  most: number,
  run: (first: number, count: number) => Promise<void>,
): Promise<number> {
  let limit = Math.max(1, most);
  for (let first = 0; first < windows; ) {
    const count = Math.min(limit, windows - first);
    try {
      await run(first, count);
      first += count;
    } catch (cause) {
      if (!isFull(cause)) throw cause;
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

function isFull(cause: unknown): boolean {
  if (cause instanceof InferenceError) return cause.outOfMemory;
  return cause instanceof RangeError && isOutOfMemory(cause.message);
}
