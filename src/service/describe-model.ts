import type { ServiceInfo } from "../inference/remote/service-info.ts";
import type { SegmenterInfo } from "../inference/segmenter.ts";
import type { ModelPackage } from "../model-package/load-package.ts";

/** A model that passed its golden tile in this process. */
export interface VerifiedModel {
  manifest: ModelPackage["manifest"];
  /** Hash of the weights. */
  hash: string;
  /** Error on the golden tile, in probability. */
  golden: { maxAbs: number; meanAbs: number };
}

/** The part of `GET /v1/info` that describes the model. */
export function describeModel(
  { manifest, hash, golden }: VerifiedModel,
  { variant, window, channels, classes }: SegmenterInfo,
): Pick<ServiceInfo, "model" | "window" | "channels" | "classes" | "golden"> {
  return {
    model: { name: manifest.name, version: manifest.version, variant, hash },
    window: [...window],
    channels,
    classes,
    golden,
  };
}
