import type { ImageSource } from "../../image/image-source.ts";
import { windowRect } from "../../tiling/grid/window-grid.ts";
import { readPixels } from "../input/read-pixels.ts";
import { reorientedImage } from "../input/reoriented-image.ts";
import type { JobPlan } from "../job-plan.ts";

/** Measures for comparing the slides of a cohort; the values alone have no meaning. */
export interface ImageQuality {
  /** Median over windows of the variance of the Laplacian divided by that of the intensities. Lower when out of focus. */
  focus: number;
  /** Median over windows of the mean intensity, scaled so that the job's low is 0 and its high is 1. */
  intensity: number;
  /** Number of measured windows. */
  windows: number;
}

/** More windows take time and change the medians little. */
const MEASURED_WINDOWS = 16;

/**
 * Measures focus and brightness of a slide on evenly spread windows. Focus is the variance of the Laplacian
 * (Pech-Pacheco et al., ICPR 2000) divided by the variance, so that faint stains compare. For volumes, the middle slice
 * of each window is measured.
 */
export async function measureQuality(
  source: ImageSource,
  plan: JobPlan,
  signal: AbortSignal | undefined,
): Promise<ImageQuality> {
  const image = reorientedImage(source, plan.reorientation);
  const step = Math.max(1, Math.floor(plan.kept.size / MEASURED_WINDOWS));
  const focus: number[] = [];
  const intensity: number[] = [];
  let n = 0;
  for (const window of plan.kept) {
    if (n++ % step !== 0 || focus.length === MEASURED_WINDOWS) continue;
    const { origin, size } = windowRect(plan.grid, window);
    const from = plan.region.origin.map((o, axis) => o + Math.max(0, origin[axis]!));
    const to = plan.region.origin.map((o, axis) =>
      Math.min(o + plan.region.size[axis]!, o + origin[axis]! + size[axis]!),
    );
    if (from.length === 3) {
      from[0] = Math.floor((from[0]! + to[0]!) / 2);
      to[0] = from[0]! + 1;
    }
    const extent = to.map((t, axis) => t - from[axis]!);
    if (extent.some((e) => e < 1)) continue;
    const rect = { origin: from, size: extent };
    const { data } = await readPixels(image, plan.level, rect, plan.channels, signal);
    const [height, width] = extent.slice(-2) as [number, number];
    const measured = measureWindow(data, height, width, plan.channels.length, plan.scaling);
    focus.push(measured.focus);
    intensity.push(measured.intensity);
  }
  return { focus: median(focus), intensity: median(intensity), windows: focus.length };
}

/** @param data `[height, width, channels]` */
export function measureWindow(
  data: ArrayLike<number>,
  height: number,
  width: number,
  channels: number,
  { low, high }: { low: number; high: number },
): { focus: number; intensity: number } {
  const grey = new Float64Array(height * width);
  const range = Math.max(high - low, 1e-6);
  let sum = 0;
  for (let i = 0, at = 0; i < grey.length; i++) {
    let value = 0;
    for (let c = 0; c < channels; c++) {
      const sample = data[at++]!;
      if (Number.isFinite(sample)) value += sample;
    }
    grey[i] = (value / channels - low) / range;
    sum += grey[i]!;
  }
  const mean = sum / grey.length;
  let spread = 0;
  for (let i = 0; i < grey.length; i++) spread += (grey[i]! - mean) ** 2;
  const variance = spread / grey.length;
  let edges = 0;
  let edgesSquared = 0;
  let n = 0;
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1, at = y * width + 1; x < width - 1; x++, at++) {
      const edge = grey[at - 1]! + grey[at + 1]! + grey[at - width]! + grey[at + width]! - 4 * grey[at]!;
      edges += edge;
      edgesSquared += edge * edge;
      n++;
    }
  }
  const sharpness = n === 0 ? 0 : edgesSquared / n - (edges / n) ** 2;
  return { focus: variance > 1e-12 ? sharpness / variance : 0, intensity: mean };
}

function median(values: readonly number[]): number {
  if (values.length === 0) return 0;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
