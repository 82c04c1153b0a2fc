import type { Raster, Rect } from "./raster.ts";
import { type WindowGrid, windowCount, windowRect } from "./window-grid.ts";
import { WindowSet } from "./window-set.ts";

/** A boolean picture of a region at any resolution, `[h, w]`, 0 or not 0. */
export interface RegionMask {
  raster: Raster<Uint8Array>;
  /** What the mask shows, in the coordinates of the level that is segmented. */
  rect: Rect;
}

/**
 * Tissue in a thumbnail `[h, w, C]` (uint8): whatever stands out of the background. Bright-field backgrounds
 * are near white, fluorescence ones near black; which of the two is told by the mean. The threshold stays close
 * above the background, at its noise, and never above Otsu's: a dim nucleus left out would be a silent hole,
 * an empty window more costs milliseconds. No contrast at all: everything counts as tissue.
 */
export function tissueMask(thumbnail: Raster<Uint8Array>): Raster<Uint8Array> {
  const [height, width, channels] = thumbnail.shape as [number, number, number];
  const { data } = thumbnail;
  const pixels = height * width;
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i]!;
  const bright = sum / data.length > 127.5;
  const distance = new Uint8Array(pixels);
  const histogram = new Float64Array(256);
  for (let i = 0; i < pixels; i++) {
    let d = 0;
    for (let c = 0; c < channels; c++) {
      const v = data[i * channels + c]!;
      d = Math.max(d, bright ? 255 - v : v);
    }
    distance[i] = d;
    histogram[d]!++;
  }
  const threshold = backgroundThreshold(histogram);
  const mask = new Uint8Array(pixels);
  for (let i = 0; i < pixels; i++) mask[i] = distance[i]! > threshold ? 1 : 0;
  return { data: dilate(mask, width, height), shape: [height, width] };
}

/** -1 when there is no background to tell from tissue. */
function backgroundThreshold(histogram: Float64Array): number {
  const otsu = otsuThreshold(histogram);
  if (otsu.separation < 6) return -1;
  let mode = 0;
  for (let v = 1; v <= otsu.threshold; v++) if (histogram[v]! > histogram[mode]!) mode = v;
  let below = 0;
  let spread = 0;
  for (let v = 0; v <= mode; v++) {
    below += histogram[v]!;
    spread += histogram[v]! * (mode - v) ** 2;
  }
  const sigma = Math.sqrt(spread / below);
  return Math.min(otsu.threshold, mode + Math.max(4, Math.ceil(4 * sigma)));
}

/** Otsu 1979: the threshold of largest between-class variance; `separation` is the distance of the two means. */
function otsuThreshold(histogram: Float64Array): { threshold: number; separation: number } {
  let total = 0;
  let weighted = 0;
  for (let v = 0; v < 256; v++) {
    total += histogram[v]!;
    weighted += v * histogram[v]!;
  }
  let best = -1;
  let threshold = 0;
  let separation = 0;
  let count = 0;
  let sum = 0;
  for (let v = 0; v < 255; v++) {
    count += histogram[v]!;
    sum += v * histogram[v]!;
    if (count === 0 || count === total) continue;
    const gap = (weighted - sum) / (total - count) - sum / count;
    const variance = count * (total - count) * gap * gap;
    if (variance > best) {
      best = variance;
      threshold = v;
      separation = gap;
    }
  }
  return { threshold, separation };
}

/** One step in all eight directions: tissue borders lie between thumbnail pixels. */
function dilate(mask: Uint8Array, width: number, height: number): Uint8Array {
  const out = new Uint8Array(mask.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (mask[y * width + x] === 0) continue;
      for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) out[v * width + u] = 1;
      }
    }
  }
  return out;
}

/** Keeps the windows that meet a set sample of the mask. `origin` places the grid's region in the level (y, x). */
export function keepWindows(grid: WindowGrid, origin: readonly number[], mask: RegionMask): WindowSet {
  const [height, width] = mask.raster.shape as [number, number];
  // Summed-area table: one look-up a window, however large the mask.
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

/** Share of set samples in the part of the mask that shows `region`. */
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
