import { StorageError } from "./errors.ts";
import type { ObjectStore } from "./object-store.ts";

export interface RetryOptions {
  /** Tries in all. */
  attempts?: number;
  /** Wait before the second try; doubled each time, with up to as much added at random. */
  firstDelayMs?: number;
  maxDelayMs?: number;
}

/**
 * The same store, trying again what failed with a retryable `StorageError`. Safe for every method: reads repeat,
 * and writes are whole or nothing. A `put` with `ifNoneMatch` that is repeated after a lost answer may find its own
 * bytes and say `false`.
 */
export function withRetry(store: ObjectStore, options: RetryOptions = {}): ObjectStore {
  const { attempts = 4, firstDelayMs = 200, maxDelayMs = 5000 } = options;

  async function retry<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await call();
      } catch (error) {
        if (attempt >= attempts || !(error instanceof StorageError) || !error.retryable) throw error;
        const delay = Math.min(maxDelayMs, firstDelayMs * 2 ** (attempt - 1));
        await pause(delay * (1 + Math.random()), signal);
      }
    }
  }

  return {
    head: (key, o) => retry(() => store.head(key, o), o?.signal),
    get: (key, o) => retry(() => store.get(key, o), o?.signal),
    getRange: (key, offset, length, o) => retry(() => store.getRange(key, offset, length, o), o?.signal),
    put: (key, bytes, o) => retry(() => store.put(key, bytes, o), o?.signal),
    // A listing that broke in the middle cannot go on where it was: it is for the caller to begin again.
    list: (prefix, o) => store.list(prefix, o),
  };
}

/** Waits, or throws the signal's reason as soon as it is aborted. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
