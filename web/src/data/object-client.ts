import type { ObjectAnswers, ObjectQuery, ObjectRequest, ObjectResponse } from "./object-messages.ts";

/** The object table, read and decoded in a Web Worker. */
export class ObjectClient {
  readonly #worker: Worker;
  readonly #pending = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #next = 0;

  constructor() {
    this.#worker = new Worker(new URL("../workers/object-worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<ObjectResponse>) => {
      const call = this.#pending.get(data.id);
      this.#pending.delete(data.id);
      if (data.ok) call?.resolve(data.value);
      else call?.reject(new Error(data.message));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      for (const call of this.#pending.values())
        call.reject(new Error(`the objects cannot be read: ${event.message || "their worker stopped"}`));
      this.#pending.clear();
    };
  }

  ask<Q extends ObjectQuery>(query: Q): Promise<ObjectAnswers[Q["kind"]]> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#worker.postMessage({ ...query, id } satisfies ObjectRequest);
    });
  }

  close(): void {
    this.#worker.terminate();
    this.#pending.clear();
  }
}
