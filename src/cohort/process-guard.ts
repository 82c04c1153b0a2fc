import { AsyncLocalStorage } from "node:async_hooks";

/** What a library threw where nobody could catch it: in a callback, or in a promise that it dropped. */
export class StrayError extends Error {
  override readonly name = "StrayError";
}

interface Work {
  stray: Promise<never>;
  fail: (error: StrayError) => void;
}

/**
 * Keeps a process alive while many pieces of work run in it, each of which may run code that throws where no caller can catch
 * it. The piece at fault fails, even where it would wait for ever; where it cannot be told, all that are at work do.
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

  /** Resolves as `work` does, and fails as soon as something stray comes of it. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const { promise: stray, reject: fail } = Promise.withResolvers<never>();
    // Heard by a race, or by nobody when the work ended first.
    stray.catch(() => undefined);
    const own = { stray, fail };
    this.#work.add(own);
    try {
      return await this.#context.run(own, () => this.race(work));
    } finally {
      this.#work.delete(own);
    }
  }

  /** A part of what `run` runs, that must not be waited for when the whole has failed. */
  race<T>(part: () => Promise<T>): Promise<T> {
    const own = this.#context.getStore();
    return own ? Promise.race([part(), own.stray]) : part();
  }

  close(): void {
    process.off("uncaughtException", this.#onStray);
    process.off("unhandledRejection", this.#onStray);
  }
}
