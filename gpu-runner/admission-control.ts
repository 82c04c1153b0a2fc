import { RunnerError } from "./errors.ts";

/** Limits the requests in progress, counted from the end of their body. Requests over the limit are rejected. */
export class AdmissionControl {
  readonly #limit: number;
  #inUse = 0;
  #draining = false;
  #onEmpty: (() => void) | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get inUse(): number {
    return this.#inUse;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** @returns releases the slot; further calls have no effect @throws {RunnerError} busy or draining */
  acquire(): () => void {
    if (this.#draining)
      throw new RunnerError("draining", "the runner is shutting down; send the request to another runner");
    if (this.#inUse >= this.#limit) {
      throw new RunnerError(
        "busy",
        `${this.#inUse} requests are in progress, the limit of this runner; try again soon`,
      );
    }
    this.#inUse++;
    let released = false;
    return () => {
      if (released) return;
      released = true;
      if (--this.#inUse === 0) this.#onEmpty?.();
    };
  }

  /** Rejects new requests; settles when the running ones have ended. */
  drain(): Promise<void> {
    this.#draining = true;
    return new Promise((resolve) => {
      if (this.#inUse === 0) resolve();
      else this.#onEmpty = resolve;
    });
  }
}
