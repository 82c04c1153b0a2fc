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
    const started = await Promise.allSettled(
      Array.from({ length: count }, () => InferenceThread.start(model)),
    );
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
      const answer = await thread.run(input, options.signal);
      this.runMilliseconds += answer.milliseconds;
      return answer;
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }
}
