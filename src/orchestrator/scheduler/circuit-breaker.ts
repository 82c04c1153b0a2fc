/** Consecutive failures after which a backend gets one request at a time. */
const PROBES_AFTER = 3;
/** Consecutive failures after which a backend is disabled: about a minute, with the pauses between them. */
const DISABLES_AFTER = 8;
const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 20_000;
/** Upper bound for Retry-After: one more request costs little, and a job must not stand still for days. */
const MAX_RETRY_AFTER_MS = 120_000;

/** "closed": requests pass. "open": no request until `retryAt`. "half-open": one request at a time probes the backend. */
export type CircuitState = "closed" | "half-open" | "open";

/**
 * Circuit breaker with exponential backoff. After three consecutive failures one request at a time probes the backend;
 * after eight `recordFailure` asks for the backend to be disabled.
 *
 * Written by hand: cockatiel and opossum read the system clock, this one runs on the scheduler's, which tests simulate.
 */
export class CircuitBreaker {
  #failures = 0;
  #retryAt = Number.NEGATIVE_INFINITY;

  /** When the next request may start, on the scheduler's clock. */
  get retryAt(): number {
    return this.#retryAt;
  }

  state(now: number): CircuitState {
    if (now < this.#retryAt) return "open";
    return this.#failures >= PROBES_AFTER ? "half-open" : "closed";
  }

  /** Requests at a time once the circuit is not open. */
  concurrencyAllowed(limit: number): number {
    return this.#failures >= PROBES_AFTER ? 1 : limit;
  }

  /** Opens the circuit for `ms` without counting a failure. */
  backOff(now: number, ms: number): void {
    this.#retryAt = Math.max(this.#retryAt, now + Math.min(ms, MAX_RETRY_AFTER_MS));
  }

  recordSuccess(): void {
    this.#failures = 0;
    this.#retryAt = Number.NEGATIVE_INFINITY;
  }

  /**
   * @param startedAt start of the request; a request from before the current pause is not counted again
   * @param random in [0, 1]; jitters half of the pause, so that clients refused together do not retry together
   * @returns whether the backend should be disabled
   */
  recordFailure(now: number, startedAt: number, random: number, retryAfterMs = 0): boolean {
    if (startedAt < this.#retryAt) return false;
    this.#failures++;
    const ms = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#failures - 1));
    this.#retryAt = now + Math.max(Math.min(retryAfterMs, MAX_RETRY_AFTER_MS), ms * (0.5 + random / 2));
    return this.#failures >= DISABLES_AFTER;
  }
}
