import type { Kernels } from "../../../src/inference/engine/engine.ts";
import type { WindowRequest, WindowResult } from "../../../src/inference/engine/engine-pool.ts";
import type { PlannedModel } from "../../../src/inference/engine/window-runner.ts";
import type { SegmentBatchOptions, SegmenterInfo } from "../../../src/inference/segmenter.ts";
import type { ModelPackage } from "../../../src/model-package/load-package.ts";
import type { Raster, SampleArray } from "../../../src/tiling/grid/raster.ts";

/** To a worker: opens the model on the engine, or on onnxruntime-web if the engine cannot run it; then runs it. */
export type InferenceRequest =
  | { kind: "engine"; model: PlannedModel; kernels: Kernels }
  | { kind: "runtime"; model: ModelPackage }
  | ({ kind: "window" } & WindowRequest)
  | { kind: "batch"; batch: Raster<SampleArray>; options: Omit<SegmentBatchOptions, "signal"> };

/** Answers, of the kind of their request; `milliseconds` is the time inside the model. */
export type InferenceResult =
  | { kind: "engine"; arithmetic: string }
  | { kind: "runtime"; info: SegmenterInfo }
  | ({ kind: "window" } & WindowResult)
  | { kind: "batch"; output: Raster<Float32Array>; milliseconds: number };

export type InferenceResponse =
  | { id: number; result: InferenceResult }
  | { id: number; error: string; outOfMemory: boolean };
