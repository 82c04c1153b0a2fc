import { toIntensityNormalization } from "../../inference/intensity-normalization.ts";
import type { Segmenter } from "../../inference/segmenter.ts";
import type { ModelManifest } from "../../model-package/manifest.ts";
import { product, type Raster } from "../../tiling/grid/raster.ts";
import { resample } from "../../tiling/pixels/resample.ts";
import { encodeProbabilities, type MaskRecord } from "../../tiling/wire/mask-record.ts";
import type { ShardInput } from "../input/read-shard.ts";
import { type JobPlan, planeAxes } from "../job-plan.ts";
import { validateEncoded, validateProbabilities } from "./validate-response.ts";

/**
 * Runs the model on a batch and converts the probabilities to the samples and the precision of the grid.
 * @throws {InferenceError} if the response has another shape, or values that are no probabilities
 */
export async function inferBatch(
  segmenter: Segmenter,
  plan: JobPlan,
  batch: ShardInput,
  manifest: ModelManifest,
  signal: AbortSignal | undefined,
): Promise<MaskRecord[]> {
  // Resampled probabilities are rounded after resampling, so the model returns them unrounded.
  const window = planeAxes(plan.grid.window, plan.slices);
  const resampled = plan.modelWindow.join() !== window.join();
  const precision = resampled ? "f32" : plan.precision;
  const scaling = toIntensityNormalization(manifest, plan.scaling.low, plan.scaling.high);
  const options = { scaling, precision, signal };
  const { info } = segmenter;
  const shape = [info.classes, ...plan.modelWindow];
  const expected = [batch.windows.length, ...shape];
  if (!resampled && segmenter.segmentEncoded) {
    const { activation } = manifest.output;
    const encoded = await segmenter.segmentEncoded(batch.pixels, { ...options, labels: true });
    validateEncoded(encoded, { shape: expected, precision, activation, runtime: info.runtime });
    return batch.windows.map((window, n) => ({
      window,
      precision,
      data: encoded.data[n]!,
      labels: encoded.labels?.[n],
    }));
  }
  const probabilities = await segmenter.segment(batch.pixels, options);
  validateProbabilities(probabilities, expected, info.runtime);
  const length = product(shape);
  // One window at a time: on the grid it may be far larger than in the model.
  return batch.windows.map((number, n) => {
    const data = probabilities.data.subarray(n * length, (n + 1) * length);
    const onGrid = resample({ data, shape }, window, 1) as Raster<Float32Array>;
    return {
      window: number,
      precision: plan.precision,
      data: encodeProbabilities(onGrid.data, plan.precision),
    };
  });
}
