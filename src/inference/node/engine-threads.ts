import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { ModelPackage } from "../../model-package/load-package.ts";
import type { Raster, SampleArray } from "../../tiling/grid/raster.ts";
import type { Kernels } from "../engine/engine.ts";
import { decodeWindows, describeEngine, segmentEach } from "../engine/engine-segmenter.ts";
import { type PlannedModel, planModel } from "../engine/window-runner.ts";
import { InferenceError } from "../errors.ts";
import type { EncodedWindows, SegmentBatchOptions, Segmenter, SegmenterInfo } from "../segmenter.ts";
import type { EngineRequest, EngineResponse, EngineWorkerData } from "./engine-worker.ts";

type Result = Extract<EngineResponse, { data: unknown }>;

/** One thread with the network in a memory of its own. Windows queue up there. */
class EngineThread {
  readonly arithmetic: string;
  readonly #worker: Worker;
  readonly #waiting = new Map<
    number,
    { resolve: (result: Result) => void; reject: (error: unknown) => void }
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

  run(request: Omit<EngineRequest, "id">, signal: AbortSignal | undefined): Promise<Result> {
    if (this.#failure) return Promise.reject(this.#failure);
    const id = this.#next++;
    return new Promise<Result>((resolve, reject) => {
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

/** Tilewright's engine in worker threads, one window each at a time. */
export class EngineThreadsSegmenter implements Segmenter {
  readonly info: SegmenterInfo;
  runMilliseconds = 0;
  readonly #threads: readonly EngineThread[];

  private constructor(threads: readonly EngineThread[], model: ModelPackage) {
    this.#threads = threads;
    this.info = describeEngine(model, threads[0]!.arithmetic, threads.length);
  }

  /**
   * @param options.threads default one for each core
   * @throws {PlanError} if the engine does not have what the network asks for
   */
  static async create(
    model: ModelPackage,
    kernels: Kernels,
    options: { threads?: number } = {},
  ): Promise<EngineThreadsSegmenter> {
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
    return new EngineThreadsSegmenter(threads, model);
  }

  async segment(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<Raster<Float32Array>> {
    const precision = options.precision === "u8" ? "u8" : "f32";
    return decodeWindows(await this.segmentEncoded(batch, { ...options, precision }), precision);
  }

  segmentEncoded(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<EncodedWindows> {
    return segmentEach(
      this.info,
      batch,
      options,
      async (pixels, channels, { scaling, precision = "f32", signal }) => {
        const thread = this.#threads.reduce((least, t) => (t.queued < least.queued ? t : least));
        // Copied, because the buffer moves to the thread.
        const request = { pixels: pixels.slice() as SampleArray, channels, scaling, precision };
        const { data, labels, milliseconds } = await thread.run(request, signal);
        this.runMilliseconds += milliseconds;
        return { data, labels };
      },
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }
}
