import type { ModelPackage } from "../../model-package/load-package.ts";
import { product, type Raster, type SampleArray } from "../../tiling/grid/raster.ts";
import { decodeProbabilitiesInto, type MaskRecord } from "../../tiling/wire/mask-record.ts";
import { InferenceError } from "../errors.ts";
import type { EncodedWindows, SegmentBatchOptions, Segmenter, SegmenterInfo } from "../segmenter.ts";
import type { Kernels } from "./engine.ts";
import { planModel, WindowRunner } from "./window-runner.ts";

/** Runs one window, here or in another thread: its probabilities, and for u8 its labels. */
export type RunWindow = (
  pixels: SampleArray,
  channels: number,
  options: SegmentBatchOptions,
) => Promise<{ data: MaskRecord["data"]; labels?: Uint8Array }>;

export const ENGINE_NAME = "tilewright-engine";

/** What segmenters on the engine share: windows of a batch, one by one. */
export async function segmentEach(
  info: SegmenterInfo,
  batch: Raster<SampleArray>,
  options: SegmentBatchOptions,
  run: RunWindow,
): Promise<EncodedWindows> {
  const [windows, ...shape] = batch.shape as [number, ...number[]];
  const channels = shape.at(-1)!;
  const spatial = shape.slice(0, -1);
  if (spatial.join() !== info.window.join()) {
    throw new InferenceError(`windows are ${spatial.join("×")}, the model takes ${info.window.join("×")}`);
  }
  const samples = product(shape);
  const results = await Promise.all(
    Array.from({ length: windows }, (_, n) => {
      options.signal?.throwIfAborted();
      const pixels = batch.data.subarray(n * samples, (n + 1) * samples) as SampleArray;
      return run(pixels, channels, options);
    }),
  );
  const labels = results.flatMap((result) => (result.labels ? [result.labels] : []));
  return {
    shape: [info.classes, ...info.window],
    data: results.map(({ data }) => data),
    labels: options.labels && labels.length === windows ? labels : undefined,
  };
}

/** `EncodedWindows` of precision u8 or f32 as one array of floats. */
export function decodeWindows(
  { data, shape }: EncodedWindows,
  precision: "u8" | "f32",
): Raster<Float32Array> {
  const size = product(shape);
  const out = new Float32Array(data.length * size);
  for (const [n, one] of data.entries()) decodeProbabilitiesInto({ precision, data: one }, out, n * size);
  return { data: out, shape: [data.length, ...shape] };
}

export function describeEngine(
  { manifest, variantName }: ModelPackage,
  arithmetic: string,
  threads: number,
): SegmenterInfo {
  return {
    model: manifest.name,
    variant: variantName,
    runtime: `${ENGINE_NAME} wasm (${arithmetic})`,
    threads,
    classes: manifest.classes.length,
    window: manifest.window.size,
    channels: manifest.input.channels,
  };
}

/** Tilewright's engine on the calling thread, which it blocks: the runtime of edge functions and browsers. */
export class EngineSegmenter implements Segmenter {
  readonly info: SegmenterInfo;
  readonly #runner: WindowRunner;

  private constructor(runner: WindowRunner, model: ModelPackage) {
    this.#runner = runner;
    this.info = describeEngine(model, runner.arithmetic, 1);
  }

  /** @throws {PlanError} if the engine does not have what the network asks for */
  static async create(model: ModelPackage, kernels: Kernels, maxBytes?: number): Promise<EngineSegmenter> {
    return new EngineSegmenter(await WindowRunner.create(planModel(model), kernels, maxBytes), model);
  }

  get runMilliseconds(): number {
    return this.#runner.runMilliseconds;
  }

  /** Of the linear memory in bytes; it never grows. */
  get heapBytes(): number {
    return this.#runner.byteLength;
  }

  async segment(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<Raster<Float32Array>> {
    return decodeWindows(await this.segmentEncoded(batch, { ...options, precision: "f32" }), "f32");
  }

  segmentEncoded(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<EncodedWindows> {
    return segmentEach(this.info, batch, options, async (pixels, channels, { scaling, precision = "f32" }) =>
      this.#runner.segment(pixels, channels, scaling, precision),
    );
  }

  async close(): Promise<void> {}
}
