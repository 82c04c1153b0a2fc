import { setTimeout as sleep } from "node:timers/promises";
import { ServiceError } from "./errors.ts";

export interface BackoffOptions {
  /** Tries in all. */
  attempts?: number;
  /** Wait before the second try; doubled each time, with up to as much added at random. */
  firstDelayMs?: number;
  maxDelayMs?: number;
  signal?: AbortSignal;
  /** Told before each wait. */
  onRetry?: (error: ServiceError, delayMs: number) => void;
}

/** A service that asks for more patience than this is given up. */
const MAX_RETRY_AFTER_MS = 120_000;

/** Tries again what may succeed later, and waits at least as long as the service asks for. */
export async function withBackoff<T>(call: () => Promise<T>, options: BackoffOptions = {}): Promise<T> {
  const { attempts = 8, firstDelayMs = 500, maxDelayMs = 20_000, signal, onRetry } = options;
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (attempt >= attempts || !(error instanceof ServiceError) || !error.retryable) throw error;
      const asked = error.retryAfterMs ?? 0;
      if (asked > MAX_RETRY_AFTER_MS) throw error;
      const delay = Math.min(maxDelayMs, firstDelayMs * 2 ** (attempt - 1)) * (1 + Math.random());
      const delayMs = Math.max(asked, delay);
      onRetry?.(error, delayMs);
      await pause(delayMs, signal);
    }
  }
}

/** Rejects with the signal's own reason. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, { signal }).catch((error) => {
    throw signal?.aborted ? signal.reason : error;
  });
}

/** `Retry-After`, in seconds or as a date (RFC 9110, 10.2.3). */
export function retryAfterMs(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - nowMs;
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}
