import type { ModelManifest } from "../model-package/manifest.ts";
import type { Scaling } from "../tiling/pixels/normalize.ts";

/** The model's normalisation with the intensities `low` and `high` of an image filled in. */
export function scalingOf(manifest: ModelManifest, low: number, high: number): Scaling {
  const { clip, scale, offset } = manifest.input.normalization;
  return { low, high, clip, scale, offset };
}
