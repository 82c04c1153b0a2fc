import { buildCellGrid } from "../grid/cell-grid.ts";
import type { Raster, Rect } from "../grid/raster.ts";
import type { WindowGrid } from "../grid/window-grid.ts";

/** Counts of compared neighbouring samples, and of pairs with different classes. */
export interface SeamCounts {
  seamPairs: number;
  seamChanges: number;
  controlPairs: number;
  controlChanges: number;
}

export function emptySeamCounts(): SeamCounts {
  return { seamPairs: 0, seamChanges: 0, controlPairs: 0, controlChanges: 0 };
}

const SEAM = 1;
const CONTROL = 2;

/**
 * Distances of the control lines from a window border. Networks that divide windows into patches produce edges on the
 * lattice of patches, which includes the window borders: only control lines of the same phase separate seams from that.
 */
const CONTROL_DISTANCES = [-32, -16, 16, 32];

/** Per axis, the line between samples i - 1 and i: a window border (1), a control line (2) or neither (0). */
export function seamLines(grid: WindowGrid): Uint8Array[] {
  return buildCellGrid(grid).intervals.map((list, axis) => {
    const n = grid.shape[axis]!;
    const lines = new Uint8Array(n);
    const borders = list.map((i) => i.start).filter((start) => start > 0);
    for (const border of borders) {
      for (const d of CONTROL_DISTANCES) {
        if (border + d > 0 && border + d < n) lines[border + d] = CONTROL;
      }
    }
    for (const border of borders) lines[border] = SEAM;
    return lines;
  });
}

/**
 * Adds the neighbour pairs inside one chunk of a label map to `counts`. If tiling is invisible, classes change
 * across window borders exactly as often as across the control lines; a seam shows as more.
 */
export function countSeams(
  labels: Raster<Uint8Array>,
  rect: Rect,
  lines: readonly Uint8Array[],
  counts: SeamCounts,
): void {
  const { data, shape } = labels;
  for (let axis = 0, outer = 1; axis < shape.length; axis++) {
    const n = shape[axis]!;
    const inner = data.length / (outer * n);
    for (let i = 1; i < n; i++) {
      const kind = lines[axis]![rect.origin[axis]! + i]!;
      if (kind === 0) continue;
      let changes = 0;
      for (let o = 0; o < outer; o++) {
        const at = (o * n + i) * inner;
        for (let s = 0; s < inner; s++) if (data[at + s] !== data[at + s - inner]) changes++;
      }
      if (kind === SEAM) {
        counts.seamPairs += outer * inner;
        counts.seamChanges += changes;
      } else {
        counts.controlPairs += outer * inner;
        counts.controlChanges += changes;
      }
    }
    outer *= n;
  }
}

/** Rate of change across window borders over the rate across control lines: 1 is seamless. Undefined if there are no changes. */
export function seamScore(counts: SeamCounts): number | undefined {
  if (counts.seamPairs === 0 || counts.controlChanges === 0) return undefined;
  return counts.seamChanges / counts.seamPairs / (counts.controlChanges / counts.controlPairs);
}
