import type { ImageSource } from "../../image/image-source.ts";
import { bytesPerSample, type Raster, type Rect } from "../../tiling/grid/raster.ts";
import { readPixels } from "./read-pixels.ts";

/** The thumbnail is read from the coarsest level with at least this many samples along its long side. */
const MIN_SOURCE_SIDE = 1024;
const MAX_THUMBNAIL_SIDE = 2048;
/** Pixels read at once: bounds memory on large images. */
const READ_BLOCK = [1024, 4096] as const;
/** Bytes read at once: bounds memory on images with thousands of channels. */
const BLOCK_BYTES = 64 << 20;

/**
 * Reads a small picture `[h, w, C]` (uint8, at most 2048 samples long) of a level-0 rect of a 2-D image. Each pixel is
 * the mean of its samples; deeper samples are scaled to bytes.
 */
export async function readRegionPicture(
  source: ImageSource,
  rect: Rect,
  channels: readonly number[],
  signal: AbortSignal | undefined,
): Promise<Raster<Uint8Array>> {
  let level = 0;
  source.levels.forEach((l, i) => {
    const long = Math.max(...rect.size.map((s, axis) => s / l.downsample[axis]!));
    if (long >= MIN_SOURCE_SIDE) level = i;
  });
  const { downsample, shape } = source.levels[level]!;
  const origin = rect.origin.map((o, axis) => Math.min(shape[axis]! - 1, Math.floor(o / downsample[axis]!)));
  const end = rect.origin.map((o, axis) =>
    Math.min(
      shape[axis]!,
      Math.max(origin[axis]! + 1, Math.round((o + rect.size[axis]!) / downsample[axis]!)),
    ),
  );
  const [height, width] = end.map((e, axis) => e - origin[axis]!) as [number, number];
  const factor = Math.ceil(Math.max(height, width) / MAX_THUMBNAIL_SIDE);
  const outHeight = Math.ceil(height / factor);
  const outWidth = Math.ceil(width / factor);
  const count = channels.length;
  const step = chooseBlock(source, level);
  const sums = new Float64Array(outHeight * outWidth * count);
  const counts = new Uint32Array(outHeight * outWidth);
  for (let y = 0; y < height; y += step[0]) {
    for (let x = 0; x < width; x += step[1]) {
      const size = [Math.min(step[0], height - y), Math.min(step[1], width - x)] as const;
      const block = { origin: [origin[0]! + y, origin[1]! + x], size };
      const { data } = await readPixels(source, level, block, channels, signal);
      for (let v = 0, at = 0; v < size[0]; v++) {
        const row = Math.floor((y + v) / factor) * outWidth;
        for (let u = 0; u < size[1]; u++) {
          const to = row + Math.floor((x + u) / factor);
          counts[to]!++;
          for (let c = 0; c < count; c++) {
            const sample = data[at++]!;
            if (Number.isFinite(sample)) sums[to * count + c]! += sample;
          }
        }
      }
    }
  }
  const means = new Float64Array(sums.length);
  for (let i = 0; i < means.length; i++) means[i] = sums[i]! / (counts[Math.floor(i / count)] || 1);
  return { data: toBytes(means, source.dtype === "uint8"), shape: [outHeight, outWidth, count] };
}

/** At least a stored tile, because tiles are decoded as a whole. */
function chooseBlock({ levels, dtype, channels }: ImageSource, level: number): readonly [number, number] {
  const [tileHeight, tileWidth] = levels[level]!.chunk as [number, number];
  const pixels = BLOCK_BYTES / (channels.length * bytesPerSample(dtype));
  const height = Math.min(READ_BLOCK[0], Math.max(tileHeight, Math.floor(Math.sqrt(pixels / 4))));
  return [height, Math.min(READ_BLOCK[1], Math.max(tileWidth, Math.floor(pixels / height)))];
}

/**
 * Scales deep samples from their minimum to their 99th percentile. Scaled to the maximum, one speck of debris would
 * leave everything else as dark as the background.
 */
function toBytes(means: Float64Array, isBytes: boolean): Uint8Array {
  const sorted = isBytes ? undefined : means.slice().sort();
  const low = sorted ? sorted[0]! : 0;
  const high = sorted ? sorted[Math.floor(0.99 * (sorted.length - 1))]! : 255;
  const out = new Uint8ClampedArray(means.length);
  for (let i = 0; i < out.length; i++) out[i] = ((means[i]! - low) / (high - low || 1)) * 255;
  return new Uint8Array(out.buffer);
}
