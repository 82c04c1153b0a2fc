import { allocate, type DType, type Raster } from "../../tiling/grid/raster.ts";
import { formatDtype, type PixelFormat } from "./pixel-format.ts";

/** Stored · slope + intercept is the value (PS3.3 section C.11.1). */
export interface Rescale {
  slope: number;
  intercept: number;
}

export const IDENTITY: Rescale = { slope: 1, intercept: 0 };

const WHOLE: readonly [DType, number, number][] = [
  ["uint8", 0, 255],
  ["int8", -128, 127],
  ["int16", -32768, 32767],
  ["uint16", 0, 65535],
  ["int32", -(2 ** 31), 2 ** 31 - 1],
];

/**
 * The narrowest type that holds every possible value: whole numbers stay whole (Hounsfield units of 12 stored bits
 * are int16), others are float32.
 */
export function rescaledType(format: PixelFormat, rescales: readonly Rescale[]): DType {
  if (rescales.every(isIdentity)) return formatDtype(format);
  if (!rescales.every(({ slope, intercept }) => Number.isInteger(slope) && Number.isInteger(intercept)))
    return "float32";
  const low = format.signed ? -(2 ** (format.bitsStored - 1)) : 0;
  const high = low + 2 ** format.bitsStored - 1;
  const ends = rescales.flatMap(({ slope, intercept }) => [
    low * slope + intercept,
    high * slope + intercept,
  ]);
  const from = ends.reduce((a, b) => Math.min(a, b));
  const to = ends.reduce((a, b) => Math.max(a, b));
  return WHOLE.find(([, min, max]) => min <= from && to <= max)?.[0] ?? "float32";
}

/** Converts a frame's values to `dtype`. */
export function rescale(frame: Raster, { slope, intercept }: Rescale, dtype: DType): Raster {
  const { data, shape } = frame;
  const out = allocate(dtype, data.length);
  for (let i = 0; i < out.length; i++) out[i] = data[i]! * slope + intercept;
  return { data: out, shape };
}

export function isIdentity({ slope, intercept }: Rescale): boolean {
  return slope === 1 && intercept === 0;
}

/** Inverts grey that grows to black (MONOCHROME1). In place. */
export function invertGrey({ data }: Raster, { bitsStored, signed }: PixelFormat): void {
  const sum = signed ? -1 : 2 ** bitsStored - 1;
  for (let i = 0; i < data.length; i++) data[i] = sum - data[i]!;
}
