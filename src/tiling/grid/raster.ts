/** Typed arrays that hold image samples. */
export type SampleArray =
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Float32Array
  | Float64Array;

export type DType = "uint8" | "uint16" | "uint32" | "int8" | "int16" | "int32" | "float32" | "float64";

/**
 * Samples with their shape. Images are `[...spatial, channels]` (channels last), spatial axes slow to fast;
 * label maps are `[...spatial]`. Row-major, tightly packed: `data.length` is the product of `shape`.
 */
export interface Raster<T extends SampleArray = SampleArray> {
  data: T;
  shape: readonly number[];
}

/** A half-open box at a named level; `origin` and `size` in samples per spatial axis, slow to fast. */
export interface Rect {
  origin: readonly number[];
  size: readonly number[];
}

export function product(values: readonly number[]): number {
  let p = 1;
  for (const v of values) p *= v;
  return p;
}

const ARRAYS = {
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  float32: Float32Array,
  float64: Float64Array,
} as const;

/** Strides of a row-major array: the distance of neighbours along each axis. */
export function strides(shape: readonly number[]): number[] {
  const out = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) out[axis] = out[axis + 1]! * shape[axis + 1]!;
  return out;
}

/** A zeroed sample array of `length` samples. */
export function allocate(dtype: DType, length: number): SampleArray {
  return new ARRAYS[dtype](length);
}

export function getDType(data: SampleArray): DType {
  for (const [name, type] of Object.entries(ARRAYS)) if (data instanceof type) return name as DType;
  throw new TypeError(`unknown sample array ${Object.prototype.toString.call(data)}`);
}

export function bytesPerSample(dtype: DType): number {
  return ARRAYS[dtype].BYTES_PER_ELEMENT;
}
