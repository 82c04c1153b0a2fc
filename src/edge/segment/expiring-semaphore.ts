/**
 * A semaphore whose permits expire. When a client goes away, its request may be stopped without releasing the permit, so a
 * permit older than any request can be counts as released.
 */
export class ExpiringSemaphore {
  readonly #permits: number;
  readonly #maxAgeMs: number;
  readonly #acquired = new Map<symbol, number>();

  constructor(permits: number, maxAgeMs: number) {
    this.#permits = permits;
    this.#maxAgeMs = maxAgeMs;
  }

  /** @returns the function that releases the permit; undefined where none is free at `nowMs` */
  tryAcquire(nowMs: number): (() => void) | undefined {
    for (const [permit, since] of this.#acquired) {
      if (nowMs - since >= this.#maxAgeMs) this.#acquired.delete(permit);
    }
    if (this.#acquired.size >= this.#permits) return undefined;
    const permit = Symbol();
    this.#acquired.set(permit, nowMs);
    return () => void this.#acquired.delete(permit);
  }
}
