import type { ObjectStore } from "./object-store.ts";

/** HTTP statuses after which the same request may succeed later (RFC 9110, RFC 6585, RFC 8470). */
export const RETRYABLE_STATUS: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504, 507]);

/** Longest `Retry-After` that is waited for. */
const MAX_RETRY_AFTER_MS = 120_000;

/** An error with which the same call may succeed later. */
export interface RetryableError extends Error {
  retryable: true;
  /** Delay that the server asks for. */
  retryAfterMs?: number;
}

export interface RetryOptions {
  /** Attempts in all. */
  attempts?: number;
  /** Delay before the second attempt; doubled each time, with up to as much added at random. */
  firstDelayMs?: number;
  maxDelayMs?: number;
  signal?: AbortSignal;
  /** Called before each delay. */
  onRetry?(error: Error, delayMs: number): void;
}

/**
 * Repeats a call after errors with `retryable: true`, with exponential backoff and jitter, and not before
 * `Retry-After`.
 *
 * Written by hand: the delay of p-retry cannot follow the `Retry-After` of a response.
 * @throws the last error; an error that is not retryable; the signal's reason
 */
export async function retry<T>(call: () => Promise<T>, options: RetryOptions = {}): Promise<T> {
  const { attempts = 4, firstDelayMs = 200, maxDelayMs = 5000, signal, onRetry } = options;
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (attempt >= attempts || !isRetryable(error)) throw error;
      const { retryAfterMs = 0 } = error;
      if (retryAfterMs > MAX_RETRY_AFTER_MS) throw error;
      const backoffMs = Math.min(maxDelayMs, firstDelayMs * 2 ** (attempt - 1)) * (1 + Math.random());
      const delayMs = Math.max(retryAfterMs, backoffMs);
      onRetry?.(error, delayMs);
      await pause(delayMs, signal);
    }
  }
}

function isRetryable(error: unknown): error is RetryableError {
  return error instanceof Error && (error as Partial<RetryableError>).retryable === true;
}

/**
 * A store that retries calls. Safe for every method: reads repeat, and writes are whole or nothing. A `put` with
 * `ifNoneMatch` that is repeated after a lost response may find its own bytes and return `false`.
 */
export function withRetry(store: ObjectStore, options: RetryOptions = {}): ObjectStore {
  const callWithRetry = <T>(call: () => Promise<T>, signal?: AbortSignal) =>
    retry(call, { ...options, signal });
  return {
    head: (key, o) => callWithRetry(() => store.head(key, o), o?.signal),
    get: (key, o) => callWithRetry(() => store.get(key, o), o?.signal),
    getRange: (key, offset, length, o) =>
      callWithRetry(() => store.getRange(key, offset, length, o), o?.signal),
    put: (key, bytes, o) => callWithRetry(() => store.put(key, bytes, o), o?.signal),
    // A listing that broke cannot continue in the middle: its caller begins again.
    list: (prefix, o) => store.list(prefix, o),
  };
}

/** Milliseconds that a `Retry-After` header asks for: in seconds or as a date (RFC 9110, 10.2.3). */
export function parseRetryAfter(header: string | null | undefined, nowMs: number): number | undefined {
  if (header === null || header === undefined) return undefined;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - nowMs;
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

/** Waits. @throws the signal's reason as soon as it aborts */
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
