import type { ModelManifest } from "../model-package/manifest.ts";
import type { IntensityNormalization } from "../tiling/pixels/normalize.ts";

/** The model's normalization with the intensities `low` and `high` of an image. */
export function toIntensityNormalization(
  manifest: ModelManifest,
  low: number,
  high: number,
): IntensityNormalization {
  const { clip, scale, offset } = manifest.input.normalization;
  return { low, high, clip, scale, offset };
}
