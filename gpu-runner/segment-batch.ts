import type { MaskBatch } from "../src/tiling/mask-batch.ts";
import { encodeProbabilities, type MaskRecord } from "../src/tiling/mask-record.ts";
import type { WindowBatch } from "../src/tiling/window-batch.ts";
import type { Batcher } from "./batcher.ts";

/** Each window's probabilities are rounded as soon as they are there, so that no more than a run of them is held. */
export async function segmentBatch(
  batch: WindowBatch,
  batcher: Batcher,
  signal: AbortSignal,
): Promise<MaskBatch> {
  const { model, variant, precision, windows, scaling, pixels } = batch;
  const records = new Array<MaskRecord>(windows.length);
  await batcher.segmentEach(pixels, { scaling, precision, signal }, (n, probabilities) => {
    records[n] = { window: windows[n]!, precision, data: encodeProbabilities(probabilities, precision) };
  });
  return { model, variant, precision, shape: [batcher.info.classes, ...batcher.info.window], records };
}
