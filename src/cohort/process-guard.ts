import { AsyncLocalStorage } from "node:async_hooks";

/** An error that a library threw where no caller can catch it: in a callback, or in a promise that it dropped. */
export class StrayError extends Error {
  override readonly name = "StrayError";
}

interface Work {
  stray: Promise<never>;
  fail: (error: StrayError) => void;
}

/**
 * Keeps the process alive when code throws where no caller can catch it. The work that threw fails, even if it would
 * otherwise never end; if the work cannot be identified, all work in progress fails.
 */
export class ProcessGuard {
  readonly #work = new Set<Work>();
  readonly #context = new AsyncLocalStorage<Work>();
  readonly #onStray: (cause: unknown) => void;

  constructor() {
    this.#onStray = (cause) => {
      const error = new StrayError("a fault outside of every call", { cause });
      const own = this.#context.getStore();
      for (const work of own ? [own] : this.#work) work.fail(error);
    };
    process.on("uncaughtException", this.#onStray);
    process.on("unhandledRejection", this.#onStray);
  }

  /** Resolves as `work` does, and fails as soon as a stray error comes from it. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const { promise: stray, reject: fail } = Promise.withResolvers<never>();
    // Handled by the race below; unobserved when the work ended first.
    stray.catch(() => undefined);
    const own = { stray, fail };
    this.#work.add(own);
    try {
      return await this.#context.run(own, () => this.race(work));
    } finally {
      this.#work.delete(own);
    }
  }

  /** Runs a part of what `run` runs, and stops waiting for it when the whole has failed. */
  race<T>(part: () => Promise<T>): Promise<T> {
    const own = this.#context.getStore();
    return own ? Promise.race([part(), own.stray]) : part();
  }

  close(): void {
    process.off("uncaughtException", this.#onStray);
    process.off("unhandledRejection", this.#onStray);
  }
}
