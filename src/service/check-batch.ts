import type { SegmenterInfo } from "../inference/segmenter.ts";
import type { WindowBatch } from "../tiling/wire/window-batch.ts";
import { Problem } from "./problem.ts";

/** What a service runs. */
export interface ServedModel {
  /** Hash of the weights. */
  hash: string;
  info: SegmenterInfo;
}

/** @throws {Problem} when the batch is meant for another model, or has another shape than the model takes */
export function checkBatch(batch: WindowBatch, { hash, info }: ServedModel, maxWindows: number): void {
  if (batch.model !== hash || batch.variant !== info.variant) {
    throw new Problem(
      409,
      "wrong_model",
      `this service runs ${info.model} ${info.variant} with hash ${hash}, the batch is for variant ${batch.variant} with hash ${batch.model}`,
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
  const { data } = batch.pixels;
  // What is no number stands for no data; what is infinite would make every window of its run so.
  if (
    data instanceof Float32Array &&
    data.some((v) => v === Number.POSITIVE_INFINITY || v === Number.NEGATIVE_INFINITY)
  ) {
    throw new Problem(
      422,
      "bad_pixels",
      "a pixel is infinite: send finite ones, or NaN where there is no data",
    );
  }
}
