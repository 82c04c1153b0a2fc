import type { WindowGrid } from "./window-grid.ts";

/**
 * One interval between neighbouring window borders along an axis. All its samples are covered by the same
 * windows `first..last` of that axis.
 */
export interface Interval {
  start: number;
  end: number;
  first: number;
  last: number;
}

/**
 * Cuts a window grid into cells: boxes between window borders, within which every sample is covered by the same
 * windows. Cells, not samples, are what must be counted to know when a part of the result is final.
 */
export interface CellGrid {
  /** Intervals per axis, ascending, covering `[0, n)` without gaps. */
  readonly intervals: readonly (readonly Interval[])[];
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
  return { intervals, covered };
}
