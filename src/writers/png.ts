import { encode } from "fast-png";
import type { Raster } from "../tiling/grid/raster.ts";

/** Encodes an RGB picture `[height, width, 3]` as PNG. */
export function encodePng({ data, shape }: Raster<Uint8Array>): Uint8Array {
  const [height, width, channels] = shape as [number, number, number];
  if (channels !== 3 || data.length !== height * width * 3) {
    throw new RangeError(`expected ${height}x${width}x3 samples, got ${shape.join("x")} with ${data.length}`);
  }
  return encode({ width, height, data, channels });
}
