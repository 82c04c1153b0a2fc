import { checkGoldenTile } from "../inference/golden-tile.ts";
import type { Segmenter } from "../inference/segmenter.ts";
import type { ModelPackage } from "../model-package/load-package.ts";

const TIMED_RUNS = 4;

/** Core-seconds of one window on a runtime of this machine: the golden tile's, after it has proven the runtime. */
export async function secondsPerWindow(
  segmenter: Segmenter,
  model: ModelPackage,
  signal: AbortSignal | undefined,
): Promise<number> {
  await checkGoldenTile(segmenter, model, { precision: "u8", signal });
  const before = segmenter.runMilliseconds ?? 0;
  for (let i = 0; i < TIMED_RUNS; i++) await checkGoldenTile(segmenter, model, { precision: "u8", signal });
  return ((segmenter.runMilliseconds ?? 0) - before) / TIMED_RUNS / 1000;
}
