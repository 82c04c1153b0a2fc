import type { Faults, Platform } from "./platform.ts";
import type { Random } from "./random.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** Maximum messages of one call, and bytes of a message: limits of the platform. */
const SEND_BATCH = 100;
const MESSAGE_BYTES = 128_000;
/** Maximum delay of a duplicate delivery. */
const TWICE_WITHIN_MS = 60_000;

/** One of the concurrent consumers of a queue. */
export interface Consumer {
  /** Whether its isolate is new. */
  cold: boolean;
  /** Jobs whose plans its isolate holds, newest last. */
  jobs: string[];
}

/** A delivered message, as `consumeTask` takes it. */
export interface Delivery<T> {
  readonly body: T;
  readonly attempts: number;
  readonly consumer: Consumer;
  ack(): void;
  retry(options?: { delaySeconds: number }): void;
}

/** A queue of the platform: first in, first out, at-least-once delivery, limited consumers. */
export class ModelQueue<T> {
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #platform: Platform;
  readonly #faults: Faults;
  readonly #consume: (delivery: Delivery<T>) => void;
  readonly #giveUp: (body: T) => void;
  /** Messages that are ready, from `#head` on. */
  #ready: { body: T; attempts: number }[] = [];
  #head = 0;
  #delayed = 0;
  readonly #idle: Consumer[] = [];
  #sendFree = 0;
  #busyMs = 0;
  #busy = 0;
  #busySince = 0;
  sent = 0;
  deliveries = 0;
  retries = 0;
  mostBusy = 0;
  mostWaiting = 0;
  sendMs = 0;

  constructor(options: {
    time: VirtualTime;
    random: Random;
    platform: Platform;
    faults: Faults;
    consume: (delivery: Delivery<T>) => void;
    giveUp: (body: T) => void;
  }) {
    this.#time = options.time;
    this.#random = options.random;
    this.#platform = options.platform;
    this.#faults = options.faults;
    this.#consume = options.consume;
    this.#giveUp = options.giveUp;
  }

  get waiting(): number {
    return this.#ready.length - this.#head + this.#delayed;
  }

  /** Busy time of all consumers together. */
  get busyMs(): number {
    return this.#busyMs + this.#busy * (this.#time.now() - this.#busySince);
  }

  /** As `Queue.sendBatch`: takes as long as the rate of the queue requires. */
  async sendBatch(messages: readonly { body: T }[]): Promise<void> {
    if (messages.length > SEND_BATCH) throw new Error(`${messages.length} messages in one call`);
    if (JSON.stringify(messages[0]?.body).length > MESSAGE_BYTES) throw new Error("a message is too large");
    const takes = (1000 * messages.length) / this.#platform.sendsPerSecond;
    this.#sendFree = Math.max(this.#sendFree, this.#time.now()) + takes;
    this.sendMs += takes;
    await this.#time.wait(this.#sendFree - this.#time.now());
    if (this.#random.happens(this.#faults.refusals)) throw new Error("the queue takes nothing now");
    this.sent += messages.length;
    for (const { body } of messages) this.#ready.push({ body, attempts: 0 });
    this.#next();
  }

  #next(): void {
    this.mostWaiting = Math.max(this.mostWaiting, this.waiting);
    while (this.#head < this.#ready.length && this.#busy < this.#platform.consumersPerQueue) {
      const message = this.#ready[this.#head++]!;
      if (this.#head > 10_000 && this.#head * 2 > this.#ready.length) {
        this.#ready = this.#ready.slice(this.#head);
        this.#head = 0;
      }
      this.#count(1);
      const consumer = this.#idle.pop() ?? { cold: true, jobs: [] };
      this.#time.after(this.#platform.deliverMs, () => this.#deliver(message, consumer));
    }
  }

  #deliver({ body, attempts }: { body: T; attempts: number }, consumer: Consumer): void {
    this.deliveries++;
    let settled = false;
    const settle = (then: () => void) => {
      if (settled) throw new Error("a message was settled twice");
      settled = true;
      then();
      this.#idle.push(consumer);
      this.#count(-1);
      this.#next();
    };
    this.#consume({
      body,
      consumer,
      attempts: attempts + 1,
      ack: () =>
        settle(() => {
          if (this.#random.happens(this.#faults.duplicates)) {
            this.#later(this.#random.between(0, TWICE_WITHIN_MS), { body, attempts: 0 });
          }
        }),
      retry: ({ delaySeconds } = { delaySeconds: 0 }) =>
        settle(() => {
          this.retries++;
          if (attempts + 1 >= this.#platform.tries) this.#giveUp(body);
          else this.#later(1000 * delaySeconds, { body, attempts: attempts + 1 });
        }),
    });
  }

  #later(ms: number, message: { body: T; attempts: number }): void {
    this.#delayed++;
    this.#time.after(ms, () => {
      this.#delayed--;
      this.#ready.push(message);
      this.#next();
    });
  }

  #count(change: 1 | -1): void {
    const now = this.#time.now();
    this.#busyMs += this.#busy * (now - this.#busySince);
    this.#busySince = now;
    this.#busy += change;
    this.mostBusy = Math.max(this.mostBusy, this.#busy);
  }
}
