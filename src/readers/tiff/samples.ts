import { ImageFormatError } from "../../image/errors.ts";
import { allocate, type DType, type SampleArray } from "../../tiling/grid/raster.ts";

/** How numbers are stored in a page, and the type they are converted to. */
export interface SampleFormat {
  kind: "uint" | "int" | "float";
  bits: number;
  /** 64-bit integers become float64, half floats float32; integers of odd widths the next wider type. */
  dtype: DType;
}

const INTEGERS: Readonly<Record<number, DType>> = { 8: "int8", 16: "int16", 32: "int32", 64: "float64" };
const FLOATS: Readonly<Record<number, DType>> = { 16: "float32", 32: "float32", 64: "float64" };

/**
 * @param format of the SampleFormat tag
 * @returns undefined for unsupported types (complex numbers, floats of 24 bits)
 */
export function sampleFormat(bits: number, format: number): SampleFormat | undefined {
  // 4 is "undefined", which writers use for unsigned data.
  if (format === 1 || format === 4) {
    if (bits === 64) return { kind: "uint", bits, dtype: "float64" };
    if (!(Number.isInteger(bits) && bits >= 1 && bits <= 32)) return undefined;
    return { kind: "uint", bits, dtype: bits <= 8 ? "uint8" : bits <= 16 ? "uint16" : "uint32" };
  }
  const dtype = format === 2 ? INTEGERS[bits] : format === 3 ? FLOATS[bits] : undefined;
  return dtype && { kind: format === 2 ? "int" : "float", bits, dtype };
}

/** Bytes of a row as stored: rows begin at whole bytes. */
export function rowBytes(samples: number, { bits }: SampleFormat): number {
  return Math.ceil((samples * bits) / 8);
}

/** How to read the bytes of one tile. */
export interface StoredSamples {
  format: SampleFormat;
  littleEndian: boolean;
  predictor: number;
  height: number;
  /** Samples of one row, and of one pixel. */
  rowSamples: number;
  pixelSamples: number;
}

/**
 * Converts byte order, reverses the predictor (TIFF 6.0 section 14; TechNote 3 for floating point), and unpacks
 * packed bits.
 * @param raw whole rows
 * @param owned whether `raw` may be changed and returned
 */
export function toSamples(raw: Uint8Array, owned: boolean, about: StoredSamples): SampleArray {
  const { format, predictor, height, rowSamples } = about;
  const { bits } = format;
  const size = bits / 8;
  const whole = bits === 8 || bits === 16 || bits === 32 || bits === 64;
  const allowed =
    predictor === 1 || (predictor === 2 && whole) || (predictor === 3 && format.kind === "float");
  if (!allowed) {
    throw new ImageFormatError(`predictor ${predictor} with samples of ${bits} bits is not supported`);
  }
  if (!whole) return unpackBits(raw, about);
  // An aligned copy: `raw` may be part of a larger read.
  const bytes = owned && raw.byteOffset % size === 0 ? raw : raw.slice();
  if (predictor === 3) undoFloatPredictor(bytes, about, size);
  else if (size > 1 && !about.littleEndian) swapBytes(bytes, size);
  const count = rowSamples * height;
  const { buffer, byteOffset } = bytes;
  if (bits === 64 && format.kind !== "float") {
    const wide =
      format.kind === "int"
        ? new BigInt64Array(buffer, byteOffset, count)
        : new BigUint64Array(buffer, byteOffset, count);
    if (predictor === 2) undoWideDifferences(wide, about);
    return fromWide(wide);
  }
  if (bits === 16 && format.kind === "float") {
    const halves = new Uint16Array(buffer, byteOffset, count);
    if (predictor === 2) undoDifferences(halves, about);
    return fromHalves(halves);
  }
  // Named first: of `new (f().constructor as T)(…)` the compiler (TypeScript 7.0) drops the parentheses.
  const Samples = allocate(format.dtype, 0).constructor as new (
    b: ArrayBufferLike,
    o: number,
    n: number,
  ) => SampleArray;
  const data = new Samples(buffer, byteOffset, count);
  if (predictor === 2) undoDifferences(data, about);
  return data;
}

/** Unpacks unsigned samples of any width up to 32, most significant bit first, rows at whole bytes. */
function unpackBits(raw: Uint8Array, { format, height, rowSamples }: StoredSamples): SampleArray {
  const { bits } = format;
  const out = allocate(format.dtype, rowSamples * height);
  const stride = rowBytes(rowSamples, format);
  const range = 2 ** bits;
  for (let y = 0, to = 0; y < height; y++) {
    let at = y * stride;
    let value = 0;
    let held = 0;
    for (let x = 0; x < rowSamples; x++) {
      // Not with shifts: up to 39 bits are held.
      for (; held < bits; held += 8) value = value * 256 + raw[at++]!;
      held -= bits;
      const unit = 2 ** held;
      const sample = Math.floor(value / unit);
      out[to++] = sample % range;
      value -= sample * unit;
    }
  }
  return out;
}

function undoDifferences(data: SampleArray, { height, rowSamples, pixelSamples }: StoredSamples): void {
  // Typed arrays wrap around on assignment, which the predictor needs.
  for (let y = 0; y < height; y++) {
    const end = (y + 1) * rowSamples;
    for (let i = y * rowSamples + pixelSamples; i < end; i++) data[i] = data[i]! + data[i - pixelSamples]!;
  }
}

function undoWideDifferences(
  data: BigInt64Array | BigUint64Array,
  { height, rowSamples, pixelSamples }: StoredSamples,
): void {
  for (let y = 0; y < height; y++) {
    const end = (y + 1) * rowSamples;
    for (let i = y * rowSamples + pixelSamples; i < end; i++) data[i] = data[i]! + data[i - pixelSamples]!;
  }
}

function fromWide(wide: BigInt64Array | BigUint64Array): Float64Array {
  const out = new Float64Array(wide.length);
  for (let i = 0; i < out.length; i++) {
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

/** IEEE 754 half precision. */
function fromHalves(halves: Uint16Array): Float32Array {
  const out = new Float32Array(halves.length);
  for (let i = 0; i < out.length; i++) {
    const half = halves[i]!;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    const size =
      exponent === 0
        ? fraction * 2 ** -24
        : exponent === 31
          ? fraction === 0
            ? Number.POSITIVE_INFINITY
            : Number.NaN
          : (1024 + fraction) * 2 ** (exponent - 25);
    out[i] = half & 0x8000 ? -size : size;
  }
  return out;
}

function undoFloatPredictor(
  bytes: Uint8Array,
  { height, rowSamples, pixelSamples }: StoredSamples,
  size: number,
): void {
  const length = rowSamples * size;
  const row = new Uint8Array(length);
  for (let y = 0; y < height; y++) {
    const at = y * length;
    for (let i = pixelSamples; i < length; i++)
      bytes[at + i] = bytes[at + i]! + bytes[at + i - pixelSamples]!;
    row.set(bytes.subarray(at, at + length));
    // Stored most significant bytes first, plane by plane; converted to little-endian.
    for (let v = 0; v < rowSamples; v++) {
      for (let b = 0; b < size; b++) bytes[at + v * size + b] = row[(size - 1 - b) * rowSamples + v]!;
    }
  }
}

function swapBytes(bytes: Uint8Array, size: number): void {
  const half = size >> 1;
  for (let at = 0; at + size <= bytes.length; at += size) {
    for (let b = 0; b < half; b++) {
      const other = at + size - 1 - b;
      const kept = bytes[at + b]!;
      bytes[at + b] = bytes[other]!;
      bytes[other] = kept;
    }
  }
}
