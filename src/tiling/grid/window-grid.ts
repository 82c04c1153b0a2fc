import { product, type Rect } from "./raster.ts";

export type WindowPolicy = "monai" | "nnunet";

export interface WindowGridOptions {
  /** Samples per spatial axis of the region to cover, slow to fast. */
  shape: readonly number[];
  /** Window size per axis. */
  window: readonly number[];
  /** `overlap / window`, at least 0 and below 1. Default 0.25. */
  overlapRatio?: number;
  policy?: WindowPolicy;
}

/**
 * Positions of the windows: the Cartesian product of starts per axis. Windows are numbered in raster order (last axis
 * fastest). A start is negative if the region is smaller than the window.
 */
export interface WindowGrid {
  readonly shape: readonly number[];
  readonly window: readonly number[];
  readonly starts: readonly (readonly number[])[];
  readonly policy: WindowPolicy;
  readonly overlapRatio: number;
}

export function planWindowGrid(options: WindowGridOptions): WindowGrid {
  const { shape, window, overlapRatio = 0.25, policy = "monai" } = options;
  if (shape.length === 0 || shape.length !== window.length) {
    throw new RangeError(
      `the region has ${shape.length} axes and the window ${window.length}: they must be equal`,
    );
  }
  if (!(overlapRatio >= 0 && overlapRatio < 1)) {
    throw new RangeError(`the overlap ratio is ${overlapRatio}: it must be at least 0 and below 1`);
  }
  for (const n of [...shape, ...window]) {
    if (!Number.isInteger(n) || n < 1)
      throw new RangeError(`${n} is not a size: sizes are whole numbers from 1`);
  }
  const starts = shape.map((n, axis) => axisStarts(n, window[axis]!, overlapRatio, policy));
  return { shape: [...shape], window: [...window], starts, policy, overlapRatio };
}

/** Starts along one axis of `n` samples. Both policies centre a window that is larger than the axis. */
export function axisStarts(n: number, window: number, overlapRatio: number, policy: WindowPolicy): number[] {
  if (n < window) return [-Math.floor((window - n) / 2)];
  return policy === "monai"
    ? monaiStarts(n, window, overlapRatio)
    : nnunetStarts(n, window, 1 - overlapRatio);
}

/** MONAI `dense_patch_slices` with `_get_scan_interval` (monai/data/utils.py, monai/inferers/utils.py). */
function monaiStarts(n: number, window: number, overlapRatio: number): number[] {
  const interval = window === n ? window : Math.max(1, Math.trunc(window * (1 - overlapRatio)));
  const starts: number[] = [];
  for (let start = 0; ; start += interval) {
    if (start + window >= n) {
      starts.push(n - window);
      return starts;
    }
    starts.push(start);
  }
}

/** nnU-Net v2 `compute_steps_for_sliding_window` (nnunetv2/inference/sliding_window_prediction.py). */
function nnunetStarts(n: number, window: number, step: number): number[] {
  const count = Math.ceil((n - window) / (window * step)) + 1;
  if (count === 1) return [0];
  const actual = (n - window) / (count - 1);
  return Array.from({ length: count }, (_, i) => roundHalfEven(actual * i));
}

/** Rounds half to even, as numpy. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/**
 * The windows of a grid that intersect a rect, as a grid over their bounding box. Windows keep their positions, so that the
 * result within the rect is the same.
 * @returns `region`: the box, cut at the border of the whole; `first`: number of its first window in the whole, per axis
 */
export function subGrid(
  whole: WindowGrid,
  rect: Rect,
): { grid: WindowGrid; region: Rect; first: readonly number[] } {
  const axes = whole.starts.map((starts, axis) => {
    const from = rect.origin[axis]!;
    const size = whole.window[axis]!;
    const touches = (start: number) => start < from + rect.size[axis]! && start + size > from;
    const first = starts.findIndex(touches);
    const chosen = starts.slice(first, starts.findLastIndex(touches) + 1);
    const origin = Math.max(0, chosen[0]!);
    const end = Math.min(whole.shape[axis]!, chosen.at(-1)! + size);
    return { first, origin, size: end - origin, starts: chosen.map((start) => start - origin) };
  });
  const region = { origin: axes.map((a) => a.origin), size: axes.map((a) => a.size) };
  const grid = { ...whole, shape: region.size, starts: axes.map((a) => a.starts) };
  return { grid, region, first: axes.map((a) => a.first) };
}

export function windowCount(grid: WindowGrid): number {
  return product(grid.starts.map((s) => s.length));
}

/** Per-axis position of window `index` in the grid. */
export function windowPosition(grid: WindowGrid, index: number): number[] {
  const position = new Array<number>(grid.starts.length);
  for (let axis = grid.starts.length - 1; axis >= 0; axis--) {
    const n = grid.starts[axis]!.length;
    position[axis] = index % n;
    index = Math.floor(index / n);
  }
  return position;
}

/** Inverse of `windowPosition`. */
export function windowIndex(grid: WindowGrid, position: readonly number[]): number {
  let index = 0;
  for (let axis = 0; axis < position.length; axis++)
    index = index * grid.starts[axis]!.length + position[axis]!;
  return index;
}

/** The rect of window `index`; it exceeds the region if the region is smaller than the window. */
export function windowRect(grid: WindowGrid, index: number): Rect {
  const position = windowPosition(grid, index);
  return { origin: position.map((p, axis) => grid.starts[axis]![p]!), size: grid.window };
}
