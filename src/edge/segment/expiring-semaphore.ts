/**
 * Places that requests of one isolate take and give back. A request whose client went away is not run to its end and
 * gives nothing back, so a place falls free by itself when it is older than any request can be.
 */
export class Leases {
  readonly #places: number;
  readonly #maxAgeMs: number;
  readonly #taken = new Map<symbol, number>();

  constructor(places: number, maxAgeMs: number) {
    this.#places = places;
    this.#maxAgeMs = maxAgeMs;
  }

  /** @returns what gives the place back, or undefined where none is free at `nowMs` */
  take(nowMs: number): (() => void) | undefined {
    for (const [lease, since] of this.#taken) if (nowMs - since >= this.#maxAgeMs) this.#taken.delete(lease);
    if (this.#taken.size >= this.#places) return undefined;
    const lease = Symbol();
    this.#taken.set(lease, nowMs);
    return () => void this.#taken.delete(lease);
  }
}
