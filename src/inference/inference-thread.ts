import { Worker } from "node:worker_threads";
import type { ModelPackage } from "../model-package/load-package.ts";
import type { Raster } from "../tiling/raster.ts";
import { InferenceError } from "./errors.ts";
import type { RunAnswer, RunRequest } from "./ort-node-worker.ts";

export type RunResult = Extract<RunAnswer, { data: unknown }>;
interface Settle {
  resolve: (answer: RunResult) => void;
  reject: (error: Error) => void;
}

/** One session in a thread of its own. Runs queue up there, so that it never waits for us. */
export class InferenceThread {
  /** Version of the runtime. */
  readonly version: string;
  readonly #worker: Worker;
  readonly #closing: Int32Array;
  readonly #waiting = new Map<number, Settle>();
  #next = 0;
  #failure: Error | undefined;

  private constructor(worker: Worker, closing: Int32Array, version: string) {
    this.#worker = worker;
    this.#closing = closing;
    this.version = version;
    worker.on("message", (answer: RunAnswer) => {
      const settle = this.#waiting.get(answer.id);
      if (!settle) return;
      this.#waiting.delete(answer.id);
      if ("error" in answer) settle.reject(new InferenceError(`the model failed to run: ${answer.error}`));
      else settle.resolve(answer);
    });
    const fail = (error: Error) => {
      this.#failure = error;
      for (const settle of this.#waiting.values()) settle.reject(error);
      this.#waiting.clear();
    };
    worker.on("error", (cause) => fail(new InferenceError("the inference thread failed", { cause })));
    worker.on("exit", (code) => fail(new InferenceError(`the inference thread ended with code ${code}`)));
  }

  static async start(model: ModelPackage): Promise<InferenceThread> {
    // Same extension as this file: .ts from the sources, .js from the build.
    const here = import.meta.url;
    const script = new URL(`./ort-node-worker.${here.slice(here.lastIndexOf(".") + 1)}`, here);
    const { input, output } = model.variant;
    const closing = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(script, {
      workerData: { closing, model: model.files[0]!.bytes, input, output },
    });
    const version = await new Promise<string>((resolve, reject) => {
      const failed = (cause: unknown) =>
        reject(
          new InferenceError(`model ${model.manifest.name} does not load: ${(cause as Error).message}`, {
            cause,
          }),
        );
      worker.once("error", failed);
      worker.once("message", (ready: string) => {
        worker.off("error", failed);
        resolve(ready);
      });
    });
    return new InferenceThread(worker, closing, version);
  }

  /** Runs that are queued or under way. */
  get queued(): number {
    return this.#waiting.size;
  }

  /** A run that has begun cannot be taken back: abort only stops the waiting. */
  run(input: Raster<Float32Array>, signal: AbortSignal | undefined): Promise<RunResult> {
    if (this.#failure) return Promise.reject(this.#failure);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.delete(id);
        reject(signal!.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      const settled = () => {
        signal?.removeEventListener("abort", onAbort);
      };
      this.#waiting.set(id, {
        resolve(answer) {
          settled();
          resolve(answer);
        },
        reject(error) {
          settled();
          reject(error);
        },
      });
      const data = input.data as Float32Array<ArrayBuffer>;
      this.#worker.postMessage({ id, data, shape: input.shape } satisfies RunRequest, [data.buffer]);
    });
  }

  /** Waits for a run that is under way; those still queued are dropped. */
  async close(): Promise<void> {
    if (this.#failure) return;
    const exited = new Promise<void>((resolve) => this.#worker.once("exit", () => resolve()));
    Atomics.store(this.#closing, 0, 1);
    this.#worker.postMessage(undefined);
    await exited;
  }
}
