import type { IncomingMessage } from "node:http";
import { RunnerError } from "./errors.ts";

/** Bodies on their way in: they take memory by the bytes that are here, and no place before they are whole. */
export class Receiving {
  readonly #most: number;
  #held = 0;
  #count = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get bytes(): number {
    return this.#held;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * A body as it comes in. Where all that are on their way hold too much, the rest of this one is read and dropped.
   * @throws {RunnerError} busy
   */
  async *chunks(incoming: IncomingMessage): AsyncGenerator<Uint8Array> {
    let mine = 0;
    this.#count++;
    try {
      for await (const chunk of incoming.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
        if (this.#held + chunk.length > this.#most) {
          throw new RunnerError(
            "busy",
            `${this.#held} bytes of requests are on their way in; try again soon`,
          );
        }
        mine += chunk.length;
        this.#held += chunk.length;
        yield chunk;
      }
    } finally {
      this.#held -= mine;
      this.#count--;
      incoming.resume();
    }
  }
}
