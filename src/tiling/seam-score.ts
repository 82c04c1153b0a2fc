import { cutIntoCells } from "./cell-grid.ts";
import type { Raster, Rect } from "./raster.ts";
import type { WindowGrid } from "./window-grid.ts";

/** Neighbouring samples that were looked at, and how many pairs of them have different classes. */
export interface SeamCounts {
  seamPairs: number;
  seamChanges: number;
  otherPairs: number;
  otherChanges: number;
}

export function noSeams(): SeamCounts {
  return { seamPairs: 0, seamChanges: 0, otherPairs: 0, otherChanges: 0 };
}

/** Per axis: 1 where a window of the grid begins or ends between sample i - 1 and i. */
export function windowBorders(grid: WindowGrid): Uint8Array[] {
  return cutIntoCells(grid).intervals.map((list, axis) => {
    const border = new Uint8Array(grid.shape[axis]!);
    for (const { start } of list) if (start > 0) border[start] = 1;
    return border;
  });
}

/**
 * Adds the neighbour pairs inside one chunk of a label map to `counts`. If tiling is invisible, classes change
 * across window borders exactly as often as anywhere else; a seam shows as more.
 */
export function countSeams(
  labels: Raster<Uint8Array>,
  rect: Rect,
  borders: Uint8Array[],
  counts: SeamCounts,
): void {
  const { data, shape } = labels;
  for (let axis = 0, outer = 1; axis < shape.length; axis++) {
    const n = shape[axis]!;
    const inner = data.length / (outer * n);
    for (let o = 0; o < outer; o++) {
      for (let i = 1; i < n; i++) {
        const at = (o * n + i) * inner;
        let changes = 0;
        for (let s = 0; s < inner; s++) if (data[at + s] !== data[at + s - inner]) changes++;
        if (borders[axis]![rect.origin[axis]! + i]) {
          counts.seamPairs += inner;
          counts.seamChanges += changes;
        } else {
          counts.otherPairs += inner;
          counts.otherChanges += changes;
        }
      }
    }
    outer *= n;
  }
}

/** Rate of change across window borders over the rate elsewhere: 1 is seamless. Undefined without changes. */
export function seamScore(counts: SeamCounts): number | undefined {
  if (counts.seamPairs === 0 || counts.otherChanges === 0) return undefined;
  return counts.seamChanges / counts.seamPairs / (counts.otherChanges / counts.otherPairs);
}
