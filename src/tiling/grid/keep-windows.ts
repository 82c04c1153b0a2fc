import type { Raster, Rect } from "./raster.ts";
import { type WindowGrid, windowCount, windowRect } from "./window-grid.ts";
import { WindowSet } from "./window-set.ts";

/** A mask of a region at any resolution. */
export interface RegionMask {
  raster: Raster<Uint8Array>;
  /** The area of the mask in coordinates of the segmented level. */
  rect: Rect;
}

/** Keeps the windows that contain a set sample of the mask. @param origin origin of the grid's region in the level (y, x) */
export function keepWindows(grid: WindowGrid, origin: readonly number[], mask: RegionMask): WindowSet {
  const [height, width] = mask.raster.shape as [number, number];
  // Summed-area table: one lookup for each window, for masks of any size.
  const sums = new Float64Array((height + 1) * (width + 1));
  for (let y = 0; y < height; y++) {
    let row = 0;
    for (let x = 0; x < width; x++) {
      if (mask.raster.data[y * width + x]) row++;
      sums[(y + 1) * (width + 1) + x + 1] = sums[y * (width + 1) + x + 1]! + row;
    }
  }
  const scale = [height / mask.rect.size[0]!, width / mask.rect.size[1]!];
  const limit = [height, width];
  const kept = new WindowSet(windowCount(grid));
  for (let w = 0; w < kept.length; w++) {
    const rect = windowRect(grid, w);
    const low: number[] = [];
    const high: number[] = [];
    for (let axis = 0; axis < 2; axis++) {
      const start = rect.origin[axis]! + origin[axis]! - mask.rect.origin[axis]!;
      const from = Math.floor(start * scale[axis]!);
      const to = Math.ceil((start + rect.size[axis]!) * scale[axis]!);
      low.push(Math.min(Math.max(0, from), limit[axis]!));
      high.push(Math.min(Math.max(0, to), limit[axis]!));
    }
    const [y0, x0, y1, x1] = [low[0]!, low[1]!, high[0]!, high[1]!];
    const row0 = y0 * (width + 1);
    const row1 = y1 * (width + 1);
    if (sums[row1 + x1]! - sums[row0 + x1]! - sums[row1 + x0]! + sums[row0 + x0]! > 0) kept.add(w);
  }
  return kept;
}

/** Share of set samples of the mask within `region`. */
export function maskFraction(mask: RegionMask, region: Rect): number {
  const [height, width] = mask.raster.shape as [number, number];
  const [from, to] = [0, 1].map((end) =>
    [height, width].map((n, axis) => {
      const at = region.origin[axis]! + end * region.size[axis]! - mask.rect.origin[axis]!;
      const sample = (at / mask.rect.size[axis]!) * n;
      return end === 0 ? Math.min(n - 1, Math.floor(sample)) : Math.min(n, Math.ceil(sample));
    }),
  ) as [[number, number], [number, number]];
  let set = 0;
  for (let y = from[0]; y < to[0]; y++) {
    for (let x = from[1]; x < to[1]; x++) if (mask.raster.data[y * width + x]) set++;
  }
  return set / ((to[0] - from[0]) * (to[1] - from[1]));
}
