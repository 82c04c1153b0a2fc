import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { ModelPackage } from "../model-package/load-package.ts";
import { activate } from "../tiling/activation.ts";
import { normaliseWindows } from "../tiling/normalise.ts";
import { product, type Raster, type SampleArray } from "../tiling/raster.ts";
import { InferenceError } from "./errors.ts";
import type { RunAnswer, RunRequest } from "./ort-node-worker.ts";
import type { Segmenter, SegmenterInfo, SegmentOptions } from "./segmenter.ts";

export interface OrtNodeOptions {
  /** Threads inside one run; default all the machine offers. */
  threads?: number;
}

type Settle = {
  resolve: (answer: Extract<RunAnswer, { data: unknown }>) => void;
  reject: (e: Error) => void;
};

/** onnxruntime-node on the CPU, in a thread of its own. Runs queue up there, so that it never waits for us. */
export class OrtNodeSegmenter implements Segmenter {
  readonly info: SegmenterInfo;
  /** Time inside `session.run` so far, for the run manifest and the bench. */
  runMilliseconds = 0;
  readonly #worker: Worker;
  readonly #closing: Int32Array;
  readonly #model: ModelPackage;
  readonly #waiting = new Map<number, Settle>();
  #next = 0;
  #failure: Error | undefined;

  private constructor(
    worker: Worker,
    closing: Int32Array,
    model: ModelPackage,
    version: string,
    threads: number,
  ) {
    this.#worker = worker;
    this.#closing = closing;
    this.#model = model;
    const { manifest, variantName } = model;
    this.info = {
      model: manifest.name,
      variant: variantName,
      runtime: `onnxruntime-node ${version} cpu`,
      threads,
      classes: manifest.classes.length,
      window: manifest.window.size,
      channels: manifest.input.channels,
    };
    worker.on("message", (answer: RunAnswer) => {
      const settle = this.#waiting.get(answer.id);
      if (!settle) return;
      this.#waiting.delete(answer.id);
      if ("error" in answer) settle.reject(new InferenceError(`the model failed to run: ${answer.error}`));
      else {
        this.runMilliseconds += answer.milliseconds;
        settle.resolve(answer);
      }
    });
    const fail = (error: Error) => {
      this.#failure = error;
      for (const settle of this.#waiting.values()) settle.reject(error);
      this.#waiting.clear();
    };
    worker.on("error", (cause) => fail(new InferenceError("the inference thread failed", { cause })));
    worker.on("exit", (code) => fail(new InferenceError(`the inference thread ended with code ${code}`)));
  }

  static async create(model: ModelPackage, options: OrtNodeOptions = {}): Promise<OrtNodeSegmenter> {
    const threads = options.threads ?? availableParallelism();
    if (model.files.length !== 1) {
      throw new InferenceError(
        `variant ${model.variantName} is a chain of ${model.files.length} files; the CPU runtime takes one file`,
      );
    }
    // Same extension as this file: .ts from the sources, .js from the build.
    const here = import.meta.url;
    const script = new URL(`./ort-node-worker.${here.slice(here.lastIndexOf(".") + 1)}`, here);
    const { input, output } = model.variant;
    const closing = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(script, {
      workerData: { closing, model: model.files[0]!.bytes, threads, input, output },
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
    return new OrtNodeSegmenter(worker, closing, model, version, threads);
  }

  async segment(batch: Raster<SampleArray>, options: SegmentOptions): Promise<Raster<Float32Array>> {
    const { manifest } = this.#model;
    const { signal, scaling } = options;
    signal?.throwIfAborted();
    if (this.#failure) throw this.#failure;
    const spatial = batch.shape.slice(1, -1);
    if (spatial.join() !== manifest.window.size.join()) {
      throw new InferenceError(
        `windows are ${spatial.join("×")}, the model takes ${manifest.window.size.join("×")}`,
      );
    }
    const input = normaliseWindows(batch, manifest.input.channels, scaling);
    const answer = await this.#run(input, signal);
    const windows = batch.shape[0]!;
    const size = product(spatial);
    const probabilities = this.#activate(answer.data, windows, size);
    const classes = manifest.classes.length;
    if (probabilities.length !== windows * classes * size) {
      throw new InferenceError(
        `the model returned ${answer.shape.join("×")}, expected ${classes} classes for ${windows} windows of ${spatial.join("×")}`,
      );
    }
    return { data: probabilities, shape: [windows, classes, ...spatial] };
  }

  #activate(scores: Float32Array, windows: number, size: number): Float32Array {
    try {
      return activate(scores, windows, size, this.#model.manifest.output.activation);
    } catch (cause) {
      throw cause instanceof RangeError ? new InferenceError(cause.message, { cause }) : cause;
    }
  }

  /** A run that has begun in the thread cannot be taken back: abort only stops the waiting. */
  #run(
    input: Raster<Float32Array>,
    signal: AbortSignal | undefined,
  ): Promise<Extract<RunAnswer, { data: unknown }>> {
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
