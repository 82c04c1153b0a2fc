import type { IncomingMessage } from "node:http";
import { RunnerError } from "./errors.ts";

/** Limits the total bytes of bodies that are still arriving. They count as requests only once they are complete. */
export class Receiving {
  readonly #maxBytes: number;
  #held = 0;
  #count = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#held;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * The chunks of a body. If all arriving bodies together exceed the limit, the rest of this one is read and dropped.
   * @throws {RunnerError} busy
   */
  async *chunks(incoming: IncomingMessage): AsyncGenerator<Uint8Array> {
    let received = 0;
    this.#count++;
    try {
      for await (const chunk of incoming.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
        if (this.#held + chunk.length > this.#maxBytes) {
          throw new RunnerError(
            "busy",
            `${this.#held} bytes of requests are arriving, the limit is ${this.#maxBytes}; try again soon`,
          );
        }
        received += chunk.length;
        this.#held += chunk.length;
        yield chunk;
      }
    } finally {
      this.#held -= received;
      this.#count--;
      incoming.resume();
    }
  }
}
