import { PlanError } from "./plan-error.ts";

/** A constant of a graph. Integers and booleans are int32: 64-bit numbers beyond it become the nearest int32. */
export interface Tensor {
  shape: readonly number[];
  data: Float32Array | Int32Array | Int8Array;
}

/** Values in one tensor of a graph: a bound against files that claim more than they hold. */
const MAX_ELEMENTS = 1 << 26;

export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const size of shape) {
    if (!Number.isInteger(size) || size < 0 || size > MAX_ELEMENTS) {
      throw new PlanError(`a tensor has the shape ${shape.join("×")}`);
    }
    count *= size;
    if (count > MAX_ELEMENTS) {
      throw new PlanError(`a tensor has the shape ${shape.join("×")}, more than ${MAX_ELEMENTS} values`);
    }
  }
  return count;
}

/** Distances in elements between neighbours along each axis of a dense tensor. */
export function denseStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= shape[axis]!;
  }
  return strides;
}

/** The scalars of a constant of at most one axis, as numbers. */
export function numbers(tensor: Tensor): number[] {
  return Array.from(tensor.data);
}

export function clampToInt32(value: number): number {
  return Math.max(-0x80000000, Math.min(0x7fffffff, value));
}
