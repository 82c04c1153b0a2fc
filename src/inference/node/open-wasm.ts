import type { ModelPackage } from "../../model-package/load-package.ts";
import { openVerified } from "../engine/open-engine.ts";
import { PlanError } from "../engine/plan-error.ts";
import type { Segmenter } from "../segmenter.ts";
import { OrtWebSegmenter } from "../wasm/ort-web.ts";
import { loadKernels } from "./engine-kernels.ts";
import { openEngineThreads } from "./engine-threads.ts";

/**
 * WebAssembly on this machine: Tilewright's engine, one thread a core, or onnxruntime-web on this thread for networks that
 * the engine cannot run. `info.runtime` says which.
 */
export async function openWasm(model: ModelPackage, options: { threads?: number } = {}): Promise<Segmenter> {
  try {
    const { segmenter } = await openVerified(model, await loadKernels(), (kernels) =>
      openEngineThreads(model, kernels, options),
    );
    return segmenter;
  } catch (error) {
    if (!(error instanceof PlanError)) throw error;
    return OrtWebSegmenter.create(model);
  }
}
