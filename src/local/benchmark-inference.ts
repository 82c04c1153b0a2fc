import { checkGoldenTile } from "../inference/golden-tile.ts";
import { isNativeRuntimeInstalled } from "../inference/node/native-runtime.ts";
import { openWasm } from "../inference/node/open-wasm.ts";
import { OrtNodeSegmenter } from "../inference/node/ort-node.ts";
import type { Segmenter } from "../inference/segmenter.ts";
import type { ModelPackage } from "../model-package/load-package.ts";

const TIMED_RUNS = 4;

/** Measures the core-seconds of one window on a local runtime, with the golden tile. */
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

/** Measures the seconds of one window on one thread, with the golden tile. */
export async function timeWindow(
  model: ModelPackage,
  threads: number | undefined,
  signal: AbortSignal | undefined,
): Promise<{ seconds: number; threads: number }> {
  const segmenter: Segmenter = isNativeRuntimeInstalled()
    ? await OrtNodeSegmenter.create(model, { threads })
    : await openWasm(model, { threads });
  try {
    const seconds = await secondsPerWindow(segmenter, model, signal);
    return { seconds, threads: segmenter.info.threads };
  } finally {
    await segmenter.close();
  }
}
