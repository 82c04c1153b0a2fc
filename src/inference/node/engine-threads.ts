import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { ModelPackage } from "../../model-package/load-package.ts";
import type { Kernels } from "../engine/engine.ts";
import {
  EnginePool,
  type EngineWorker,
  type WindowRequest,
  type WindowResult,
} from "../engine/engine-pool.ts";
import { describeEngine } from "../engine/engine-segmenter.ts";
import { type PlannedModel, planModel } from "../engine/window-runner.ts";
import { InferenceError } from "../errors.ts";
import type { EngineRequest, EngineResponse, EngineWorkerData } from "./engine-worker.ts";

class EngineThread implements EngineWorker {
  readonly arithmetic: string;
  readonly #worker: Worker;
  readonly #waiting = new Map<
    number,
    { resolve: (result: WindowResult) => void; reject: (error: unknown) => void }
  >();
  #next = 0;
  #failure: Error | undefined;

  private constructor(worker: Worker, arithmetic: string) {
    this.#worker = worker;
    this.arithmetic = arithmetic;
    worker.on("message", (response: EngineResponse) => {
      if ("ready" in response) return;
      const waiting = this.#waiting.get(response.id);
      this.#waiting.delete(response.id);
      if ("error" in response) {
        waiting?.reject(new InferenceError(response.error, { outOfMemory: response.outOfMemory }));
      } else waiting?.resolve(response);
    });
    worker.on("error", (cause) => this.#fail(new InferenceError("the engine's thread failed", { cause })));
    worker.on("exit", (code) =>
      this.#fail(new InferenceError(`the engine's thread ended with code ${code}`)),
    );
  }

  static async start(data: EngineWorkerData): Promise<EngineThread> {
    // Same extension as this file: .ts from the sources, .js from the build.
    const here = import.meta.url;
    const script = new URL(`./engine-worker.${here.slice(here.lastIndexOf(".") + 1)}`, here);
    const worker = new Worker(script, { workerData: data });
    const arithmetic = await new Promise<string>((resolve, reject) => {
      const failed = (cause: unknown) =>
        reject(new InferenceError(`the engine does not start: ${(cause as Error).message}`, { cause }));
      worker.once("error", failed);
      worker.once("message", (ready: { ready: string }) => {
        worker.off("error", failed);
        resolve(ready.ready);
      });
    });
    return new EngineThread(worker, arithmetic);
  }

  get queued(): number {
    return this.#waiting.size;
  }

  run(request: WindowRequest, signal?: AbortSignal): Promise<WindowResult> {
    if (this.#failure) return Promise.reject(this.#failure);
    const id = this.#next++;
    return new Promise<WindowResult>((resolve, reject) => {
      // A started run cannot be cancelled: an abort only stops waiting for it.
      const onAbort = () => {
        this.#waiting.delete(id);
        reject(signal!.reason);
      };
      const settled =
        <T>(settle: (value: T) => void) =>
        (value: T) => {
          signal?.removeEventListener("abort", onAbort);
          settle(value);
        };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiting.set(id, { resolve: settled(resolve), reject: settled(reject) });
      this.#worker.postMessage({ id, ...request } satisfies EngineRequest, [
        request.pixels.buffer as ArrayBuffer,
      ]);
    });
  }

  /** Awaits the queued windows. */
  async close(): Promise<void> {
    if (this.#failure) return;
    const exited = new Promise<void>((resolve) => this.#worker.once("exit", () => resolve()));
    this.#worker.postMessage(undefined);
    await exited;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/**
 * The model in worker threads.
 * @param options.threads default one for each core
 * @throws {PlanError} if the engine does not have what the network asks for
 */
export async function openEngineThreads(
  model: ModelPackage,
  kernels: Kernels,
  options: { threads?: number } = {},
): Promise<EnginePool> {
  const planned: PlannedModel = planModel(model);
  const count = options.threads ?? availableParallelism();
  const started = await Promise.allSettled(
    Array.from({ length: count }, () => EngineThread.start({ model: planned, kernels })),
  );
  const threads = started.flatMap((s) => (s.status === "fulfilled" ? [s.value] : []));
  const failed = started.find((s) => s.status === "rejected");
  if (failed) {
    await Promise.all(threads.map((thread) => thread.close()));
    throw failed.reason;
  }
  return new EnginePool(threads, describeEngine(model, threads[0]!.arithmetic, threads.length));
}
