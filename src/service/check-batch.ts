import type { SegmenterInfo } from "../inference/segmenter.ts";
import type { WindowBatch } from "../tiling/wire/window-batch.ts";
import { HttpError } from "./http-error.ts";

/** The model that a service runs. */
export interface ModelIdentity {
  /** Hash of the weights. */
  hash: string;
  info: SegmenterInfo;
}

/** @throws {HttpError} where the batch is for another model, or its shape does not fit */
export function checkBatch(batch: WindowBatch, { hash, info }: ModelIdentity, maxWindows: number): void {
  if (batch.model !== hash || batch.variant !== info.variant) {
    throw new HttpError(
      409,
      "wrong_model",
      `this service runs ${info.model} ${info.variant} with hash ${hash}, the batch is for variant ${batch.variant} with hash ${batch.model}`,
    );
  }
  const [windows, ...rest] = batch.pixels.shape;
  if (windows! > maxWindows) {
    throw new HttpError(
      413,
      "too_many_windows",
      `the batch has ${windows} windows, at most ${maxWindows} are allowed`,
    );
  }
  const channels = rest.pop()!;
  if (rest.join() !== info.window.join() || (channels !== info.channels && channels !== 1)) {
    throw new HttpError(
      422,
      "wrong_shape",
      `windows are ${rest.join("×")} with ${channels} channels, the model takes ${info.window.join("×")} with ${info.channels}`,
    );
  }
  const { data } = batch.pixels;
  // NaN means no data. An infinite pixel would make all scores of its batch NaN.
  if (
    data instanceof Float32Array &&
    data.some((v) => v === Number.POSITIVE_INFINITY || v === Number.NEGATIVE_INFINITY)
  ) {
    throw new HttpError(
      422,
      "bad_pixels",
      "a pixel is infinite: send finite ones, or NaN where there is no data",
    );
  }
}
