import type { ModelPackage } from "../../model-package/load-package.ts";
import { product, type Raster, type SampleArray } from "../../tiling/grid/raster.ts";
import type { IntensityNormalization } from "../../tiling/pixels/normalize.ts";
import { decodeProbabilities, encodeWindows } from "../../tiling/wire/mask-record.ts";
import { validateQuantizedProbabilities } from "../../tiling/wire/validate-quantized.ts";
import { runWithBatchHalving } from "../batch-halving.ts";
import { InferenceError } from "../errors.ts";
import { toNetwork } from "../graph/check-network.ts";
import {
  type DeviceGraph,
  feedNormalization,
  fusePrePostForGpu,
  type OutputType,
  type PixelType,
} from "../graph/fuse-pre-post.ts";
import type { EncodedWindows, SegmentBatchOptions, Segmenter, SegmenterInfo } from "../segmenter.ts";
import { acquireInferenceThread, type DeviceThread } from "./device-thread.ts";
import type { InferenceThread } from "./inference-thread.ts";
import type { ProviderName, ThreadTensor } from "./ort-node-worker.ts";

export interface DeviceOptions {
  provider: ProviderName;
  /** Number of the GPU, for cuda. */
  deviceId?: number;
  /** Use the half-precision companion instead of the variant's own file. */
  half?: boolean;
  /** Let the CPU run operators without a kernel of the device; default no. */
  allowCpuOperators?: boolean;
}

/** Upper bound of a batch: more pixels would not fit into a buffer of the smallest devices. */
const MOST_WINDOWS = 64;

/** Time after which a batch twice as large is tried: memory may have become free. */
const REGROW_MS = 60_000;

interface Form {
  graph: DeviceGraph;
  session: number;
}

/**
 * onnxruntime-node on a device, with pre- and post-processing inside the graph: stored pixels go in, and for precision u8
 * one byte a class and pixel comes out. A graph for each type of pixels and of result is built when it is first needed;
 * all of them share one thread.
 */
export class DeviceSegmenter implements Segmenter {
  readonly info: SegmenterInfo;
  /** Time inside `session.run` so far. */
  runMilliseconds = 0;
  readonly #thread: InferenceThread;
  readonly #release: DeviceThread["release"];
  readonly #model: ModelPackage;
  readonly #options: DeviceOptions;
  readonly #forms = new Map<string, Promise<Form>>();
  #most: number;
  #limitedAt = 0;
  #closed = false;

  private constructor({ thread, release }: DeviceThread, model: ModelPackage, options: DeviceOptions) {
    this.#thread = thread;
    this.#release = release;
    this.#model = model;
    this.#options = options;
    const { manifest, variant, variantName } = model;
    this.#most = Math.min(variant.windowsPerRun ?? MOST_WINDOWS, MOST_WINDOWS);
    const { provider, half, allowCpuOperators } = options;
    const notes = [provider, ...(half ? ["fp16"] : []), ...(allowCpuOperators ? ["with CPU operators"] : [])];
    this.info = {
      model: manifest.name,
      variant: variantName,
      runtime: `onnxruntime-node ${thread.version} ${notes.join(" ")}`,
      threads: 1,
      classes: manifest.classes.length,
      window: manifest.window.size,
      channels: manifest.input.channels,
    };
  }

  /** Opens the session for 8-bit pixels and u8 results first, so that errors show at once. @throws {InferenceError} */
  static async create(model: ModelPackage, options: DeviceOptions): Promise<DeviceSegmenter> {
    if (model.files.length !== 1) {
      throw new InferenceError(
        `variant ${model.variantName} is a chain of ${model.files.length} files; a device takes one file`,
      );
    }
    if (options.half && !model.half) {
      throw new InferenceError(
        `variant ${model.variantName} has no file in half precision; run it in float32, or write the package with one`,
      );
    }
    const segmenter = new DeviceSegmenter(await acquireInferenceThread(options.provider), model, options);
    try {
      await segmenter.#form("uint8", model.manifest.input.channels, "u8");
    } catch (cause) {
      await segmenter.close();
      throw cause;
    }
    return segmenter;
  }

  async segment(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<Raster<Float32Array>> {
    if (options.precision === "u8") {
      const { data, shape } = await this.segmentToBytes(batch, options);
      return { data: decodeProbabilities({ precision: "u8", data }), shape };
    }
    const size = product(this.info.window) * this.info.classes;
    const out = new Float32Array(batch.shape[0]! * size);
    await this.#run(batch, options, "f32", ({ data }, first) => {
      if (!(data instanceof Float32Array))
        throw new InferenceError("the device returned another type than requested");
      out.set(data, first * size);
    });
    return { data: out, shape: [batch.shape[0]!, this.info.classes, ...this.info.window] };
  }

  async segmentEncoded(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<EncodedWindows> {
    const { precision = "f32" } = options;
    if (precision !== "u8") return encodeWindows(await this.segment(batch, options), precision);
    const { data, shape } = await this.segmentToBytes(batch, options);
    const [windows, ...one] = shape as [number, ...number[]];
    const size = product(one);
    return {
      data: Array.from({ length: windows }, (_, n) => data.subarray(n * size, (n + 1) * size)),
      shape: one,
    };
  }

  /** Pixels `[N, ...window, C]` → `round(255 p)` of the class probabilities `[N, K, ...window]`. @throws {InferenceError} */
  async segmentToBytes(
    batch: Raster<SampleArray>,
    options: Omit<SegmentBatchOptions, "precision">,
  ): Promise<Raster<Uint8Array>> {
    const { classes, window } = this.info;
    const windows = batch.shape[0]!;
    const size = product(window);
    const perWindow = classes * size;
    const out = new Uint8Array(windows * perWindow);
    await this.#run(batch, options, "u8", ({ data, shape }, first) => {
      const padded = 4 * shape[1]!;
      for (let n = 0; n < shape[0]!; n++) {
        out.set(new Uint8Array(data.buffer, n * padded, perWindow), (first + n) * perWindow);
      }
    });
    try {
      validateQuantizedProbabilities(out, windows, size, this.#model.manifest.output.activation);
    } catch (cause) {
      throw cause instanceof RangeError ? new InferenceError(cause.message, { cause }) : cause;
    }
    return { data: out, shape: [windows, classes, ...window] };
  }

  /** Awaits running batches first. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const made = await Promise.allSettled(this.#forms.values());
    for (const form of made) {
      if (form.status === "fulfilled") await this.#thread.closeSession(form.value.session);
    }
    await this.#release();
  }

  async #run(
    batch: Raster<SampleArray>,
    { scaling, signal }: Omit<SegmentBatchOptions, "precision">,
    result: OutputType,
    take: (results: ThreadTensor, first: number) => void,
  ): Promise<void> {
    const { window, channels, classes } = this.info;
    const spatial = batch.shape.slice(1, -1);
    if (spatial.join() !== window.join()) {
      throw new InferenceError(`windows are ${spatial.join("×")}, the model takes ${window.join("×")}`);
    }
    const pixelChannels = batch.shape.at(-1)!;
    if (pixelChannels !== channels && pixelChannels !== 1) {
      throw new InferenceError(`pixels have ${pixelChannels} channels, the model takes ${channels}`);
    }
    if (this.#closed) throw new InferenceError("the model is closed");
    const type = choosePixelType(batch.data);
    const { graph, session } = await this.#form(type, pixelChannels, result);
    const size = product(window);
    const samples = size * pixelChannels;
    const words = result === "u8" ? [graph.resultWords] : [classes, ...window];
    if (performance.now() - this.#limitedAt > REGROW_MS) {
      this.#most = Math.min(this.#model.variant.windowsPerRun ?? MOST_WINDOWS, MOST_WINDOWS, 2 * this.#most);
      this.#limitedAt = performance.now();
    }
    const fitting = await runWithBatchHalving(batch.shape[0]!, this.#most, async (first, count) => {
      signal?.throwIfAborted();
      const part = batch.data.subarray(first * samples, (first + count) * samples) as SampleArray;
      const feeds = [
        { ...feedPixels(part, count, graph, scaling), shape: pixelShape(type, count) },
        { data: feedNormalization(scaling, count), shape: [count, 6, ...window.map(() => 1)] },
      ];
      const { results, milliseconds } = await this.#thread.run(session, feeds, signal);
      this.runMilliseconds += milliseconds;
      const [output, faults] = results as [ThreadTensor, ThreadTensor];
      if (output.shape.join() !== [count, ...words].join() || faults.shape.join() !== `${count}`) {
        throw new InferenceError(
          `the network does not return ${classes} classes for ${count} windows of ${window.join("×")}; check classes and activation in model.json`,
        );
      }
      if (!faults.data.every((f) => f === 0)) {
        throw new InferenceError(
          "the model returned a score that is not finite, or a value that is no probability",
        );
      }
      take(output, first);
    });
    if (fitting < this.#most) {
      this.#most = fitting;
      this.#limitedAt = performance.now();
    }

    function pixelShape(pixels: PixelType, count: number): number[] {
      return pixels === "float32" ? [count, ...batch.shape.slice(1)] : [count, graph.pixelWords];
    }
  }

  #form(pixels: PixelType, pixelChannels: number, result: OutputType): Promise<Form> {
    const key = `${pixels}×${pixelChannels}→${result}`;
    const known = this.#forms.get(key);
    if (known) return known;
    const made = this.#makeForm(pixels, pixelChannels, result);
    this.#forms.set(key, made);
    made.catch(() => this.#forms.delete(key));
    return made;
  }

  async #makeForm(pixels: PixelType, pixelChannels: number, result: OutputType): Promise<Form> {
    const { files, half } = this.#model;
    const { provider, deviceId, allowCpuOperators } = this.#options;
    const file = this.#options.half ? half! : files[0]!;
    const graph = fusePrePostForGpu(file.bytes, {
      ...toNetwork(this.#model),
      pixels,
      pixelChannels,
      result,
    });
    const session = await this.#thread.open({
      graph: graph.bytes,
      inputs: [graph.pixels, graph.scaling],
      outputs: [graph.result, graph.faults],
      provider,
      deviceId,
      allowCpuOperators,
    });
    return { graph: { ...graph, bytes: new Uint8Array(0) }, session };
  }
}

function choosePixelType(data: SampleArray): PixelType {
  if (data instanceof Uint8Array) return "uint8";
  return data instanceof Uint16Array ? "uint16" : "float32";
}

/** Copies the pixels, because the buffer moves to another thread: 8- and 16-bit samples packed in whole words a window. */
function feedPixels(
  data: SampleArray,
  windows: number,
  { pixelWords }: DeviceGraph,
  { low }: IntensityNormalization,
): { data: ThreadTensor["data"] } {
  if (data instanceof Uint8Array || data instanceof Uint16Array) {
    const packed = new Int32Array(windows * pixelWords);
    const perWindow = data.length / windows;
    const padded = (pixelWords * 4) / data.BYTES_PER_ELEMENT;
    const view = data instanceof Uint8Array ? new Uint8Array(packed.buffer) : new Uint16Array(packed.buffer);
    if (padded === perWindow) view.set(data);
    else {
      for (let n = 0; n < windows; n++) {
        view.set(data.subarray(n * perWindow, (n + 1) * perWindow), n * padded);
      }
    }
    return { data: packed };
  }
  const floats = Float32Array.from(data);
  // NaN counts as the lowest intensity, as in `normalizeWindows`.
  if (data instanceof Float32Array || data instanceof Float64Array) {
    for (let i = 0; i < floats.length; i++) if (Number.isNaN(floats[i])) floats[i] = low;
  }
  return { data: floats };
}
