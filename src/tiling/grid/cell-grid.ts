import type { Rect } from "./raster.ts";
import type { WindowGrid } from "./window-grid.ts";

/** An interval between neighbouring window borders along an axis. The windows `first..last` of the axis cover all of it. */
export interface Interval {
  start: number;
  end: number;
  first: number;
  last: number;
}

/**
 * A window grid divided into cells: boxes between window borders, whose samples are all covered by the same windows.
 * Counting the missing windows of cells, not of samples, tells when a part of the result is final. Cells are numbered
 * in raster order.
 */
export interface CellGrid {
  /** Intervals per axis, ascending, covering `[0, n)` without gaps. */
  readonly intervals: readonly (readonly Interval[])[];
  /** Number of intervals per axis. */
  readonly counts: readonly number[];
  /** Per axis and window: the first interval it covers, and one past the last. */
  readonly covered: readonly (readonly { first: number; end: number }[])[];
}

export function buildCellGrid(grid: WindowGrid): CellGrid {
  const intervals: Interval[][] = [];
  const covered: { first: number; end: number }[][] = [];
  for (let axis = 0; axis < grid.shape.length; axis++) {
    const n = grid.shape[axis]!;
    const size = grid.window[axis]!;
    const starts = grid.starts[axis]!;
    const borders = new Set<number>([0, n]);
    for (const start of starts) {
      borders.add(Math.max(0, start));
      borders.add(Math.min(n, start + size));
    }
    const sorted = [...borders].sort((a, b) => a - b);
    const list: Interval[] = [];
    let first = 0;
    let last = 0;
    for (let i = 0; i + 1 < sorted.length; i++) {
      const start = sorted[i]!;
      const end = sorted[i + 1]!;
      while (starts[first]! + size <= start) first++;
      while (last + 1 < starts.length && starts[last + 1]! < end) last++;
      list.push({ start, end, first, last });
    }
    intervals.push(list);
    covered.push(
      starts.map((_, w) => ({
        first: list.findIndex((interval) => interval.first <= w && w <= interval.last),
        end: list.findLastIndex((interval) => interval.first <= w && w <= interval.last) + 1,
      })),
    );
  }
  return { intervals, counts: intervals.map((list) => list.length), covered };
}

/** The interval of a cell along each axis. */
export function cellIntervals({ intervals, counts }: CellGrid, cell: number): Interval[] {
  const found = new Array<Interval>(counts.length);
  for (let axis = counts.length - 1; axis >= 0; axis--) {
    const n = counts[axis]!;
    found[axis] = intervals[axis]![cell % n]!;
    cell = Math.floor(cell / n);
  }
  return found;
}

export function cellRect(intervals: readonly Interval[]): Rect {
  return { origin: intervals.map((i) => i.start), size: intervals.map((i) => i.end - i.start) };
}

/** Numbers of the cells of a window, in raster order. */
export function cellsOfWindow(cells: CellGrid, position: readonly number[]): number[] {
  return rasterNumbers(
    cells.counts,
    position.map((p, axis) => cells.covered[axis]![p]!),
  );
}

/** Numbers of the cells that share samples with a box, in raster order. */
export function cellsTouching(cells: CellGrid, rect: Rect): number[] {
  return rasterNumbers(
    cells.counts,
    rect.origin.map((start, axis) => {
      const list = cells.intervals[axis]!;
      const end = start + rect.size[axis]!;
      return {
        first: list.findIndex((i) => i.end > start),
        end: list.findLastIndex((i) => i.start < end) + 1,
      };
    }),
  );
}

/** Numbers of the windows that cover a cell, in raster order. */
export function windowsOfCell(grid: WindowGrid, intervals: readonly Interval[]): number[] {
  return rasterNumbers(
    grid.starts.map((starts) => starts.length),
    intervals.map(({ first, last }) => ({ first, end: last + 1 })),
  );
}

/** Raster numbers of the product of a range along each axis. @param counts length of each axis */
function rasterNumbers(
  counts: readonly number[],
  ranges: readonly { first: number; end: number }[],
): number[] {
  let numbers = [0];
  for (let axis = 0; axis < ranges.length; axis++) {
    const { first, end } = ranges[axis]!;
    const next: number[] = [];
    for (const number of numbers) for (let i = first; i < end; i++) next.push(number * counts[axis]! + i);
    numbers = next;
  }
  return numbers;
}
