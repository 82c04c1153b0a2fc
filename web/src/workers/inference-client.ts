import { InferenceError } from "../../../src/inference/errors.ts";
import type { InferenceRequest, InferenceResponse, InferenceResult } from "../data/inference-messages.ts";

interface PendingCall {
  resolve(result: InferenceResult): void;
  reject(error: Error): void;
}

/** One worker with the model in it. Requests queue up there. */
export class InferenceClient {
  readonly #worker = new Worker(new URL("./inference-worker.ts", import.meta.url), { type: "module" });
  readonly #pending = new Map<number, PendingCall>();
  #next = 0;
  #failure: InferenceError | undefined;

  constructor() {
    this.#worker.onmessage = ({ data }: MessageEvent<InferenceResponse>) => {
      const call = this.#pending.get(data.id);
      this.#pending.delete(data.id);
      if ("result" in data) call?.resolve(data.result);
      else call?.reject(new InferenceError(data.error, { outOfMemory: data.outOfMemory }));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(new InferenceError(`the model cannot run here: ${event.message || "its worker stopped"}`));
    };
  }

  /** Requests that have no answer yet. */
  get queued(): number {
    return this.#pending.size;
  }

  /** @param transfer buffers that move to the worker */
  ask<K extends InferenceRequest["kind"]>(
    request: Extract<InferenceRequest, { kind: K }>,
    transfer: ArrayBuffer[] = [],
  ): Promise<Extract<InferenceResult, { kind: K }>> {
    if (this.#failure) return Promise.reject(this.#failure);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as PendingCall["resolve"], reject });
      this.#worker.postMessage({ id, request }, { transfer });
    });
  }

  /** Ends the worker at once; what it was asked fails. */
  close(): void {
    this.#worker.terminate();
    this.#fail(new InferenceError("the model was closed"));
  }

  #fail(error: InferenceError): void {
    this.#failure ??= error;
    for (const call of this.#pending.values()) call.reject(error);
    this.#pending.clear();
  }
}
