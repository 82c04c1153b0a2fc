import type { ModelPackage } from "../../model-package/load-package.ts";
import { product, type SampleArray } from "../../tiling/grid/raster.ts";
import { activate } from "../../tiling/pixels/activation.ts";
import { type IntensityNormalization, normalizeChannelsLast } from "../../tiling/pixels/normalize.ts";
import { encodeProbabilities, type MaskRecord, type Precision } from "../../tiling/wire/mask-record.ts";
import { InferenceError } from "../errors.ts";
import type { GraphPackage } from "../segment-windows.ts";
import { Engine, type Kernels, type Plan, planGraph } from "./engine.ts";

/** A plan with the part of its package that running needs; it can be sent to other threads. */
export interface PlannedModel extends GraphPackage {
  plan: Plan;
}

/** @throws {PlanError} if the engine does not have what the network asks for */
export function planModel({ manifest, variant, variantName, files }: ModelPackage): PlannedModel {
  if (files.length !== 1) {
    throw new InferenceError(`variant ${variantName} is a chain of ${files.length} files; one was expected`);
  }
  const { input, output } = variant;
  const shape = [1, manifest.input.channels, ...manifest.window.size];
  const plan = planGraph(files[0]!.bytes, { input, output, shape });
  const expected = product(manifest.window.size);
  if (product(plan.outputShape.slice(2)) !== expected) {
    throw new InferenceError(
      `the model returns ${plan.outputShape.join("×")} for windows of ${manifest.window.size.join("×")}`,
    );
  }
  return { manifest, variant, plan };
}

/** A network on the engine: pixels of one window in, its probabilities out. It blocks the calling thread. */
export class WindowRunner {
  /** Time inside the network so far. */
  runMilliseconds = 0;
  readonly #engine: Engine;
  readonly #model: PlannedModel;

  private constructor(engine: Engine, model: PlannedModel) {
    this.#engine = engine;
    this.#model = model;
  }

  static async create(model: PlannedModel, kernels: Kernels, maxBytes?: number): Promise<WindowRunner> {
    return new WindowRunner(await Engine.create(model.plan, kernels, maxBytes), model);
  }

  /** Of the linear memory. */
  get byteLength(): number {
    return this.#engine.byteLength;
  }

  /** "relaxed, fused", "relaxed" or "plain": runtimes of the same kind return the same bytes. */
  get arithmetic(): string {
    if (!this.#engine.relaxed) return "plain";
    return this.#engine.fused ? "relaxed, fused" : "relaxed";
  }

  /**
   * @param pixels `[...window, C]`
   * @param channels C
   * @returns probabilities `[K, ...window]` in the precision; with u8 their labels too, if the activation is softmax
   */
  segment(
    pixels: SampleArray,
    channels: number,
    scaling: IntensityNormalization,
    precision: Precision,
  ): { data: MaskRecord["data"]; labels?: Uint8Array<ArrayBuffer> } {
    const { manifest } = this.#model;
    const size = product(manifest.window.size);
    if (pixels.length !== size * channels) {
      throw new InferenceError(`a window has ${pixels.length} samples, the model takes ${size * channels}`);
    }
    normalizeChannelsLast(pixels, channels, manifest.input.channels, scaling, this.#engine.input);
    const started = performance.now();
    this.#engine.run();
    this.runMilliseconds += performance.now() - started;
    const { activation } = manifest.output;
    if (activation === "softmax") {
      if (precision === "u8") {
        const { bytes, labels } = this.#engine.encoded();
        return { data: bytes, labels };
      }
      const probabilities = this.#engine.probabilities();
      return { data: precision === "f32" ? probabilities : encodeProbabilities(probabilities, precision) };
    }
    try {
      const probabilities = activate(this.#engine.scores(), 1, size, activation);
      return { data: precision === "f32" ? probabilities : encodeProbabilities(probabilities, precision) };
    } catch (cause) {
      throw cause instanceof RangeError ? new InferenceError(cause.message, { cause }) : cause;
    }
  }
}
