import type { Rect } from "./raster.ts";
import { product, type SampleArray, strides } from "./raster.ts";

/**
 * Offsets of the rows (along the last axis) of a box in a row-major array of `shape`. Kernels loop over rows with these
 * offsets, so that they work for any number of axes.
 */
export function rowOffsets(box: Rect, shape: readonly number[]): Int32Array {
  const axes = shape.length;
  const rows = product(box.size.slice(0, axes - 1));
  const offsets = new Int32Array(rows);
  const steps = strides(shape);
  const base = indexOf(box.origin, steps);
  const at = new Array<number>(axes).fill(0);
  for (let row = 0, offset = base; row < rows; row++) {
    offsets[row] = offset;
    for (let axis = axes - 2; axis >= 0; axis--) {
      offset += steps[axis]!;
      if (++at[axis]! < box.size[axis]!) break;
      offset -= box.size[axis]! * steps[axis]!;
      at[axis] = 0;
    }
  }
  return offsets;
}

/** The origin of a box of samples in a row-major array of `shape`. */
interface Place {
  data: SampleArray;
  shape: readonly number[];
  origin: readonly number[];
}

/** Copies a box of `size` from one array into another. */
export function copyBox(from: Place, to: Place, size: readonly number[]): void {
  const last = size.length - 1;
  const rows = product(size.slice(0, last));
  const fromSteps = strides(from.shape);
  const toSteps = strides(to.shape);
  const at = new Array<number>(size.length).fill(0);
  let start = indexOf(from.origin, fromSteps);
  let target = indexOf(to.origin, toSteps);
  for (let row = 0; row < rows; row++) {
    to.data.set(from.data.subarray(start, start + size[last]!), target);
    for (let axis = last - 1; axis >= 0; axis--) {
      start += fromSteps[axis]!;
      target += toSteps[axis]!;
      if (++at[axis]! < size[axis]!) break;
      start -= size[axis]! * fromSteps[axis]!;
      target -= size[axis]! * toSteps[axis]!;
      at[axis] = 0;
    }
  }
}

function indexOf(position: readonly number[], steps: readonly number[]): number {
  return position.reduce((sum, at, axis) => sum + at * steps[axis]!, 0);
}

/** The intersection of two boxes; undefined if it is empty. */
export function intersect(a: Rect, b: Rect): Rect | undefined {
  const origin = a.origin.map((o, axis) => Math.max(o, b.origin[axis]!));
  const size = origin.map(
    (o, axis) => Math.min(a.origin[axis]! + a.size[axis]!, b.origin[axis]! + b.size[axis]!) - o,
  );
  return size.every((s) => s > 0) ? { origin, size } : undefined;
}

/** `rect` in coordinates relative to `origin`. */
export function relativeTo(rect: Rect, origin: readonly number[]): Rect {
  return { origin: rect.origin.map((o, axis) => o - origin[axis]!), size: rect.size };
}
