import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  activate,
  axisStarts,
  extractWindow,
  Histogram,
  type ImportanceKind,
  importanceMap,
  Merger,
  planWindowGrid,
  product,
  WindowSet,
  windowCount,
  windowRect,
} from "../../src/tiling/index.ts";

/** Fixtures written by MONAI, scipy and numpy: see model/fixtures.py. */
// biome-ignore lint/suspicious/noExplicitAny: the shape of each file is plain from its use below
function golden(name: string): any {
  return JSON.parse(readFileSync(new URL(`../fixtures/golden/${name}.json`, import.meta.url), "utf8"));
}

function floats({ float32 }: { float32: string }): Float32Array {
  const bytes = Uint8Array.from(Buffer.from(float32, "base64"));
  return new Float32Array(bytes.buffer);
}

function relativeRms(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let difference = 0;
  let size = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2;
    size += expected[i]! ** 2;
  }
  return Math.sqrt(difference / size);
}

describe("against the field", () => {
  it("window starts are MONAI's and nnU-Net's", () => {
    const { cases } = golden("windows");
    expect(cases.length).toBeGreaterThan(100);
    for (const c of cases) {
      const starts = axisStarts(c.n, c.window, c.overlapRatio, c.policy).map((s) => s + c.pad.before);
      expect(starts, JSON.stringify(c)).toEqual(c.starts);
    }
  });

  it("importance maps are MONAI's and nnU-Net's", () => {
    for (const c of golden("importance").cases) {
      const map = importanceMap(c.kind as ImportanceKind, c.window);
      const sum = map.reduce((s, w) => s + w, 0);
      // Half precision: one unit in the last place is 1e-3 of a single weight, far less of the sum.
      const tolerance = c.kind === "gaussian-nnunet" ? 1e-5 : 1e-6;
      expect(Math.abs(sum - c.sum) / c.sum, JSON.stringify([c.kind, c.window])).toBeLessThan(tolerance);
      if (c.values) expect(relativeRms(map, floats(c.values)), c.kind).toBeLessThan(1e-6);
    }
  });

  it.each(["merge-2d", "merge-2d-constant", "merge-2d-small", "merge-3d"])(
    "%s: merged values are MONAI's",
    (name) => {
      for (const c of golden(name).cases) {
        const grid = planWindowGrid({ shape: c.size, window: c.roi, overlapRatio: c.overlapRatio });
        const kind = c.importance === "constant" ? "constant" : "gaussian-monai";
        const merger = new Merger({
          grid,
          kept: WindowSet.all(windowCount(grid)),
          importance: importanceMap(kind, c.roi),
          classes: c.classes,
          precision: "f32",
          chunk: c.size,
          output: "probabilities",
        });
        const image = { data: floats(c.image), shape: [...c.size, 1] };
        const whole = { origin: c.size.map(() => 0), size: c.size };
        const gain = floats(c.gain);
        const offset = floats(c.offset);
        const n = product(c.roi);
        let merged: ArrayLike<number> | undefined;
        for (let w = 0; w < windowCount(grid); w++) {
          const pixels = extractWindow(image, whole, windowRect(grid, w), c.size, "constant").data;
          const data = new Float32Array(c.classes * n);
          for (let k = 0; k < c.classes; k++) {
            for (let i = 0; i < n; i++) {
              data[k * n + i] = Math.fround(pixels[i]! * gain[k * n + i]!) + offset[k]!;
            }
          }
          for (const chunk of merger.add({ window: w, precision: "f32", data })) merged = chunk.raster.data;
        }
        merger.finish();
        expect(relativeRms(merged!, floats(c.expected))).toBeLessThan(1e-6);
      }
    },
  );

  it("percentiles are numpy's", () => {
    for (const c of golden("percentiles").cases) {
      if (c.dtype !== "uint8" && c.dtype !== "uint16") continue;
      const histogram = new Histogram(c.dtype === "uint8" ? 256 : 65536);
      histogram.add((c.dtype === "uint8" ? Uint8Array : Uint16Array).from(c.values));
      c.percentiles.forEach((q: number, i: number) => {
        expect(histogram.percentile(q)).toBeCloseTo(c.expected[i], 6);
      });
    }
  });

  it("softmax equals the float64 result to float32 precision", () => {
    for (const c of golden("softmax").cases) {
      const [, ...spatial] = c.logits.shape;
      const p = activate(floats(c.logits), 1, product(spatial), "softmax");
      const expected = floats(c.softmax);
      for (let i = 0; i < p.length; i++) expect(Math.abs(p[i]! - expected[i]!)).toBeLessThan(2e-7);
    }
  });
});
