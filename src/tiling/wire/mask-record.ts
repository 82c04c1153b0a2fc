import { product, type Raster } from "../grid/raster.ts";
import { fromFloat16Bits, toFloat16Bits } from "../pixels/float16.ts";

/** Encoding of probabilities: 1, 2 or 4 bytes each. */
export type Precision = "u8" | "f16" | "f32";

/** The class probabilities of one window, `[K, ...window]`. u8 is `round(255 p)`, f16 holds half-precision bits. */
export interface MaskRecord {
  /** Window number in its grid. */
  window: number;
  precision: Precision;
  data: Uint8Array | Uint16Array | Float32Array;
  /** The class of the largest value at each sample `[...window]`, the first of equal ones, if already computed. */
  labels?: Uint8Array;
}

/** The stored value of probability 1, to convert sums back to probabilities. */
export const PRECISION_UNIT: Record<Precision, number> = { u8: 255, f16: 1, f32: 1 };

/** Encodes probabilities; always a copy. */
export function encodeProbabilities(probabilities: Float32Array, precision: Precision): MaskRecord["data"] {
  const { length } = probabilities;
  if (precision === "f32") return probabilities.slice();
  if (precision === "f16") {
    const bits = new Uint16Array(length);
    for (let i = 0; i < length; i++) bits[i] = toFloat16Bits(probabilities[i]!);
    return bits;
  }
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = probabilities[i]! * 255 + 0.5;
  return bytes;
}

/** Encodes probabilities `[N, K, ...window]`, one array a window. */
export function encodeWindows(
  { data, shape }: Raster<Float32Array>,
  precision: Precision,
): { data: MaskRecord["data"][]; shape: number[] } {
  const [windows, ...one] = shape as [number, ...number[]];
  const size = product(one);
  return {
    data: Array.from({ length: windows }, (_, n) =>
      encodeProbabilities(data.subarray(n * size, (n + 1) * size), precision),
    ),
    shape: one,
  };
}

/** Values for summing: bytes stay bytes (their scale cancels in labels), halves become floats. */
export function decodeForMerging(record: MaskRecord): Uint8Array | Float32Array {
  if (record.precision !== "f16") return record.data as Uint8Array | Float32Array;
  const bits = record.data as Uint16Array;
  const values = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) values[i] = fromFloat16Bits(bits[i]!);
  return values;
}

/** Probability of each byte. */
const BYTE_VALUES = Float32Array.from({ length: 256 }, (_, v) => v / 255);

/** Decodes probabilities into `out` from `at` on. */
export function decodeProbabilitiesInto(
  { precision, data }: Omit<MaskRecord, "window">,
  out: Float32Array,
  at: number,
): void {
  const { length } = data;
  if (precision === "f32") out.set(data, at);
  else if (precision === "f16") for (let i = 0; i < length; i++) out[at + i] = fromFloat16Bits(data[i]!);
  else for (let i = 0; i < length; i++) out[at + i] = BYTE_VALUES[data[i]!]!;
}

/** Decodes probabilities; f32 is not copied. */
export function decodeProbabilities({ precision, data }: Omit<MaskRecord, "window">): Float32Array {
  if (precision === "f32") return data as Float32Array;
  const values = new Float32Array(data.length);
  decodeProbabilitiesInto({ precision, data }, values, 0);
  return values;
}
