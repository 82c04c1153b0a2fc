import type { ModelPackage } from "../model-package/load-package.ts";
import type { Precision } from "../tiling/wire/mask-record.ts";
import { InferenceError } from "./errors.ts";
import { toIntensityNormalization } from "./intensity-normalization.ts";
import type { Segmenter } from "./segmenter.ts";

export interface GoldenResult {
  maxAbs: number;
  meanAbs: number;
  tolerance: { maxAbs: number; meanAbs: number };
}

/**
 * Runs the golden tile of the package and compares the probabilities with the expected ones.
 * @param precision the precision that will be requested from the segmenter
 * @throws {InferenceError} if they deviate more than the package allows
 */
export async function checkGoldenTile(
  segmenter: Segmenter,
  model: ModelPackage,
  options: { precision?: Precision; signal?: AbortSignal } = {},
): Promise<GoldenResult> {
  const { spec, input, output } = model.golden;
  const scaling = toIntensityNormalization(model.manifest, spec.input.low, spec.input.high);
  const result = await segmenter.segment({ data: input, shape: spec.input.shape }, { scaling, ...options });
  if (result.shape.join() !== spec.output.shape.join()) {
    throw new InferenceError(
      `the result of the golden tile has shape ${result.shape}, expected ${spec.output.shape}`,
    );
  }
  let maxAbs = 0;
  let sum = 0;
  for (let i = 0; i < output.length; i++) {
    const difference = Math.abs(result.data[i]! - output[i]! / 255);
    // NaN compares false with everything and would pass as "not larger".
    if (!(difference <= 1))
      throw new InferenceError("the result of the golden tile has values that are no probabilities");
    if (difference > maxAbs) maxAbs = difference;
    sum += difference;
  }
  const meanAbs = sum / output.length;
  const { tolerance } = spec;
  if (maxAbs > tolerance.maxAbs || meanAbs > tolerance.meanAbs) {
    throw new InferenceError(
      `${segmenter.info.runtime} computes model ${model.manifest.name} wrongly: golden tile off by ${maxAbs.toFixed(4)} (mean ${meanAbs.toFixed(5)}), allowed ${tolerance.maxAbs} (mean ${tolerance.meanAbs})`,
    );
  }
  return { maxAbs, meanAbs, tolerance };
}
