import type { LabelMapInfo, LabelStore } from "../../../src/image/label-sink.ts";

export const CLASSES = [
  { name: "background", color: "#000000" },
  { name: "interior", color: "#2ca02c" },
  { name: 'boundary "ß"', color: "#d62728" },
];

export function labelMapInfo(shape: readonly number[], chunk: readonly number[]): LabelMapInfo {
  return {
    shape,
    chunk,
    dtype: "uint8",
    axes: shape.length === 2 ? "yx" : "zyx",
    spacing: { values: shape.map(() => 0.5), unit: "micrometer" },
    placement: { origin: shape.map((_, a) => 64 * a + 32), downsample: shape.map(() => 2) },
    classes: CLASSES,
    name: "nuclei",
  };
}

/** Cells with an interior (1) and a boundary (2) in the middle half of the map; the rest is background. */
export function cells(shape: readonly number[], count: number, seed = 1): Uint8Array {
  const [height, width] = shape as [number, number];
  const data = new Uint8Array(height * width);
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  for (let i = 0; i < count; i++) {
    const cy = random() * height;
    const cx = (0.25 + random() / 2) * width;
    const radius = 4 + random() * 7;
    for (let y = Math.max(0, Math.floor(cy - 12)); y < Math.min(height, cy + 12); y++) {
      for (let x = Math.max(0, Math.floor(cx - 12)); x < Math.min(width, cx + 12); x++) {
        const distance = Math.hypot(y - cy, x - cx) + random() * 0.8;
        if (distance > radius) continue;
        const inner = distance < radius - 2;
        if (inner || data[y * width + x] === 0) data[y * width + x] = inner ? 1 : 2;
      }
    }
  }
  return data;
}

/** Writes the chunks of a whole map that hold anything, in a scrambled order. */
export async function storeLabels(labelStore: LabelStore, data: Uint8Array): Promise<void> {
  const { shape, chunk } = labelStore.info;
  const [height, width] = shape as [number, number];
  const [chunkHeight, chunkWidth] = chunk as [number, number];
  const chunks: { index: number[]; raster: { data: Uint8Array; shape: number[] } }[] = [];
  for (let row = 0; row * chunkHeight < height; row++) {
    for (let column = 0; column * chunkWidth < width; column++) {
      const h = Math.min(chunkHeight, height - row * chunkHeight);
      const w = Math.min(chunkWidth, width - column * chunkWidth);
      const samples = new Uint8Array(h * w);
      for (let y = 0; y < h; y++) {
        const at = (row * chunkHeight + y) * width + column * chunkWidth;
        samples.set(data.subarray(at, at + w), y * w);
      }
      if (samples.some((v) => v !== 0)) {
        chunks.push({ index: [row, column], raster: { data: samples, shape: [h, w] } });
      }
    }
  }
  for (const chunk of chunks.toReversed()) await labelStore.writeChunk(chunk);
}
