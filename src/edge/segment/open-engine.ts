import { EngineSegmenter } from "../../inference/engine/engine-segmenter.ts";
import plain from "../../inference/engine/kernels.wasm";
import relaxed from "../../inference/engine/kernels-relaxed.wasm";
import { openVerified } from "../../inference/engine/open-engine.ts";
import { PlanError } from "../../inference/engine/plan-error.ts";
import { InferenceError } from "../../inference/errors.ts";
import type { OpenModel } from "./model-host.ts";

const BUILDS = [
  { module: relaxed, relaxed: true },
  { module: plain, relaxed: false },
];

/** Opens models on the engine, in a plain linear memory. */
export const openOnEngine: OpenModel = async (model, heapCapBytes) => {
  try {
    return await openVerified(model, BUILDS, (kernels) =>
      EngineSegmenter.create(model, kernels, heapCapBytes),
    );
  } catch (error) {
    if (!(error instanceof PlanError)) throw error;
    throw new InferenceError(
      `${error.message}: deploy the edge function on onnxruntime-web (worker-onnxruntime.ts) for the model ${model.manifest.name}`,
      { cause: error },
    );
  }
};
