import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RUNTIMES } from "../../src/cli/commands/model.ts";
import { OrtNodeSegmenter } from "../../src/inference/node/ort-node.ts";
import { segmentWindows } from "../../src/inference/segment-windows.ts";
import { loadModel } from "../../src/local/resolve-model.ts";
import type { ModelPackage } from "../../src/model-package/load-package.ts";
import { pointwiseLabel, writePointwisePackage } from "../builders/pointwise-package.ts";

const SCALING = { low: 0, high: 255 };
const WINDOW = 32;
const directory = mkdtempSync(join(tmpdir(), "tilewright-runtimes-"));
let model: ModelPackage;

beforeAll(async () => {
  model = await loadModel(writePointwisePackage(directory, { window: WINDOW }), {});
});
afterAll(() => rmSync(directory, { recursive: true }));

/** `count` windows of grey ramps, each starting elsewhere. */
function ramps(count: number) {
  const data = new Uint8Array(count * WINDOW * WINDOW * 3);
  for (let i = 0; i < data.length / 3; i++) data.fill((i * 7 + (i >> 10) * 31) % 256, 3 * i, 3 * i + 3);
  return { data, shape: [count, WINDOW, WINDOW, 3] };
}

describe.each(Object.entries(RUNTIMES))("the %s runtime", (_, create) => {
  it("returns the same numbers for a window in any batch", async () => {
    const segmenter = await create(model);
    try {
      const batch = ramps(3);
      const whole = await segmenter.segment(batch, { scaling: SCALING });
      const size = WINDOW * WINDOW;
      expect(whole.shape).toEqual([3, 3, WINDOW, WINDOW]);
      for (let w = 0; w < 3; w++) {
        const pixels = batch.data.subarray(w * size * 3, (w + 1) * size * 3);
        const one = await segmenter.segment(
          { data: pixels, shape: [1, WINDOW, WINDOW, 3] },
          { scaling: SCALING },
        );
        expect(one.data).toEqual(whole.data.subarray(w * 3 * size, (w + 1) * 3 * size));
        for (let i = 0; i < size; i++) {
          const scores = [0, 1, 2].map((k) => one.data[k * size + i]!);
          expect(scores.indexOf(Math.max(...scores))).toBe(pointwiseLabel(pixels[3 * i]! / 255));
        }
      }
    } finally {
      await segmenter.close();
    }
  });

  it("rejects windows of another size with one sentence", async () => {
    const segmenter = await create(model);
    try {
      const batch = { data: new Uint8Array(16 * 16 * 3), shape: [1, 16, 16, 3] };
      await expect(segmenter.segment(batch, { scaling: SCALING })).rejects.toThrow(
        "windows are 16×16, the model takes 32×32",
      );
    } finally {
      await segmenter.close();
    }
  });
});

it("the CPU runtime returns the class of the largest byte on request", async () => {
  const limited = { ...model, variant: { ...model.variant, windowsPerRun: 2 } };
  const segmenter = await OrtNodeSegmenter.create(limited, { threads: 2 });
  try {
    const options = { scaling: SCALING, precision: "u8" } as const;
    expect((await segmenter.segmentEncoded(ramps(5), options)).labels).toBeUndefined();
    const { data, labels } = await segmenter.segmentEncoded(ramps(5), { ...options, labels: true });
    const size = WINDOW * WINDOW;
    expect(labels).toHaveLength(5);
    data.forEach((bytes, n) => {
      for (let i = 0; i < size; i++) {
        const scores = [0, 1, 2].map((k) => bytes[k * size + i]!);
        expect(labels![n]![i]).toBe(scores.indexOf(Math.max(...scores)));
      }
    });
  } finally {
    await segmenter.close();
  }
});

it("runs a graph with a fixed number of windows several times", async () => {
  const sizes: number[] = [];
  const limited = { ...model, variant: { ...model.variant, windowsPerRun: 2 } };
  const size = WINDOW * WINDOW;
  const result = await segmentWindows(limited, ramps(5), { scaling: SCALING }, async (input) => {
    sizes.push(input.shape[0]!);
    // The first channel as the score of class 1: what comes out tells which window went in.
    const data = new Float32Array(input.shape[0]! * 3 * size);
    for (let w = 0; w < input.shape[0]!; w++)
      data.set(input.data.subarray(w * 3 * size, w * 3 * size + size), (w * 3 + 1) * size);
    return { data, shape: [input.shape[0]!, 3, WINDOW, WINDOW] };
  });
  expect(sizes).toEqual([2, 2, 1]);
  const { data } = ramps(5);
  for (let w = 0; w < 5; w++) {
    const value = data[w * 3 * size]! / 255;
    expect(result.data[(w * 3 + 1) * size]).toBeCloseTo(Math.exp(value) / (Math.exp(value) + 2), 6);
  }
});
