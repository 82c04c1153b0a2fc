import { RunnerError } from "./errors.ts";

/** Places for requests whose bodies are whole. Who gets none is told so, and its body is dropped. */
export class AdmissionControl {
  readonly #count: number;
  #taken = 0;
  #draining = false;
  #onEmpty: (() => void) | undefined;

  constructor(count: number) {
    this.#count = count;
  }

  get taken(): number {
    return this.#taken;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** @returns what gives the place back, once however often it is called. @throws {RunnerError} busy or draining */
  take(): () => void {
    if (this.#draining) throw new RunnerError("draining", "the runner is being stopped; send this elsewhere");
    if (this.#taken >= this.#count) {
      throw new RunnerError("busy", `${this.#taken} requests are here already; try again soon`);
    }
    this.#taken++;
    let back = false;
    return () => {
      if (back) return;
      back = true;
      if (--this.#taken === 0) this.#onEmpty?.();
    };
  }

  /** From now on no place is given; settles when all that were given are back. */
  drain(): Promise<void> {
    this.#draining = true;
    return new Promise((resolve) => {
      if (this.#taken === 0) resolve();
      else this.#onEmpty = resolve;
    });
  }
}
