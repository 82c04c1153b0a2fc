import type { LabelMapInfo, LabelStore } from "../../../src/image/label-sink.ts";
import { CLASSES } from "./label-map.ts";

export interface MadeVolume {
  shape: readonly [number, number, number];
  chunk?: readonly [number, number, number];
  spacing?: readonly number[];
  origin?: readonly number[];
  downsample?: readonly number[];
}

export function volumeInfo({ shape, chunk, spacing, origin, downsample }: MadeVolume): LabelMapInfo {
  return {
    shape,
    chunk: chunk ?? [1, 512, 2048],
    dtype: "uint8",
    axes: "zyx",
    spacing: { values: (spacing ?? [2, 0.8, 0.8]).map((v) => v * 1000), unit: "micrometer" },
    placement: { origin: origin ?? [0, 0, 0], downsample: downsample ?? [1, 1, 1] },
    classes: CLASSES,
    name: "organs",
  };
}

/** Class indices of a volume with a few blobs, the first slices empty; the same for the same seed. */
export function blobs([depth, height, width]: readonly [number, number, number], seed = 1): Uint8Array {
  const data = new Uint8Array(depth * height * width);
  for (let z = Math.min(1, depth - 1), i = z * height * width; z < depth; z++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++, i++) {
        const wave = Math.sin(x / 3 + seed) + Math.sin(y / 4 - seed) + Math.sin(z / 2 + x / 9);
        data[i] = wave > 1.2 ? 2 : wave > 0.6 ? 1 : 0;
      }
  return data;
}

/** Writes the chunks of a whole volume that hold anything. */
export async function storeVolume(labelStore: LabelStore, data: Uint8Array): Promise<void> {
  const { shape, chunk } = labelStore.info;
  const [depth, height, width] = shape as [number, number, number];
  const [cz, cy, cx] = chunk as [number, number, number];
  for (let z = 0; z < depth; z += cz)
    for (let y = 0; y < height; y += cy)
      for (let x = 0; x < width; x += cx) {
        const size = [Math.min(cz, depth - z), Math.min(cy, height - y), Math.min(cx, width - x)] as const;
        const samples = new Uint8Array(size[0] * size[1] * size[2]);
        for (let k = 0; k < size[0]; k++)
          for (let j = 0; j < size[1]; j++) {
            const at = ((z + k) * height + y + j) * width + x;
            samples.set(data.subarray(at, at + size[2]), (k * size[1] + j) * size[2]);
          }
        if (samples.every((v) => v === 0)) continue;
        await labelStore.writeChunk({
          index: [z / cz, y / cy, x / cx],
          raster: { data: samples, shape: size },
        });
      }
}
