import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  activate,
  extractWindow,
  Histogram,
  normalizeWindows,
  type Raster,
  regionForWindow,
  resample,
} from "../../src/tiling/index.ts";
import { fromFloat16Bits, toFloat16Bits } from "../../src/tiling/pixels/float16.ts";

function image(height: number, width: number, channels: number): Raster<Uint16Array> {
  const data = Uint16Array.from({ length: height * width * channels }, (_, i) => (i * 7919) % 65521);
  return { data, shape: [height, width, channels] };
}

describe("window extraction", () => {
  it("contains image samples inside and mirrored ones beyond, from the requested region only", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: -25, max: 19 }),
        fc.integer({ min: -25, max: 19 }),
        fc.integer({ min: 1, max: 40 }),
        (height, width, y, x, size) => {
          const window = { origin: [y, x], size: [size, size] };
          const rect = regionForWindow(window, [height, width]);
          if (!rect) {
            expect(y + size <= 0 || x + size <= 0 || y >= height || x >= width).toBe(true);
            return;
          }
          const full = image(height, width, 2);
          const whole = { origin: [0, 0], size: [height, width] };
          const cut = (r: typeof whole) => extractWindow(full, whole, r, [height, width]);
          const region = cut({ origin: [...rect.origin], size: [...rect.size] });
          const out = extractWindow(region, rect, window, [height, width]);
          const mirror = (i: number, n: number) => {
            while (n > 1 && (i < 0 || i >= n)) i = i < 0 ? -i : 2 * (n - 1) - i;
            return n === 1 ? 0 : i;
          };
          for (let v = 0; v < size; v++) {
            for (let u = 0; u < size; u++) {
              const from = (mirror(y + v, height) * width + mirror(x + u, width)) * 2;
              expect(out.data[(v * size + u) * 2]).toBe(full.data[from]);
              expect(out.data[(v * size + u) * 2 + 1]).toBe(full.data[from + 1]);
            }
          }
        },
      ),
    );
  });

  it("pads with zeros when asked to", () => {
    const full = image(2, 2, 1);
    const whole = { origin: [0, 0], size: [2, 2] };
    const out = extractWindow(full, whole, { origin: [-1, -1], size: [4, 4] }, [2, 2], "constant");
    expect([...out.data]).toEqual([
      0,
      0,
      0,
      0,
      0,
      full.data[0],
      full.data[1],
      0,
      0,
      full.data[2],
      full.data[3],
      0,
      0,
      0,
      0,
      0,
    ]);
  });
});

describe("resampling", () => {
  it("keeps a constant constant, the mean near, and returns the same raster for the same size", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 0, max: 255 }),
        (a, b, v) => {
          const flat = { data: new Uint8Array(a * a * 3).fill(v), shape: [a, a, 3] };
          const out = resample(flat, [b, b], 0);
          expect(out.shape).toEqual([b, b, 3]);
          expect(out.data.every((x) => x === v)).toBe(true);
        },
      ),
    );
    const raster = { data: Float32Array.of(1, 2, 3, 4), shape: [1, 2, 2] };
    expect(resample(raster, [2, 2], 1)).toBe(raster);
  });

  it("halves by averaging neighbours and doubles on the line between them", () => {
    const line = { data: Float32Array.of(0, 4, 8, 12), shape: [1, 4] };
    expect([...resample(line, [1, 8], 0).data]).toEqual([0, 1, 3, 5, 7, 9, 11, 12]);
    const half = resample(line, [1, 2], 0).data;
    expect(half[0]! + half[1]!).toBeCloseTo(12, 5);
  });
});

describe("normalisation", () => {
  it("takes the percentiles numpy takes", () => {
    const h = new Histogram(256);
    h.add(Uint8Array.of(10, 20, 30, 40));
    expect(h.percentile(0)).toBe(10);
    expect(h.percentile(50)).toBe(25);
    expect(h.percentile(99.8)).toBeCloseTo(39.94, 9);
  });

  it("scales, clips and turns channels last into channels first", () => {
    const pixels = { data: Uint8Array.of(0, 100, 200, 50, 150, 250), shape: [1, 1, 2, 3] };
    const out = normalizeWindows(pixels, 3, { low: 50, high: 150, clip: [0, 1], scale: 2, offset: -1 });
    expect(out.shape).toEqual([1, 3, 1, 2]);
    expect([...out.data]).toEqual([-1, -1, 0, 1, 1, 1]);
    const wide = normalizeWindows({ data: Uint16Array.from(pixels.data), shape: pixels.shape }, 3, {
      low: 50,
      high: 150,
      clip: [0, 1],
      scale: 2,
      offset: -1,
    });
    expect(wide.data).toEqual(out.data);
    const grey = normalizeWindows({ data: Uint8Array.of(50, 150), shape: [1, 1, 2, 1] }, 3, {
      low: 50,
      high: 150,
    });
    expect([...grey.data]).toEqual([0, 1, 0, 1, 0, 1]);
    expect(() => normalizeWindows(pixels, 4, { low: 0, high: 1 })).toThrow("3 channels, the model takes 4");
  });
});

describe("activation", () => {
  it("softmax sums to 1 and survives large scores; sigmoid adds a background", () => {
    const p = activate(Float32Array.of(1000, 0, 999, 0), 1, 2, "softmax");
    expect(p[0]! + p[2]!).toBeCloseTo(1, 6);
    expect(p[0]).toBeCloseTo(1 / (1 + Math.exp(-1)), 6);
    const s = activate(Float32Array.of(0, 100), 1, 2, "sigmoid");
    expect([...s]).toEqual([0.5, 0, 0.5, 1]);
  });
});

describe("scores of a model that overflows", () => {
  it.each([Number.NaN, Number.POSITIVE_INFINITY])("are rejected: %d", (bad) => {
    expect(() => activate(Float32Array.of(0, bad, 0, 0), 1, 2, "softmax")).toThrow("not a number");
  });
});

describe("the activation none", () => {
  it("accepts probabilities only", () => {
    expect(activate(Float32Array.of(0, 1, 1, 0), 1, 2, "none")).toHaveLength(4);
    expect(() => activate(Float32Array.of(0, 1.2, 1, 0), 1, 2, "none")).toThrow(
      "where a probability was expected",
    );
    expect(() => activate(Float32Array.of(0, Number.NaN), 1, 2, "none")).toThrow(
      "where a probability was expected",
    );
    expect(() => activate(Float32Array.of(0, Number.NaN), 1, 2, "sigmoid")).toThrow("not a number");
  });
});

describe("half precision", () => {
  it("round-trips every half", () => {
    for (let bits = 0; bits < 0x7c00; bits++) expect(toFloat16Bits(fromFloat16Bits(bits))).toBe(bits);
  });

  it("rounds to the nearest, ties to even, as DataView does where it can", () => {
    const view = new DataView(new ArrayBuffer(2)) as DataView & {
      setFloat16?: (o: number, v: number) => void;
    };
    if (!view.setFloat16) return;
    fc.assert(
      fc.property(fc.float({ noNaN: true }), (v) => {
        view.setFloat16!(0, v);
        expect(toFloat16Bits(v)).toBe(view.getUint16(0));
      }),
      { numRuns: 5000 },
    );
  });
});
