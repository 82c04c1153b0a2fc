import type { ServiceInfo } from "../inference/remote/service-info.ts";
import type { SegmenterInfo } from "../inference/segmenter.ts";
import type { ModelPackage } from "../model-package/load-package.ts";

/** A model that has passed its golden tile where it runs. */
export interface ProvenModel {
  manifest: ModelPackage["manifest"];
  /** Hash of the weights. */
  hash: string;
  /** How far off the golden tile was, in probability. */
  golden: { maxAbs: number; meanAbs: number };
}

/** What `GET /v1/info` tells of the model, whatever runs it. */
export function describeModel(
  { manifest, hash, golden }: ProvenModel,
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
