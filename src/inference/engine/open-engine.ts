import type { ModelPackage } from "../../model-package/load-package.ts";
import { InferenceError } from "../errors.ts";
import { checkGoldenTile } from "../golden-tile.ts";
import type { Segmenter } from "../segmenter.ts";
import type { Kernels } from "./engine.ts";
import { EngineSegmenter } from "./engine-segmenter.ts";
import { fetchKernels } from "./fetch-kernels.ts";

/**
 * Opens a model on the first build of the kernels that passes its golden tile: with relaxed SIMD, which may round
 * differently from machine to machine, then without.
 * @param builds in the order of preference
 * @throws {PlanError} if the engine does not have what the network asks for
 * @throws {InferenceError} if it passes with no build
 */
export async function openVerified<S extends Segmenter>(
  model: ModelPackage,
  builds: readonly Kernels[],
  create: (kernels: Kernels) => Promise<S>,
): Promise<{ segmenter: S; golden: { maxAbs: number; meanAbs: number } }> {
  let failure: unknown = new InferenceError(
    "this machine has no SIMD in WebAssembly, which the engine needs",
  );
  for (const kernels of builds) {
    const segmenter = await create(kernels);
    try {
      const { maxAbs, meanAbs } = await checkGoldenTile(segmenter, model);
      return { segmenter, golden: { maxAbs, meanAbs } };
    } catch (error) {
      failure = error;
      await segmenter.close();
    }
  }
  throw failure;
}

/**
 * Opens a model on the engine, on the calling thread, and runs its golden tile.
 * @param options.builds compiled kernels, the preferred ones first. Workers give them (`tilewright/kernels-relaxed.wasm`,
 * `tilewright/kernels.wasm`), because they compile nothing; elsewhere they are read from beside this module
 * @param options.maxBytes most linear memory that the network may need; default: no limit
 * @throws {PlanError} if the engine does not have what the network asks for
 * @throws {InferenceError} if it needs more memory, or does not pass its golden tile
 */
export async function openEngine(
  model: ModelPackage,
  options: { builds?: readonly Kernels[]; maxBytes?: number } = {},
): Promise<EngineSegmenter> {
  const builds = options.builds ?? (await fetchKernels());
  const { segmenter } = await openVerified(model, builds, (kernels) =>
    EngineSegmenter.create(model, kernels, options.maxBytes),
  );
  return segmenter;
}
