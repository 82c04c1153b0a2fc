import type { ModelPackage } from "../../model-package/load-package.ts";
import { InferenceError } from "../errors.ts";
import { checkGoldenTile } from "../golden-tile.ts";
import type { Segmenter } from "../segmenter.ts";
import type { Kernels } from "./engine.ts";

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
