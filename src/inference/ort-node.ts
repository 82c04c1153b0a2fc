import { availableParallelism } from "node:os";
import type { ModelPackage } from "../model-package/load-package.ts";
import type { Raster, SampleArray } from "../tiling/raster.ts";
import { InferenceError } from "./errors.ts";
import { InferenceThread } from "./inference-thread.ts";
import { segmentWindows } from "./segment-windows.ts";
import type { Segmenter, SegmenterInfo, SegmentOptions } from "./segmenter.ts";

export interface OrtNodeOptions {
  /** Threads, each with a session of its own; default all the machine offers. */
  threads?: number;
}

/**
 * onnxruntime-node on the CPU: one session a thread, each computing another batch. Threads inside a run would have
 * to meet after every operator and spin while they wait; two of them made a window 1.4 times as fast, not twice.
 */
export class OrtNodeSegmenter implements Segmenter {
  readonly info: SegmenterInfo;
  /** Time inside `session.run` so far, added up over the threads. */
  runMilliseconds = 0;
  readonly #threads: readonly InferenceThread[];
  readonly #model: ModelPackage;

  private constructor(threads: readonly InferenceThread[], model: ModelPackage) {
    this.#threads = threads;
    this.#model = model;
    const { manifest, variantName } = model;
    this.info = {
      model: manifest.name,
      variant: variantName,
      runtime: `onnxruntime-node ${threads[0]!.version} cpu`,
      threads: threads.length,
      classes: manifest.classes.length,
      window: manifest.window.size,
      channels: manifest.input.channels,
    };
  }

  static async create(model: ModelPackage, options: OrtNodeOptions = {}): Promise<OrtNodeSegmenter> {
    if (model.files.length !== 1) {
      throw new InferenceError(
        `variant ${model.variantName} is a chain of ${model.files.length} files; the CPU runtime takes one file`,
      );
    }
    const count = options.threads ?? availableParallelism();
    const started = await Promise.allSettled(Array.from({ length: count }, () => startCpuThread(model)));
    const threads = started.flatMap((s) => (s.status === "fulfilled" ? [s.value] : []));
    const failed = started.find((s) => s.status === "rejected");
    if (failed) {
      await Promise.all(threads.map((thread) => thread.close()));
      throw failed.reason;
    }
    return new OrtNodeSegmenter(threads, model);
  }

  async segment(batch: Raster<SampleArray>, options: SegmentOptions): Promise<Raster<Float32Array>> {
    return segmentWindows(this.#model, batch, options, async (input) => {
      const thread = this.#threads.reduce((least, t) => (t.queued < least.queued ? t : least));
      const { data, milliseconds, shape } = await runCpuThread(thread, input, options.signal);
      this.runMilliseconds += milliseconds;
      return { data, shape };
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }
}

/** A thread with one session of the network on one CPU core. @throws {InferenceError} when the model does not load */
export async function startCpuThread(model: ModelPackage): Promise<InferenceThread> {
  const { input, output } = model.variant;
  const thread = await InferenceThread.start();
  try {
    const graph = model.files[0]!.bytes;
    await thread.open({ graph, inputs: [input], outputs: [output], provider: "cpu" });
  } catch (cause) {
    await thread.close();
    throw new InferenceError(`model ${model.manifest.name} does not load: ${(cause as Error).message}`, {
      cause,
      outOfMemory: (cause as InferenceError).outOfMemory,
    });
  }
  return thread;
}

/** Input `[N, C, ...window]` → scores `[N, K, ...window]` on a thread of `startCpuThread`. The input is taken over. */
export async function runCpuThread(
  thread: InferenceThread,
  input: Raster<Float32Array>,
  signal: AbortSignal | undefined,
): Promise<Raster<Float32Array> & { milliseconds: number }> {
  const data = input.data as Float32Array<ArrayBuffer>;
  const { results, milliseconds } = await thread.run(0, [{ data, shape: input.shape }], signal);
  const scores = results[0]!;
  if (!(scores.data instanceof Float32Array)) throw new InferenceError("the network's output is not float32");
  return { data: scores.data, shape: scores.shape, milliseconds };
}
