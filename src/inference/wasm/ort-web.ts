import * as ort from "onnxruntime-web/wasm";
import type { ModelPackage } from "../../model-package/load-package.ts";
import type { Raster, SampleArray } from "../../tiling/grid/raster.ts";
import { InferenceError } from "../errors.ts";
import { type GraphPackage, segmentWindows } from "../segment-windows.ts";
import type { SegmentBatchOptions, Segmenter, SegmenterInfo } from "../segmenter.ts";
import type { WasmHeap } from "./wasm-memory.ts";
import { prepareWasmRuntime, type WasmRuntimeOptions } from "./wasm-runtime.ts";

/**
 * onnxruntime-web on one WebAssembly thread: the runtime of edge functions, with the same bytes everywhere. It blocks the
 * calling thread.
 */
export class OrtWebSegmenter implements Segmenter {
  readonly info: SegmenterInfo;
  /** Time inside `session.run` so far. */
  runMilliseconds = 0;
  readonly #session: ort.InferenceSession;
  /** Without the bytes of the graph: the session has a copy, and an edge function has no memory for two. */
  readonly #model: GraphPackage;
  readonly #heap: WasmHeap | undefined;
  /**
   * The last run: the runtime runs one session at a time. A chain instead of `pLimit(1)`, because the requests of a Worker
   * share it, and one request must not resume a queue of others.
   */
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(session: ort.InferenceSession, model: ModelPackage, heap: WasmHeap | undefined) {
    const { manifest, variantName, variant } = model;
    this.#session = session;
    this.#model = { manifest, variant };
    this.#heap = heap;
    this.info = {
      model: manifest.name,
      variant: variantName,
      runtime: `onnxruntime-web ${ort.env.versions.web} wasm`,
      threads: 1,
      classes: manifest.classes.length,
      window: manifest.window.size,
      channels: manifest.input.channels,
    };
  }

  /** Size of the runtime's heap in bytes, if it has a limit; it never shrinks. */
  get heapBytes(): number | undefined {
    return this.#heap?.byteLength;
  }

  static async create(model: ModelPackage, options: WasmRuntimeOptions = {}): Promise<OrtWebSegmenter> {
    if (model.files.length !== 1) {
      throw new InferenceError(
        `variant ${model.variantName} is a chain of ${model.files.length} files; one was expected`,
      );
    }
    const { manifest, variant } = model;
    const heap = prepareWasmRuntime(options);
    let session: ort.InferenceSession;
    try {
      session = await ort.InferenceSession.create(model.files[0]!.bytes, {
        executionProviders: ["wasm"],
        // An arena keeps its memory; without one the heap grows only to the largest operator.
        enableCpuMemArena: false,
        enableMemPattern: false,
      });
    } catch (cause) {
      throw new InferenceError(`model ${manifest.name} does not load: ${describeError(cause, heap)}`, {
        cause,
      });
    }
    if (!session.inputNames.includes(variant.input) || !session.outputNames.includes(variant.output)) {
      throw new InferenceError(
        `the graph has inputs ${session.inputNames} and outputs ${session.outputNames}, model.json says ${variant.input} and ${variant.output}`,
      );
    }
    return new OrtWebSegmenter(session, model, heap);
  }

  segment(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<Raster<Float32Array>> {
    const run = this.#last.then(() =>
      segmentWindows(this.#model, batch, options, (input) => this.#run(input)),
    );
    this.#last = run.catch(() => {});
    return run;
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#last;
    await this.#session.release();
  }

  async #run({ data, shape }: Raster<Float32Array>): Promise<Raster<Float32Array>> {
    const { input, output } = this.#model.variant;
    const pixels = new ort.Tensor("float32", data, shape);
    const started = performance.now();
    let tensor: ort.Tensor;
    try {
      tensor = (await this.#session.run({ [input]: pixels }, [output]))[output]!;
    } catch (cause) {
      throw new InferenceError(`the model failed to run: ${describeError(cause, this.#heap)}`, { cause });
    }
    this.runMilliseconds += performance.now() - started;
    if (tensor.type !== "float32")
      throw new InferenceError(`output ${output} is ${tensor.type}, not float32`);
    return { data: tensor.data as Float32Array, shape: tensor.dims };
  }
}

/** The message of an error. Without memory the runtime throws plain numbers. */
function describeError(cause: unknown, heap: WasmHeap | undefined): string {
  const reason = (cause as Error)?.message ?? "no reason was given";
  if (!heap) return reason;
  const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
  return `${reason} (its heap has ${mib(heap.byteLength)} MiB of at most ${mib(heap.maxBytes)})`;
}
