import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { segment } from "../../src/index.ts";
import { openSource } from "../../src/local/open-source.ts";
import { loadModel } from "../../src/local/resolve-model.ts";
import { planJob } from "../../src/orchestrator/plan/plan-job.ts";
import { checkSettings } from "../../src/orchestrator/settings.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";

const BINS = 8;
let directory: string;
let slide: string;
let grey: Uint8Array;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-domain-"));
  const made = writeMadeSlide(join(directory, "slide.tiff"), { width: 256, height: 256 });
  slide = made.path;
  grey = made.grey;
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** What `model/domain_statistics.py` computes of a grey picture, written plainly. */
function statistics(pixels: Uint8Array, side: number, window: number) {
  const light = new Array<number>(BINS).fill(0);
  const sharpness: number[] = [];
  const starts: number[] = [];
  for (let at = 0; at + window <= side; at += window) starts.push(at);
  for (const y0 of starts) {
    for (const x0 of starts) {
      const v = (y: number, x: number) => pixels[(y0 + y) * side + x0 + x]! / 255;
      const edges: number[] = [];
      for (let y = 0; y < window; y++) {
        for (let x = 0; x < window; x++) {
          light[Math.min(BINS - 1, Math.floor(v(y, x) * BINS))]! +=
            1 / (window * window * starts.length ** 2);
          if (y > 0 && x > 0 && y < window - 1 && x < window - 1)
            edges.push(4 * v(y, x) - v(y - 1, x) - v(y + 1, x) - v(y, x - 1) - v(y, x + 1));
        }
      }
      const mean = edges.reduce((a, b) => a + b) / edges.length;
      sharpness.push(Math.log(edges.reduce((a, b) => a + (b - mean) ** 2, 0) / edges.length + 1e-8));
    }
  }
  return { light, sharpness: sharpness.reduce((a, b) => a + b) / sharpness.length };
}

function packageOf(
  name: string,
  changes: { light?: number[]; sharpness?: number; spacing?: number; modality?: string },
) {
  const own = statistics(grey, 256, 64);
  const spacing = { min: changes.spacing ?? 0.4, max: (changes.spacing ?? 0.4) * 1.5 };
  const model = writePointwisePackage(join(directory, name));
  const file = join(model, "model.json");
  const manifest = JSON.parse(readFileSync(file, "utf8"));
  manifest.window.overlapRatio = 0;
  manifest.domain = {
    modality: "SM",
    bins: BINS,
    kinds: [
      {
        name: "far away",
        pictures: 3,
        luminance: { mean: [0, 0, 0, 0, 0, 0, 0, 1], reach: 0.01 },
        sharpness: { mean: 3, reach: 0.5 },
        spacing: { y: spacing, x: spacing },
      },
      {
        name: "discs",
        pictures: 5,
        luminance: { mean: changes.light ?? own.light, reach: 0.1 },
        sharpness: { mean: changes.sharpness ?? own.sharpness, reach: 0.5 },
        spacing: { y: spacing, x: spacing },
      },
    ],
  };
  writeFileSync(file, JSON.stringify(manifest));
  return model;
}

async function findingOf(model: string, settings = {}) {
  const { source, close } = await openSource(slide, undefined);
  try {
    const { manifest } = await loadModel(model);
    return (await planJob(source, manifest, checkSettings({ tissueMask: false, ...settings }))).domain!;
  } finally {
    await close();
  }
}

describe("the domain of a model", () => {
  it("equal to the training images: distance 0, no warning", async () => {
    const { distance, kind, warnings } = await findingOf(packageOf("same", {}));
    expect(distance).toBeLessThan(0.01);
    expect(kind).toBe("discs");
    expect(warnings).toEqual([]);
  });

  it("is measured in reaches of the farthest feature of the nearest kind", async () => {
    const { sharpness, light } = statistics(grey, 256, 64);
    const blurred = await findingOf(packageOf("blurred", { sharpness: sharpness - 1 }));
    expect(blurred).toMatchObject({ kind: "discs", feature: "sharpness" });
    expect(blurred.distance).toBeCloseTo(2, 2);
    expect(blurred.warnings).toEqual([
      "the scan is unlike the images that model pointwise was trained on: its sharpness is 2.0 times as far from the nearest kind (discs) as the training images",
    ]);
    // All of the dark pixels one bin up: the area between the cumulative sums is their share, over the number of bins.
    const [dark, ...rest] = light as [number, ...number[]];
    const brighter = await findingOf(
      packageOf("brighter", { light: [0, dark + rest[0]!, ...rest.slice(1)] }),
    );
    expect(brighter.feature).toBe("luminance");
    expect(brighter.distance).toBeCloseTo(dark / BINS / 0.1, 3);
  });

  it("allows the pixel sizes of the training images", async () => {
    const { warnings } = await findingOf(packageOf("coarse", { spacing: 1.2 }));
    expect(warnings).toEqual([
      "samples of 0.5 µm along y are outside the sizes that model pointwise was trained on",
    ]);
  });

  it("a run reports it as progress and in run.json", async () => {
    const { sharpness } = statistics(grey, 256, 64);
    const model = packageOf("told", { sharpness: sharpness - 2 });
    const told: string[] = [];
    const run = await segment({
      source: slide,
      model,
      threads: 1,
      tissueMask: false,
      outputs: ["measurements.csv"],
      out: join(directory, "out"),
      onProgress: (event) => event.type === "plan" && told.push(...event.warnings),
    });
    expect(told).toEqual([expect.stringMatching(/^the scan is unlike the images that model pointwise/)]);
    expect(run.plan.domain!.warnings).toEqual(told);
  });
});
