import type { Clock } from "../../../src/orchestrator/scheduler/clock.ts";

/** Time that passes when everybody waits: hours of schedule in milliseconds of test. */
export class VirtualClock implements Clock {
  #now = 0;
  #next = 0;
  readonly #timers = new Map<number, { at: number; then: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, then: () => void): () => void {
    const id = this.#next++;
    this.#timers.set(id, { at: this.#now + ms, then });
    return () => void this.#timers.delete(id);
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Lets time pass until `work` is settled. @throws when nothing is left to wait for, or it takes `limitMs` and more */
  async run<T>(work: Promise<T>, limitMs = 1e9): Promise<T> {
    let settled = false;
    const over = work.then(
      () => {
        settled = true;
      },
      () => {
        settled = true;
      },
    );
    while (true) {
      // Promises first: a macrotask later whatever was ready has run.
      await new Promise((resolve) => setImmediate(resolve));
      if (settled) break;
      const [id, timer] = [...this.#timers].reduce<[number, { at: number; then: () => void } | undefined]>(
        (least, [i, t]) => (least[1] === undefined || t.at < least[1].at ? [i, t] : least),
        [-1, undefined],
      );
      if (!timer) throw new Error("everybody waits, and for nothing");
      if (timer.at > limitMs) throw new Error(`not done after ${limitMs} ms`);
      this.#timers.delete(id);
      this.#now = Math.max(this.#now, timer.at);
      timer.then();
    }
    await over;
    return work;
  }
}
