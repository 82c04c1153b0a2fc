import type { Rect } from "./raster.ts";
import { product } from "./raster.ts";

/**
 * Where each row (run along the last axis) of a box begins inside a row-major array of `shape`. Kernels loop
 * over rows with these offsets, so they need no code per number of axes.
 */
export function rowOffsets(box: Rect, shape: readonly number[]): Int32Array {
  const axes = shape.length;
  const rows = product(box.size.slice(0, axes - 1));
  const offsets = new Int32Array(rows);
  const strides = new Array<number>(axes).fill(1);
  for (let axis = axes - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1]! * shape[axis + 1]!;
  const base = box.origin.reduce((sum, o, axis) => sum + o * strides[axis]!, 0);
  for (let row = 0; row < rows; row++) {
    let offset = base;
    for (let axis = axes - 2, rest = row; axis >= 0; axis--) {
      const n = box.size[axis]!;
      offset += (rest % n) * strides[axis]!;
      rest = Math.floor(rest / n);
    }
    offsets[row] = offset;
  }
  return offsets;
}

/** The part of `a` inside `b`, or undefined when they do not meet. */
export function intersect(a: Rect, b: Rect): Rect | undefined {
  const origin = a.origin.map((o, axis) => Math.max(o, b.origin[axis]!));
  const size = origin.map(
    (o, axis) => Math.min(a.origin[axis]! + a.size[axis]!, b.origin[axis]! + b.size[axis]!) - o,
  );
  return size.every((s) => s > 0) ? { origin, size } : undefined;
}

/** `rect` seen from `origin`. */
export function relativeTo(rect: Rect, origin: readonly number[]): Rect {
  return { origin: rect.origin.map((o, axis) => o - origin[axis]!), size: rect.size };
}
