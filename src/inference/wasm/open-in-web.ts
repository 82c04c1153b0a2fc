import type { ModelPackage } from "../../model-package/load-package.ts";
import type { Kernels } from "../engine/engine.ts";
import { EngineSegmenter } from "../engine/engine-segmenter.ts";
import { fetchKernels } from "../engine/fetch-kernels.ts";
import { openVerified } from "../engine/open-engine.ts";
import { PlanError } from "../engine/plan-error.ts";
import type { Segmenter } from "../segmenter.ts";
import { OrtWebSegmenter } from "./ort-web.ts";

/**
 * WebAssembly in a page: the engine, or onnxruntime-web for networks that the engine cannot run, and where a bundler left the
 * kernels out. `info.runtime` says which.
 */
export async function openInWeb(model: ModelPackage): Promise<Segmenter> {
  const builds = await fetchKernels().catch((): Kernels[] => []);
  if (builds.length === 0) return OrtWebSegmenter.create(model);
  try {
    const opened = await openVerified(model, builds, (kernels) => EngineSegmenter.create(model, kernels));
    return opened.segmenter;
  } catch (error) {
    if (!(error instanceof PlanError)) throw error;
    return OrtWebSegmenter.create(model);
  }
}
