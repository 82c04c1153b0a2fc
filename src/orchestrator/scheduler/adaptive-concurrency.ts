/** Requests after which a limit that was met is tried again. */
const FORGET_AFTER = 50;
const MOST = 64;

/**
 * How many requests a service gets at a time: a fixed number, or found out by adding one whenever all that were allowed
 * came back well, and going one below where the service said it was busy.
 */
export class LaneLimit {
  #limit: number;
  readonly #fixed: boolean;
  #ceiling = MOST;
  #sinceCeiling = 0;
  #good = 0;

  constructor(lanes: number | "auto") {
    this.#fixed = lanes !== "auto";
    this.#limit = lanes === "auto" ? 2 : lanes;
  }

  get value(): number {
    return this.#limit;
  }

  /** A request came back well while `active` were under way, itself included. */
  succeeded(active: number): void {
    if (this.#fixed) return;
    if (++this.#sinceCeiling > FORGET_AFTER) this.#ceiling = MOST;
    if (active < this.#limit) return;
    if (++this.#good < this.#limit || this.#limit >= this.#ceiling) return;
    this.#limit++;
    this.#good = 0;
  }

  /** The service had no room for one of `active`. */
  refused(active: number): void {
    if (this.#fixed) return;
    this.#limit = Math.max(1, Math.min(this.#limit, active - 1));
    this.#ceiling = this.#limit;
    this.#sinceCeiling = 0;
    this.#good = 0;
  }
}
