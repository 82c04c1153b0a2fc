import { product } from "../../tiling/grid/raster.ts";
import type { MaskBatch } from "../../tiling/wire/mask-batch.ts";
import { encodeProbabilities, type MaskRecord } from "../../tiling/wire/mask-record.ts";
import type { WindowBatch } from "../../tiling/wire/window-batch.ts";
import type { LoadedModel } from "./model-host.ts";

/** Segments one window at a time, so that the heaps do not grow with the number of windows. */
export async function segmentBatch(batch: WindowBatch, { hash, segmenter }: LoadedModel): Promise<MaskBatch> {
  const { variant, precision, windows, scaling, pixels } = batch;
  const [, ...shape] = pixels.shape;
  const samples = product(shape);
  const records: MaskRecord[] = [];
  for (const [n, window] of windows.entries()) {
    const data = pixels.data.subarray(n * samples, (n + 1) * samples);
    const one = { data, shape: [1, ...shape] };
    const encoded = await segmenter.segmentEncoded?.(one, { scaling, precision });
    const values =
      encoded?.data[0] ?? encodeProbabilities((await segmenter.segment(one, { scaling })).data, precision);
    records.push({ window, precision, data: values });
  }
  const { classes, window } = segmenter.info;
  return { model: hash, variant, precision, shape: [classes, ...window], records };
}
