import { buildCellGrid } from "./cell-grid.ts";
import { chunkGrid } from "./chunk-grid.ts";
import { product, type Rect } from "./raster.ts";
import type { WindowGrid } from "./window-grid.ts";
import type { WindowSet } from "./window-set.ts";

export interface Coverage {
  /** Samples that at least one kept window covers. */
  covered: number;
  uncovered: number;
  /** Numbers of the chunks with a covered sample: all of them must exist when the job is finished. */
  chunks: ReadonlySet<number>;
}

/**
 * Computes from the plan alone what a finished job must contain.
 * @param within the part of the grid's region to count; default all of it
 */
export function computeCoverage(
  grid: WindowGrid,
  kept: WindowSet,
  chunk: readonly number[],
  within: Rect = { origin: grid.shape.map(() => 0), size: grid.shape },
): Coverage {
  const intervals = buildCellGrid(grid).intervals.map((list, axis) => {
    const from = within.origin[axis]!;
    const to = from + within.size[axis]!;
    return list
      .map((i) => ({ ...i, start: Math.max(from, i.start), end: Math.min(to, i.end) }))
      .filter(({ start, end }) => start < end);
  });
  const axes = intervals.length;
  const chunks = chunkGrid(grid.shape, chunk);
  const touched = new Set<number>();
  /** Interval of the current cell along each axis. */
  const position = new Array<number>(axes).fill(0);

  const isCovered = (axis: number, before: number): boolean => {
    const { first, last } = intervals[axis]![position[axis]!]!;
    const from = before * grid.starts[axis]!.length;
    for (let window = from + first; window <= from + last; window++) {
      if (axis === axes - 1 ? kept.has(window) : isCovered(axis + 1, window)) return true;
    }
    return false;
  };
  const touch = (axis: number, before: number): void => {
    const { start, end } = intervals[axis]![position[axis]!]!;
    const from = before * chunks.counts[axis]!;
    const last = Math.floor((end - 1) / chunk[axis]!);
    for (let c = Math.floor(start / chunk[axis]!); c <= last; c++) {
      if (axis === axes - 1) touched.add(from + c);
      else touch(axis + 1, from + c);
    }
  };

  let covered = 0;
  for (let axis = axes - 1; axis >= 0; ) {
    if (isCovered(0, 0)) {
      covered += position.reduce((n, p, a) => n * (intervals[a]![p]!.end - intervals[a]![p]!.start), 1);
      touch(0, 0);
    }
    // The next cell, last axis fastest.
    for (axis = axes - 1; axis >= 0 && ++position[axis]! === intervals[axis]!.length; axis--)
      position[axis] = 0;
  }
  return { covered, uncovered: product(within.size) - covered, chunks: touched };
}
