import { describe, expect, test } from "vitest";
import type { ImageSource } from "../../src/image/image-source.ts";
import { readRegionPicture } from "../../src/orchestrator/input/thumbnail.ts";
import { measurePercentiles } from "../../src/orchestrator/plan/intensity-percentiles.ts";
import { product, type Rect } from "../../src/tiling/grid/raster.ts";
import { planWindowGrid } from "../../src/tiling/grid/window-grid.ts";
import { WindowSet } from "../../src/tiling/grid/window-set.ts";

const SIDE = 1100;
const CHANNELS = 100;

/** An image of a hundred channels that remembers what it was asked for. */
function manyChannels() {
  const asked = { bytes: 0, pixels: 0 };
  const source = {
    axes: "yx",
    dtype: "uint16",
    levels: [{ shape: [SIDE, SIDE], downsample: [1, 1], chunk: [128, 128] }],
    channels: Array.from({ length: CHANNELS }, () => ({})),
    async readRegion(_level: number, { size }: Rect) {
      const data = new Uint16Array(product(size) * CHANNELS).fill(7);
      asked.bytes = Math.max(asked.bytes, data.byteLength);
      asked.pixels += product(size);
      return { data, shape: [...size, CHANNELS] };
    },
  };
  return { source: source as unknown as ImageSource, asked };
}

const whole = { origin: [0, 0], size: [SIDE, SIDE] };
// A hundred channels of the whole take 242 MB.
const MOST_BYTES = 64 * 2 ** 20;

describe("planning holds a bounded number of channels at once", () => {
  test("of a thumbnail", async () => {
    const { source, asked } = manyChannels();
    const { shape } = await readRegionPicture(source, whole, [0, 3], undefined);
    expect(shape).toEqual([SIDE, SIDE, 2]);
    expect(asked.pixels).toBe(SIDE * SIDE);
    expect(asked.bytes).toBeLessThanOrEqual(MOST_BYTES);
  });

  test("of the intensities", async () => {
    const { source, asked } = manyChannels();
    const grid = planWindowGrid({ shape: [SIDE, SIDE], window: [256, 256] });
    const kept = WindowSet.all(1);
    const range = await measurePercentiles(source, 0, whole, grid, kept, [0, 3], [1, 99], undefined);
    expect(range).toEqual({ low: 7, high: 8 });
    expect(asked.pixels).toBe(SIDE * SIDE);
    expect(asked.bytes).toBeLessThanOrEqual(MOST_BYTES);
  });
});
