import type { MaskBatch } from "../../tiling/mask-batch.ts";
import { encodeProbabilities, type MaskRecord } from "../../tiling/mask-record.ts";
import { product } from "../../tiling/raster.ts";
import type { WindowBatch } from "../../tiling/window-batch.ts";
import { Problem } from "../shared/problem.ts";
import type { HostedModel } from "./model-host.ts";

/** @throws {Problem} when the batch is meant for another model, or has another shape than the model takes */
export function checkBatch(batch: WindowBatch, { hash, segmenter }: HostedModel, maxWindows: number): void {
  const { info } = segmenter;
  if (batch.model !== hash || batch.variant !== info.variant) {
    throw new Problem(
      409,
      "wrong_model",
      `this Worker runs ${info.model} ${info.variant} with hash ${hash}, the batch is for variant ${batch.variant} with hash ${batch.model}`,
    );
  }
  const [windows, ...rest] = batch.pixels.shape;
  if (windows! > maxWindows) {
    throw new Problem(
      413,
      "too_many_windows",
      `the batch has ${windows} windows, at most ${maxWindows} are allowed`,
    );
  }
  const channels = rest.pop()!;
  if (rest.join() !== info.window.join() || (channels !== info.channels && channels !== 1)) {
    throw new Problem(
      422,
      "wrong_shape",
      `windows are ${rest.join("×")} with ${channels} channels, the model takes ${info.window.join("×")} with ${info.channels}`,
    );
  }
}

/** One window at a time: neither the runtime's heap nor ours then grows with the number of windows. */
export async function segmentBatch(batch: WindowBatch, { hash, segmenter }: HostedModel): Promise<MaskBatch> {
  const { variant, precision, windows, scaling, pixels } = batch;
  const [, ...shape] = pixels.shape;
  const samples = product(shape);
  const records: MaskRecord[] = [];
  for (const [n, window] of windows.entries()) {
    const data = pixels.data.subarray(n * samples, (n + 1) * samples);
    const probabilities = await segmenter.segment({ data, shape: [1, ...shape] }, { scaling });
    records.push({ window, precision, data: encodeProbabilities(probabilities.data, precision) });
  }
  const { classes, window } = segmenter.info;
  return { model: hash, variant, precision, shape: [classes, ...window], records };
}
