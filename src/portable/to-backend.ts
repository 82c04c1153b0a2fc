import { checkGoldenTile } from "../inference/golden-tile.ts";
import type { Segmenter } from "../inference/segmenter.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import type { Backend } from "../orchestrator/scheduler/backend.ts";
import type { RunOptions } from "./run-options.ts";

/** Requests of the scheduler beyond those that compute. */
const REQUESTS_AHEAD = 2;

/** A segmenter as a backend, once it has passed the golden tile. */
export async function toBackend(
  segmenter: Segmenter,
  model: ModelPackage,
  { settings: { precision }, batchSize }: RunOptions,
  signal: AbortSignal | undefined,
): Promise<Backend> {
  await checkGoldenTile(segmenter, model, { precision, signal });
  return {
    name: segmenter.info.runtime,
    segmenter,
    concurrency: segmenter.info.threads + REQUESTS_AHEAD,
    windowsPerRequest: batchSize,
  };
}
