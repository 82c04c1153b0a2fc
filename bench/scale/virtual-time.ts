import type { Clock } from "../../src/orchestrator/scheduler/clock.ts";

/** When the simulated days begin, in milliseconds since 1970. */
const EPOCH_MS = Date.UTC(2026, 10, 1);

interface Event {
  at: number;
  /** Events of the same time happen in the order in which they were planned. */
  order: number;
  happen: (() => void) | undefined;
}

/**
 * Time that passes from event to event. Whatever code is woken by one runs until it waits again before the next one
 * happens, so that a run with the same seed is the same run.
 */
export class VirtualTime implements Clock {
  #now = 0;
  #orders = 0;
  /** A binary heap. */
  readonly #events: Event[] = [];

  /** Milliseconds since the beginning. */
  now(): number {
    return this.#now;
  }

  after(ms: number, then: () => void): () => void {
    const event: Event = { at: this.#now + Math.max(0, ms), order: this.#orders++, happen: then };
    this.#push(event);
    return () => {
      event.happen = undefined;
    };
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /**
   * Lets time pass until `isOver` says so. `Date.now()` is that of the simulation meanwhile, for the Workers have no other clock.
   * @throws where nothing is left to happen before that, which means that something was lost; and after `limitMs`
   */
  async run(isOver: () => boolean, limitMs = Number.POSITIVE_INFINITY): Promise<void> {
    const { now } = Date;
    Date.now = () => EPOCH_MS + Math.floor(this.#now);
    try {
      while (true) {
        // A macrotask later whatever could run has run.
        await new Promise((resolve) => setImmediate(resolve));
        if (isOver()) return;
        const event = this.#pop();
        if (!event) throw new Error(`after ${this.#now / 1000} s everybody waits, and for nothing`);
        if (event.at > limitMs) throw new Error(`not over after ${limitMs / 1000} s`);
        if (!event.happen) continue;
        this.#now = event.at;
        event.happen();
      }
    } finally {
      Date.now = now;
    }
  }

  #push(event: Event): void {
    const heap = this.#events;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#events;
    const first = heap[0];
    const last = heap.pop();
    if (heap.length === 0 || !last) return first;
    let at = 0;
    while (true) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
