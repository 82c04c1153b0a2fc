import type { SegmentBatchOptions, SegmenterInfo } from "../../../src/inference/segmenter.ts";
import type { ModelPackage } from "../../../src/model-package/load-package.ts";
import type { Raster, SampleArray } from "../../../src/tiling/grid/raster.ts";

/** To a worker that runs the model. */
export type InferenceRequest =
  | { id: number; kind: "open"; model: ModelPackage }
  | { id: number; kind: "segment"; batch: Raster<SampleArray>; options: Omit<SegmentBatchOptions, "signal"> };

export type InferenceResponse =
  | { id: number; ok: true; info?: SegmenterInfo; output?: Raster<Float32Array>; runMilliseconds: number }
  | { id: number; ok: false; message: string };
