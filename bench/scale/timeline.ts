import type { VirtualTime } from "./virtual-time.ts";

export interface TimelinePoint {
  seconds: number;
  /** Windows whose records are there, ledger rows and R2 operations since the beginning. */
  windows: number;
  rows: number;
  r2: number;
  /** Shards on queues. */
  waiting: number;
}

const MOST_POINTS = 400;
const FIRST_MS = 5000;

/** Looks at a simulation again and again: every few seconds at first, then ever less often, so that its length does not matter. */
export class Timeline {
  points: TimelinePoint[] = [];
  readonly #time: VirtualTime;
  readonly #look: () => Omit<TimelinePoint, "seconds">;
  #every = FIRST_MS;
  #stop: () => void = () => {};

  constructor(time: VirtualTime, look: () => Omit<TimelinePoint, "seconds">) {
    this.#time = time;
    this.#look = look;
    this.#wait();
  }

  stop(): void {
    this.#stop();
    this.points.push(this.#point());
  }

  #wait(): void {
    this.#stop = this.#time.after(this.#every, () => {
      this.points.push(this.#point());
      if (this.points.length === MOST_POINTS) {
        this.points = this.points.filter((_, n) => n % 2 === 1);
        this.#every *= 2;
      }
      this.#wait();
    });
  }

  #point(): TimelinePoint {
    return { seconds: this.#time.now() / 1000, ...this.#look() };
  }
}
