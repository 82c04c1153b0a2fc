import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { decode } from "fast-png";
import type { Raster } from "../tiling/grid/raster.ts";
import { encodePng } from "../writers/png.ts";
import { writeFileAtomic } from "./cohort-directory.ts";

/** Longest side. */
export const THUMBNAIL_PIXELS = 320;
/** An overlay has 2048 × 2048 pixels at most; a larger file is not one of ours. */
const MAX_BYTES = 32 << 20;
const KEPT = `.thumbnail-${THUMBNAIL_PIXELS}.png`;

/** A small PNG of a job's overlay, cached beside it; undefined without an overlay. */
export function readThumbnailPng(directory: string): Uint8Array | undefined {
  const cached = join(directory, KEPT);
  if (existsSync(cached)) return readFileSync(cached);
  const overlay = join(directory, "overlay.png");
  if (!existsSync(overlay) || statSync(overlay).size > MAX_BYTES) return undefined;
  try {
    const { width, height, channels, data } = decode(readFileSync(overlay));
    if (channels !== 3 || !(data instanceof Uint8Array || data instanceof Uint8ClampedArray))
      return undefined;
    const picture = shrink({ data: new Uint8Array(data), shape: [height, width, 3] }, THUMBNAIL_PIXELS);
    const png = encodePng(picture);
    writeFileAtomic(cached, png);
    return png;
  } catch {
    // The report can do without one picture.
    return undefined;
  }
}

/** Box filter: each pixel is the mean of the pixels that it covers. */
export function shrink({ data, shape }: Raster<Uint8Array>, longest: number): Raster<Uint8Array> {
  const [height, width] = shape as [number, number, number];
  const scale = Math.min(1, longest / Math.max(width, height));
  const [w, h] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  const out = new Uint8Array(w * h * 3);
  for (let y = 0; y < h; y++) {
    const top = Math.floor((y * height) / h);
    const bottom = Math.max(top + 1, Math.floor(((y + 1) * height) / h));
    for (let x = 0; x < w; x++) {
      const left = Math.floor((x * width) / w);
      const right = Math.max(left + 1, Math.floor(((x + 1) * width) / w));
      const sums = [0, 0, 0];
      for (let v = top; v < bottom; v++) {
        for (let u = left, at = (v * width + left) * 3; u < right; u++) {
          for (let c = 0; c < 3; c++) sums[c]! += data[at++]!;
        }
      }
      const n = (bottom - top) * (right - left);
      for (let c = 0; c < 3; c++) out[(y * w + x) * 3 + c] = Math.round(sums[c]! / n);
    }
  }
  return { data: out, shape: [h, w, 3] };
}
