import { InferenceError } from "../../inference/errors.ts";
import type { EncodedWindows } from "../../inference/segmenter.ts";
import { product, type Raster } from "../../tiling/grid/raster.ts";
import type { Activation } from "../../tiling/pixels/activation.ts";
import { fromFloat16Bits } from "../../tiling/pixels/float16.ts";
import type { MaskRecord, Precision } from "../../tiling/wire/mask-record.ts";
import { validateQuantizedProbabilities } from "../../tiling/wire/validate-quantized.ts";

// Responses are always validated: once merged, a bad result can no longer be traced to its backend.

/** @throws {InferenceError} if the shape is not the expected `[N, K, ...window]`, or values are no probabilities */
export function validateProbabilities(
  { data, shape }: Raster,
  expected: readonly number[],
  runtime: string,
): void {
  if (shape.join() !== expected.join() || data.length !== product(expected)) {
    throw wrongShape(shape, expected, runtime);
  }
  for (let i = 0; i < data.length; i++) checkProbability(data[i]!, runtime);
}

export interface ExpectedResponse {
  /** `[N, K, ...window]` */
  shape: readonly number[];
  precision: Precision;
  activation: Activation;
  runtime: string;
}

const ARRAYS = { u8: Uint8Array, f16: Uint16Array, f32: Float32Array } as const;

/** As `validateProbabilities`, for encoded windows. The bytes of a sample must add up as the activation implies. @throws {InferenceError} */
export function validateEncoded(
  { data, shape, labels }: EncodedWindows,
  { shape: expected, precision, activation, runtime }: ExpectedResponse,
): void {
  const [, classes, ...window] = expected as [number, number, ...number[]];
  const length = product([classes, ...window]);
  if (
    [data.length, ...shape].join() !== expected.join() ||
    data.some((one) => !(one instanceof ARRAYS[precision]) || one.length !== length)
  ) {
    throw wrongShape([data.length, ...shape], expected, runtime);
  }
  // Segmenters that return labels have validated the bytes.
  if (labels) return;
  for (const one of data) checkOne(one, precision);

  function checkOne(one: MaskRecord["data"], kind: Precision): void {
    if (kind === "f32") for (let i = 0; i < length; i++) checkProbability(one[i]!, runtime);
    else if (kind === "f16")
      for (let i = 0; i < length; i++) checkProbability(fromFloat16Bits(one[i]!), runtime);
    else {
      try {
        validateQuantizedProbabilities(one as Uint8Array, 1, product(window), activation);
      } catch (cause) {
        if (!(cause instanceof RangeError)) throw cause;
        throw new InferenceError(`${runtime} returned no probabilities: ${cause.message}`, { cause });
      }
    }
  }
}

/** Tolerates rounding above 1. Comparisons with NaN are false. */
function checkProbability(value: number, runtime: string): void {
  if (!(Math.abs(value - 0.5) <= 0.501)) {
    throw new InferenceError(`${runtime} returned ${value} where a probability was expected`);
  }
}

function wrongShape(shape: readonly number[], expected: readonly number[], runtime: string): InferenceError {
  return new InferenceError(
    `${runtime} returned ${shape.join("×")} probabilities, ${expected.join("×")} were expected`,
  );
}
