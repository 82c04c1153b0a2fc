/** Failures in a row after which only one request at a time finds out whether a backend is back. */
const OPENS_AT = 3;
/** Failures in a row after which a backend is given up: a minute or so, with the pauses between them. */
const GIVES_UP_AT = 8;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 20_000;
/** However long a service asks to be left alone: asking it once more costs little, and a job must not stand still for days. */
const LONGEST_RETRY_AFTER_MS = 120_000;

/** Keeps work away from a backend that fails: growing pauses, then one request at a time, then no more. */
export class Breaker {
  #failures = 0;
  #pausedUntil = Number.NEGATIVE_INFINITY;

  /** How many requests it may have at a time. */
  allows(limit: number): number {
    return this.#failures >= OPENS_AT ? 1 : limit;
  }

  /** When it may be asked again, on the scheduler's clock. */
  get pausedUntil(): number {
    return this.#pausedUntil;
  }

  /** Keeps work away for a while, without holding it against the backend. */
  rest(now: number, ms: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, now + Math.min(ms, LONGEST_RETRY_AFTER_MS));
  }

  succeeded(): void {
    this.#failures = 0;
    this.#pausedUntil = Number.NEGATIVE_INFINITY;
  }

  /**
   * @param startedAt when the request began: what began before the pause tells nothing new
   * @param random 0 to 1; half of a pause is by chance, or callers that were refused together would come again together
   * @returns whether the backend is to be given up
   */
  failed(now: number, startedAt: number, random: number, retryAfterMs = 0): boolean {
    if (startedAt < this.#pausedUntil) return false;
    this.#failures++;
    const ms = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#failures - 1));
    this.#pausedUntil =
      now + Math.max(Math.min(retryAfterMs, LONGEST_RETRY_AFTER_MS), ms * (0.5 + random / 2));
    return this.#failures >= GIVES_UP_AT;
  }
}
