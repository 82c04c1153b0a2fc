import { intersect } from "../../tiling/grid/box.ts";
import { bytesPerSample, product, type Rect, type SampleArray } from "../../tiling/grid/raster.ts";
import { type WindowGrid, windowRect } from "../../tiling/grid/window-grid.ts";
import type { WindowSet } from "../../tiling/grid/window-set.ts";
import { Histogram } from "../../tiling/pixels/normalize.ts";
import { JobError } from "../errors.ts";
import { readPixels } from "../input/read-pixels.ts";
import type { WindowSource } from "../input/reoriented-image.ts";

/** Up to this many samples the percentiles are exact; above, they come from tiles spread over the region. */
const EXACT_SAMPLES = 4 << 20;
const SAMPLED_TILES = 48;
const STRIP_BYTES = 64 << 20;
const LARGEST_SIDE = 512;
const VOLUME_TILE = [1, LARGEST_SIDE, LARGEST_SIDE];

/**
 * Measures intensities at two percentiles of the region, all channels together, at the segmented level: the scope "image"
 * of a model's normalization. A thumbnail would not do, because its averages hide the extremes.
 */
export async function measurePercentiles(
  source: WindowSource,
  level: number,
  region: Rect,
  grid: WindowGrid,
  kept: WindowSet,
  channels: readonly number[],
  percentiles: readonly [number, number],
  signal: AbortSignal | undefined,
): Promise<{ low: number; high: number }> {
  const samples = sampleCollector(source.dtype);
  for (const rect of sampleRects(source, level, region, grid, kept)) {
    samples.add((await readPixels(source, level, rect, channels, signal)).data);
  }
  const [low, high] = percentiles.map((q) => samples.percentile(q)) as [number, number];
  // An image of one intensity gets a range of 1, as in training (model/README.md).
  return { low, high: high > low ? high : low + 1 };
}

function* sampleRects(
  source: WindowSource,
  level: number,
  region: Rect,
  grid: WindowGrid,
  kept: WindowSet,
): Generator<Rect> {
  if (product(region.size) <= EXACT_SAMPLES) {
    // In strips and channel by channel, to bound memory.
    const across = product(region.size.slice(1));
    const pixelBytes = source.channels.length * bytesPerSample(source.dtype);
    const rows = Math.max(1, Math.floor(Math.min(1 << 20, STRIP_BYTES / pixelBytes) / across));
    const length = region.size[0]!;
    for (let y = 0; y < length; y += rows) {
      const size = [Math.min(rows, length - y), ...region.size.slice(1)];
      yield { origin: [region.origin[0]! + y, ...region.origin.slice(1)], size };
    }
    return;
  }
  // For volumes, pieces that do not depend on the storage.
  const chunk = source.axes === "zyx" ? VOLUME_TILE : source.levels[level]!.chunk;
  const windows = [...kept];
  const seen = new Set<string>();
  for (let i = 0; i < SAMPLED_TILES; i++) {
    const { origin, size } = windowRect(
      grid,
      windows[Math.floor(((i + 0.5) / SAMPLED_TILES) * windows.length)]!,
    );
    const centre = origin.map((o, axis) => region.origin[axis]! + o + Math.floor(size[axis]! / 2));
    const tile = {
      origin: centre.map((c, axis) => Math.floor(c / side(chunk[axis]!)) * side(chunk[axis]!)),
      size: chunk.map(side),
    };
    const rect = intersect(tile, region);
    if (!rect || seen.has(rect.origin.join())) continue;
    seen.add(rect.origin.join());
    yield rect;
  }
}

function side(chunk: number): number {
  return Math.min(chunk, LARGEST_SIDE);
}

/** Integer samples are counted; others are kept and sorted, bounded by `EXACT_SAMPLES` and `SAMPLED_TILES`. */
function sampleCollector(dtype: string): { add(data: SampleArray): void; percentile(q: number): number } {
  if (dtype === "uint8") return new Histogram(1 << 8);
  if (dtype === "uint16") return new Histogram(1 << 16);
  const parts: SampleArray[] = [];
  let sorted: Float64Array | undefined;
  return {
    add: (data) => void parts.push(data.filter(Number.isFinite)),
    percentile(q) {
      if (!sorted) {
        sorted = new Float64Array(parts.reduce((n, p) => n + p.length, 0));
        let at = 0;
        for (const p of parts) {
          sorted.set(p, at);
          at += p.length;
        }
        sorted.sort();
      }
      if (sorted.length === 0)
        throw new JobError("the image holds no finite sample: there is nothing to segment");
      const rank = (q / 100) * (sorted.length - 1);
      const below = sorted[Math.floor(rank)]!;
      return below + (sorted[Math.ceil(rank)]! - below) * (rank - Math.floor(rank));
    },
  };
}
