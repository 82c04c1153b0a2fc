import * as ort from "onnxruntime-web/wasm";
import type { ModelPackage } from "../../model-package/load-package.ts";
import type { Raster, SampleArray } from "../../tiling/grid/raster.ts";
import { InferenceError } from "../errors.ts";
import { type GraphOf, segmentWindows } from "../segment-windows.ts";
import type { SegmentBatchOptions, Segmenter, SegmenterInfo } from "../segmenter.ts";
import type { WasmHeap } from "./wasm-memory.ts";
import { prepareWasmRuntime, type WasmRuntimeOptions } from "./wasm-runtime.ts";

/**
 * onnxruntime-web on one WebAssembly thread: what an edge function runs, and the same bytes anywhere. It computes on the
 * thread that calls it.
 */
export class OrtWebSegmenter implements Segmenter {
  readonly info: SegmenterInfo;
  /** Time inside `session.run` so far. */
  runMilliseconds = 0;
  readonly #session: ort.InferenceSession;
  /** The graph's bytes are not kept: the session has its own copy, and an edge function has no room for two. */
  readonly #model: GraphOf;
  readonly #heap: WasmHeap | undefined;
  /** The runtime has one session at work at a time. */
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

  /** Size of the runtime's heap in bytes, where it has a cap; it never shrinks. */
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
        // An arena keeps what it once needed; without one the heap ends at the widest operator.
        enableCpuMemArena: false,
        enableMemPattern: false,
      });
    } catch (cause) {
      throw new InferenceError(`model ${manifest.name} does not load: ${reasonOf(cause, heap)}`, { cause });
    }
    if (!session.inputNames.includes(variant.input) || !session.outputNames.includes(variant.output)) {
      throw new InferenceError(
        `the graph has inputs ${session.inputNames} and outputs ${session.outputNames}, model.json says ${variant.input} and ${variant.output}`,
      );
    }
    return new OrtWebSegmenter(session, model, heap);
  }

  segment(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<Raster<Float32Array>> {
    const mine = this.#last.then(() =>
      segmentWindows(this.#model, batch, options, (input) => this.#run(input)),
    );
    this.#last = mine.catch(() => {});
    return mine;
  }

  /** May be called again. */
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
      throw new InferenceError(`the model failed to run: ${reasonOf(cause, this.#heap)}`, { cause });
    }
    this.runMilliseconds += performance.now() - started;
    if (tensor.type !== "float32")
      throw new InferenceError(`output ${output} is ${tensor.type}, not float32`);
    return { data: tensor.data as Float32Array, shape: tensor.dims };
  }
}

/** The runtime throws numbers too when it has no memory left, even for a message. */
function reasonOf(cause: unknown, heap: WasmHeap | undefined): string {
  const reason = (cause as Error)?.message ?? "no reason was given";
  if (!heap) return reason;
  const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
  return `${reason} (its heap has ${mib(heap.byteLength)} MiB of at most ${mib(heap.maxBytes)})`;
}
