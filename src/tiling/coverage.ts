import { cutIntoCells } from "./cell-grid.ts";
import { chunkGrid, chunksTouching } from "./chunk-grid.ts";
import { product } from "./raster.ts";
import type { WindowGrid } from "./window-grid.ts";
import type { WindowSet } from "./window-set.ts";

export interface Coverage {
  /** Samples of the region that at least one kept window covers. */
  covered: number;
  uncovered: number;
  /** Numbers of the chunks that hold a covered sample: those that must exist in the end. */
  chunks: ReadonlySet<number>;
}

/** What a plan must produce, computed from the plan alone: the yardstick a finished job is held against. */
export function plannedCoverage(grid: WindowGrid, kept: WindowSet, chunk: readonly number[]): Coverage {
  const { intervals } = cutIntoCells(grid);
  const counts = intervals.map((list) => list.length);
  const chunks = chunkGrid(grid.shape, chunk);
  const touched = new Set<number>();
  let covered = 0;
  const cells = product(counts);
  for (let cell = 0; cell < cells; cell++) {
    const position = new Array<number>(counts.length);
    for (let axis = counts.length - 1, rest = cell; axis >= 0; axis--) {
      position[axis] = rest % counts[axis]!;
      rest = Math.floor(rest / counts[axis]!);
    }
    const at = position.map((p, axis) => intervals[axis]![p]!);
    let windows = [0];
    at.forEach(({ first, last }, axis) => {
      const n = grid.starts[axis]!.length;
      windows = windows.flatMap((w) => Array.from({ length: last - first + 1 }, (_, i) => w * n + first + i));
    });
    if (!windows.some((w) => kept.has(w))) continue;
    const rect = { origin: at.map((i) => i.start), size: at.map((i) => i.end - i.start) };
    covered += product(rect.size);
    for (const c of chunksTouching(chunks, rect)) touched.add(c);
  }
  return { covered, uncovered: product(grid.shape) - covered, chunks: touched };
}
