/** Responses after which a limit that the service once refused is tried again. */
const CEILING_EXPIRES_AFTER = 50;
const MAX_CONCURRENCY = 64;

/**
 * How many requests a backend gets at a time: a fixed number, or "auto". "auto" starts at 2, adds one after a full round
 * of successes at the limit, and drops below the number in flight when the backend reports that it is busy.
 *
 * Written by hand: p-limit has a fixed limit; this one follows the backend's responses, on the scheduler's clock.
 */
export class AdaptiveConcurrencyLimit {
  #limit: number;
  readonly #fixed: boolean;
  #ceiling = MAX_CONCURRENCY;
  #successesSinceCeiling = 0;
  #successesAtLimit = 0;

  constructor(concurrency: number | "auto") {
    this.#fixed = concurrency !== "auto";
    this.#limit = concurrency === "auto" ? 2 : concurrency;
  }

  get value(): number {
    return this.#limit;
  }

  /** @param inFlight requests in flight when this one succeeded, itself included */
  recordSuccess(inFlight: number): void {
    if (this.#fixed) return;
    if (++this.#successesSinceCeiling > CEILING_EXPIRES_AFTER) this.#ceiling = MAX_CONCURRENCY;
    if (inFlight < this.#limit) return;
    if (++this.#successesAtLimit < this.#limit || this.#limit >= this.#ceiling) return;
    this.#limit++;
    this.#successesAtLimit = 0;
  }

  /** @param inFlight requests in flight when the backend refused one as busy, the refused one included */
  recordBusy(inFlight: number): void {
    if (this.#fixed) return;
    this.#limit = Math.max(1, Math.min(this.#limit, inFlight - 1));
    this.#ceiling = this.#limit;
    this.#successesSinceCeiling = 0;
    this.#successesAtLimit = 0;
  }
}
