import { availableParallelism } from "node:os";
import type { ModelPackage } from "../../model-package/load-package.ts";
import { getDType, product, type Raster, type SampleArray } from "../../tiling/grid/raster.ts";
import type { IntensityNormalization } from "../../tiling/pixels/normalize.ts";
import { decodeProbabilitiesInto, encodeProbabilities } from "../../tiling/wire/mask-record.ts";
import { InferenceError } from "../errors.ts";
import { OLDEST_OPSET, toNetwork } from "../graph/check-network.ts";
import { feedNormalization, fusePrePostForCpu, type PlainPixelType } from "../graph/fuse-pre-post.ts";
import { readOnnx } from "../graph/onnx-file.ts";
import { segmentWindows } from "../segment-windows.ts";
import type { EncodedWindows, SegmentBatchOptions, Segmenter, SegmenterInfo } from "../segmenter.ts";
import { InferenceThread } from "./inference-thread.ts";
import type { SessionOptions, ThreadTensor } from "./ort-node-worker.ts";

export interface OrtNodeOptions {
  /** Threads, each with its own session; default one for each core. */
  threads?: number;
}

/**
 * onnxruntime-node on the CPU: one single-threaded session a thread, each computing another batch. Threads inside a run
 * synchronize after every operator and spin meanwhile; two of them made a window 1.4 times as fast, not twice.
 */
export class OrtNodeSegmenter implements Segmenter {
  readonly info: SegmenterInfo;
  /** Time inside `session.run` so far, summed over the threads. */
  runMilliseconds = 0;
  readonly #threads: readonly InferenceThread[];
  readonly #model: ModelPackage;
  /** Sessions by their input: pixels of a type and number of channels (bytes out), or the network's input (scores out). */
  readonly #forms = new Map<string, Promise<Map<InferenceThread, number>>>();
  /** Whether no nodes can be added to the graph: pre- and post-processing then run here. */
  readonly #isPlain: boolean;

  private constructor(threads: readonly InferenceThread[], model: ModelPackage) {
    this.#threads = threads;
    this.#model = model;
    this.#isPlain = !canBeSurrounded(model);
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
    const started = await Promise.allSettled(Array.from({ length: count }, () => InferenceThread.start()));
    const threads = started.flatMap((s) => (s.status === "fulfilled" ? [s.value] : []));
    const failed = started.find((s) => s.status === "rejected");
    try {
      if (failed) throw failed.reason;
      const segmenter = new OrtNodeSegmenter(threads, model);
      // Errors of loading show here, with the most used form.
      if (segmenter.#makesBytes) await segmenter.#form("uint8", model.manifest.input.channels);
      else await segmenter.#scores();
      return segmenter;
    } catch (error) {
      await Promise.all(threads.map((thread) => thread.close()));
      throw error;
    }
  }

  async segment(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<Raster<Float32Array>> {
    if (options.precision === "u8" && this.#makesBytes) {
      const { data, shape } = await this.segmentEncoded(batch, options);
      const size = product(shape);
      const out = new Float32Array(data.length * size);
      data.forEach((bytes, n) => {
        decodeProbabilitiesInto({ precision: "u8", data: bytes }, out, n * size);
      });
      return { data: out, shape: [data.length, ...shape] };
    }
    const sessions = await this.#scores();
    return segmentWindows(this.#model, batch, options, async (input) => {
      const thread = this.#idlest();
      const { data, milliseconds, shape } = await runCpuThread(
        thread,
        input,
        options.signal,
        sessions.get(thread),
      );
      this.runMilliseconds += milliseconds;
      return { data, shape };
    });
  }

  /** Normalization, activation and rounding run in the graph, in the thread that computes it. */
  async segmentEncoded(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<EncodedWindows> {
    const { classes, window, channels } = this.info;
    const shape = [classes, ...window];
    const size = product(shape);
    const pixelChannels = batch.shape.at(-1)!;
    if (options.precision !== "u8" || !this.#makesBytes) {
      const { precision = "f32" } = options;
      const { data } = await this.segment(batch, options);
      const windows = Array.from({ length: batch.shape[0]! }, (_, n) =>
        encodeProbabilities(data.subarray(n * size, (n + 1) * size), precision),
      );
      return { shape, data: windows };
    }
    const spatial = batch.shape.slice(1, -1);
    if (spatial.join() !== window.join()) {
      throw new InferenceError(`windows are ${spatial.join("×")}, the model takes ${window.join("×")}`);
    }
    if (pixelChannels !== channels && pixelChannels !== 1) {
      throw new RangeError(`pixels have ${pixelChannels} channels, the model takes ${channels}`);
    }
    const pixels = plainPixels(batch.data, options.scaling);
    const form = await this.#form(getDType(pixels) as PlainPixelType, pixelChannels);
    const samples = product(batch.shape.slice(1));
    const perRun = Math.min(batch.shape[0]!, this.#model.variant.windowsPerRun ?? batch.shape[0]!);
    const labelActivation = options.labels ? this.#model.manifest.output.activation : undefined;
    const data: Uint8Array[] = [];
    const labels: Uint8Array[] = [];
    for (let first = 0; first < batch.shape[0]!; first += perRun) {
      options.signal?.throwIfAborted();
      const count = Math.min(perRun, batch.shape[0]! - first);
      // Copied, because the buffer moves to another thread.
      const part = pixels.slice(first * samples, (first + count) * samples) as ThreadTensor["data"];
      const feeds = [
        { data: part, shape: [count, ...window, pixelChannels] },
        { data: feedNormalization(options.scaling, count), shape: [count, 6, ...window.map(() => 1)] },
      ];
      const thread = this.#idlest();
      const output = [{ data: new Uint8Array(count * size), shape: [count, ...shape] }];
      const run = await thread.run(form.get(thread)!, feeds, options.signal, output, labelActivation);
      const { results, milliseconds } = run;
      this.runMilliseconds += milliseconds;
      const bytes = results[0]!.data as Uint8Array;
      for (let n = 0; n < count; n++) data.push(bytes.subarray(n * size, (n + 1) * size));
      labels.push(...(run.labels ?? []));
    }
    return { shape, data, labels: labels.length === data.length ? labels : undefined };
  }

  /** Whether NaN scores show in the sums of the classes, and nodes can be added to the graph. */
  get #makesBytes(): boolean {
    return this.#model.manifest.output.activation !== "none" && !this.#isPlain;
  }

  #idlest(): InferenceThread {
    return this.#threads.reduce((least, t) => (t.queued < least.queued ? t : least));
  }

  /** The session of each thread with the unchanged network. */
  #scores(): Promise<Map<InferenceThread, number>> {
    const { files, variant } = this.#model;
    return this.#sessions("scores", () => ({
      graph: files[0]!.bytes,
      inputs: [variant.input],
      outputs: [variant.output],
    }));
  }

  /** The session of each thread that takes such pixels and returns bytes. */
  #form(pixels: PlainPixelType, pixelChannels: number): Promise<Map<InferenceThread, number>> {
    return this.#sessions(`${pixels}×${pixelChannels}`, () => this.#makeForm(pixels, pixelChannels));
  }

  /** Opened when first needed. */
  #sessions(
    key: string,
    options: () => Omit<SessionOptions, "provider">,
  ): Promise<Map<InferenceThread, number>> {
    const known = this.#forms.get(key);
    if (known) return known;
    const made = this.#openAll(options);
    this.#forms.set(key, made);
    made.catch(() => this.#forms.delete(key));
    return made;
  }

  async #openAll(options: () => Omit<SessionOptions, "provider">): Promise<Map<InferenceThread, number>> {
    try {
      const session = options();
      const opened = await Promise.all(
        this.#threads.map((thread) => thread.open({ ...session, provider: "cpu" })),
      );
      return new Map(this.#threads.map((thread, n) => [thread, opened[n]!]));
    } catch (cause) {
      throw doesNotLoad(this.#model, cause);
    }
  }

  #makeForm(pixels: PlainPixelType, pixelChannels: number): Omit<SessionOptions, "provider"> {
    const graph = fusePrePostForCpu(this.#model.files[0]!.bytes, {
      ...toNetwork(this.#model),
      pixels,
      pixelChannels,
    });
    return { graph: graph.bytes, inputs: [graph.pixels, graph.scaling], outputs: [graph.result] };
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }
}

/** A thread with one session of the network on one CPU core. @throws {InferenceError} if the model does not load */
export async function startCpuThread(model: ModelPackage): Promise<InferenceThread> {
  const { input, output } = model.variant;
  const thread = await InferenceThread.start();
  try {
    const graph = model.files[0]!.bytes;
    await thread.open({ graph, inputs: [input], outputs: [output], provider: "cpu" });
  } catch (cause) {
    await thread.close();
    throw doesNotLoad(model, cause);
  }
  return thread;
}

function doesNotLoad({ manifest }: ModelPackage, cause: unknown): InferenceError {
  return new InferenceError(`model ${manifest.name} does not load: ${(cause as Error).message}`, {
    cause,
    outOfMemory: (cause as InferenceError).outOfMemory,
  });
}

/** Input `[N, C, ...window]` → scores `[N, K, ...window]` on a thread of `startCpuThread`. The input's buffer moves to the thread. */
export async function runCpuThread(
  thread: InferenceThread,
  input: Raster<Float32Array>,
  signal: AbortSignal | undefined,
  session = 0,
): Promise<Raster<Float32Array> & { milliseconds: number }> {
  const data = input.data as Float32Array<ArrayBuffer>;
  const { results, milliseconds } = await thread.run(session, [{ data, shape: input.shape }], signal);
  const scores = results[0]!;
  if (!(scores.data instanceof Float32Array)) throw new InferenceError("the network's output is not float32");
  return { data: scores.data, shape: scores.shape, milliseconds };
}

/** NaN counts as the lowest intensity, as in `normalizeWindows`. */
function plainPixels(data: SampleArray, { low }: IntensityNormalization): Exclude<SampleArray, Float64Array> {
  if (!(data instanceof Float32Array || data instanceof Float64Array)) return data;
  const floats = Float32Array.from(data);
  for (let i = 0; i < floats.length; i++) if (Number.isNaN(floats[i])) floats[i] = low;
  return floats;
}

/** False for damaged files, whose errors the runtime reports, and for files too old for the added operators. */
function canBeSurrounded({ files, variant }: ModelPackage): boolean {
  try {
    const { opset, inputs, outputs } = readOnnx(files[0]!.bytes);
    const named = inputs.length === 1 && inputs[0]!.name === variant.input;
    return opset >= OLDEST_OPSET && named && outputs.some(({ name }) => name === variant.output);
  } catch {
    return false;
  }
}
