import type { MaskBatch } from "../src/tiling/wire/mask-batch.ts";
import type { MaskRecord } from "../src/tiling/wire/mask-record.ts";
import type { WindowBatch } from "../src/tiling/wire/window-batch.ts";
import type { Batcher } from "./batcher.ts";

/** Segments the windows of a request. The batcher may run them together with windows of other requests. */
export async function segmentWithBatcher(
  batch: WindowBatch,
  batcher: Batcher,
  signal: AbortSignal,
): Promise<MaskBatch> {
  const { model, variant, precision, windows, scaling, pixels } = batch;
  const records = new Array<MaskRecord>(windows.length);
  await batcher.segmentEach(pixels, { scaling, precision, signal }, (n, data) => {
    records[n] = { window: windows[n]!, precision, data };
  });
  return { model, variant, precision, shape: [batcher.info.classes, ...batcher.info.window], records };
}
