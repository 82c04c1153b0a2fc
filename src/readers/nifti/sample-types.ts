import { ImageFormatError } from "../../image/errors.ts";
import { allocate, bytesPerSample, type DType, type SampleArray } from "../../tiling/grid/raster.ts";

export interface NiftiType {
  name: DType | "int64" | "uint64";
  /** Types of the result: 64-bit integers become float64, which is exact up to 2^53. */
  dtype: DType;
  bytes: number;
}

const plain = (dtype: DType): NiftiType => ({ name: dtype, dtype, bytes: bytesPerSample(dtype) });

/** By the header's datatype code. */
export const NIFTI_TYPES: Readonly<Record<number, NiftiType>> = {
  2: plain("uint8"),
  4: plain("int16"),
  8: plain("int32"),
  16: plain("float32"),
  64: plain("float64"),
  256: plain("int8"),
  512: plain("uint16"),
  768: plain("uint32"),
  1024: { name: "int64", dtype: "float64", bytes: 8 },
  1280: { name: "uint64", dtype: "float64", bytes: 8 },
};

/** Standard types that are not a single number of a known size. */
export const UNSUPPORTED_TYPES: Readonly<Record<number, string>> = {
  1: "one-bit",
  32: "complex",
  128: "RGB",
  1536: "128-bit",
  1792: "complex",
  2048: "complex",
  2304: "RGBA",
};

/**
 * Converts stored bytes to samples, scaled to float32 if the header scales.
 * @param bytes tightly packed, a whole number of samples; the result may be a view of them
 */
export function decodeSamples(
  bytes: Uint8Array,
  type: NiftiType,
  littleEndian: boolean,
  scale: { slope: number; intercept: number } | undefined,
): SampleArray {
  const stored = storedSamples(bytes, type, littleEndian);
  if (scale === undefined) return stored;
  const { slope, intercept } = scale;
  const out = new Float32Array(stored.length);
  for (let i = 0; i < out.length; i++) out[i] = stored[i]! * slope + intercept;
  return out;
}

function storedSamples(bytes: Uint8Array, type: NiftiType, littleEndian: boolean): SampleArray {
  const swapped = !littleEndian && type.bytes > 1;
  // A view where nothing changes and the buffer holds nothing else; else an aligned copy.
  const own = !swapped && bytes.length === bytes.buffer.byteLength ? bytes : bytes.slice();
  if (swapped) swapBytes(own, type.bytes);
  const count = own.length / type.bytes;
  if (type.name === "int64" || type.name === "uint64") {
    const wide = type.name === "int64" ? new BigInt64Array(own.buffer) : new BigUint64Array(own.buffer);
    const out = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      const value = Number(wide[i]!);
      if (Math.abs(value) > Number.MAX_SAFE_INTEGER) {
        throw new ImageFormatError(
          `a 64-bit sample is beyond ${Number.MAX_SAFE_INTEGER}, up to where whole numbers are exact; store it with fewer bits`,
        );
      }
      out[i] = value;
    }
    return out;
  }
  const Samples = allocate(type.dtype, 0).constructor as new (buffer: ArrayBufferLike) => SampleArray;
  return new Samples(own.buffer);
}

function swapBytes(bytes: Uint8Array, size: number): void {
  const half = size >> 1;
  for (let at = 0; at < bytes.length; at += size) {
    for (let b = 0; b < half; b++) {
      const other = at + size - 1 - b;
      const kept = bytes[at + b]!;
      bytes[at + b] = bytes[other]!;
      bytes[other] = kept;
    }
  }
}
