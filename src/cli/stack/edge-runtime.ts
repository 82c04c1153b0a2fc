import { PlanError } from "../../inference/engine/plan-error.ts";
import { planModel } from "../../inference/engine/window-runner.ts";
import { loadModel } from "../../local/resolve-model.ts";

/** What runs a model on the edge function, and the Worker that has it. */
export interface EdgeRuntime {
  name: "Tilewright's engine" | "onnxruntime-web";
  /** Folder in `dist/workers`. */
  worker: "segment" | "segment-onnxruntime";
  /** The Worker's source, if it is not that of the configuration. */
  entry?: string;
  /** Why it is not the engine. */
  reason?: string;
}

/** The engine if it can run the network, else onnxruntime-web. @param directory of the model package */
export async function chooseEdgeRuntime(directory: string, variant?: string): Promise<EdgeRuntime> {
  const model = await loadModel(directory, { variant });
  try {
    planModel(model);
    return { name: "Tilewright's engine", worker: "segment" };
  } catch (error) {
    if (!(error instanceof PlanError)) throw error;
    return {
      name: "onnxruntime-web",
      worker: "segment-onnxruntime",
      entry: "src/edge/segment/worker-onnxruntime.ts",
      reason: error.message,
    };
  }
}
