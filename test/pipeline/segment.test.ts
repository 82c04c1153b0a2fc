import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encode } from "fast-png";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type SegmentOptions, segment } from "../../src/cli/index.ts";
import { pointwiseLabel, writePointwisePackage } from "../made/pointwise-package.ts";
import { readLabels } from "../made/read-labels.ts";
import { type MadeSlide, writeMadeSlide } from "../made/slide.ts";
import { treeHashes } from "../made/tree-hashes.ts";

let directory: string;
let slide: MadeSlide;
let model: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-pipeline-"));
  slide = writeMadeSlide(join(directory, "slide.tiff"));
  model = writePointwisePackage(join(directory, "pointwise"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let runs = 0;
function run(options: Partial<SegmentOptions> = {}) {
  const out = options.out ?? join(directory, `run-${runs++}`);
  return segment({ source: slide.path, model, concurrency: 1, tissueMask: false, ...options, out }).then(
    (manifest) => ({ manifest, out }),
  );
}

function expectedLabel(x: number, y: number): number {
  return pointwiseLabel(slide.grey[y * slide.width + x]! / 255);
}

describe("segment", () => {
  it.each(["u8", "f16", "f32"] as const)(
    "labels each pixel as the pointwise model does, merged in %s",
    async (precision) => {
      const { manifest, out } = await run({ precision });
      const labels = await readLabels(join(out, "labels.ome.tiff"));
      expect(labels.shape).toEqual([slide.height, slide.width]);
      let wrong = 0;
      for (let y = 0; y < slide.height; y++) {
        for (let x = 0; x < slide.width; x++) {
          if (labels.data[y * slide.width + x] !== expectedLabel(x, y)) wrong++;
        }
      }
      expect(wrong).toBe(0);
      expect(manifest.coverage).toEqual({
        complete: true,
        coveredSamples: slide.width * slide.height,
        outsideMaskSamples: 0,
      });
      expect(manifest.seam.disagreement).toBe(0);
      expect(manifest.plan.windows).toBe(manifest.plan.windowsInGrid);
      expect(existsSync(join(out, ".tilewright"))).toBe(false);
    },
  );

  it("segments a region in place: the labels of the whole, coordinates of level 0", async () => {
    const [x0, y0, width, height] = [133, 77, 301, 222];
    const { out } = await run({ roi: [x0, y0, width, height] });
    const labels = await readLabels(join(out, "labels.ome.tiff"));
    expect(labels.shape).toEqual([height, width]);
    for (let i = 0; i < width * height; i++) {
      const [x, y] = [x0 + (i % width), y0 + Math.floor(i / width)];
      if (labels.data[i] !== expectedLabel(x, y)) throw new Error(`pixel ${x},${y}`);
    }
    const { features } = JSON.parse(readFileSync(join(out, "objects.geojson"), "utf8"));
    expect(features.length).toBeGreaterThan(20);
    for (const feature of features) {
      for (const [x, y] of feature.geometry.coordinates.flat(feature.geometry.type === "Polygon" ? 1 : 2)) {
        expect(x).toBeGreaterThanOrEqual(x0);
        expect(x).toBeLessThanOrEqual(x0 + width);
        expect(y).toBeGreaterThanOrEqual(y0);
        expect(y).toBeLessThanOrEqual(y0 + height);
      }
    }
  });

  it("takes the level that fits the model's pixel size, or the one asked for", async () => {
    const coarse = writePointwisePackage(join(directory, "coarse"), { mpp: 1 });
    const { manifest, out } = await run({ model: coarse });
    expect(manifest.plan.level).toBe(1);
    expect(manifest.plan.levelMpp[0]).toBeCloseTo(1, 2);
    expect((await readLabels(join(out, "labels.ome.tiff"))).shape).toEqual([250, 350]);
    expect((await run({ level: 0, model: coarse })).manifest.plan.window).toEqual([128, 128]);
  });

  it("resamples windows when the model's pixel size lies between levels; labels keep the level's grid", async () => {
    const between = writePointwisePackage(join(directory, "between"), { mpp: 0.75 });
    const { manifest, out } = await run({ model: between });
    expect(manifest.plan.window).toEqual([96, 96]);
    const labels = await readLabels(join(out, "labels.ome.tiff"));
    expect(labels.shape).toEqual([slide.height, slide.width]);
    let right = 0;
    for (let y = 0; y < slide.height; y++) {
      for (let x = 0; x < slide.width; x++)
        if (labels.data[y * slide.width + x] === expectedLabel(x, y)) right++;
    }
    expect(right / (slide.width * slide.height)).toBeGreaterThan(0.93);
  });

  it("leaves out windows without tissue, and says how much", async () => {
    const sparse = writeMadeSlide(join(directory, "sparse.tiff"), {
      width: 900,
      height: 900,
      empty: (x, y) => x > 300 || y > 300,
    });
    const { manifest } = await run({ source: sparse.path, tissueMask: true });
    expect(manifest.plan.windows).toBeLessThan(manifest.plan.windowsInGrid / 4);
    expect(manifest.plan.tissueFraction).toBeLessThan(0.2);
    expect(manifest.coverage.outsideMaskSamples + manifest.coverage.coveredSamples).toBe(810_000);
  });

  it("segments what a mask of any resolution shows", async () => {
    const mask = join(directory, "mask.png");
    const data = new Uint8Array(70 * 50);
    for (let y = 0; y < 20; y++) data.fill(255, y * 70, y * 70 + 20);
    writeFileSync(mask, encode({ width: 70, height: 50, data, channels: 1 }));
    const { out, manifest } = await run({ mask });
    expect(manifest.plan.windows).toBeLessThan(manifest.plan.windowsInGrid / 2);
    const labels = await readLabels(join(out, "labels.ome.tiff"));
    for (let y = 0; y < 200; y++) {
      for (let x = 0; x < 200; x++) expect(labels.data[y * slide.width + x]).toBe(expectedLabel(x, y));
    }
    for (let x = 400; x < slide.width; x++) expect(labels.data[400 * slide.width + x]).toBe(0);
  });

  it("gives the same bytes again, and after an interruption at any point", async () => {
    const settings = {
      overlapRatio: 0.5,
      outputs: [
        "labels.ome.zarr",
        "labels.ome.tiff",
        "objects.geojson",
        "measurements.csv",
        "instances.ome.tiff",
      ],
    };
    const whole = await run(settings);
    const again = await run(settings);
    expect(treeHashes(again.out)).toEqual(treeHashes(whole.out));
    const total = whole.manifest.plan.windows;
    for (const stopAt of [1, Math.floor(total / 3), Math.floor(total * 0.8), total - 1]) {
      const out = join(directory, `stopped-${stopAt}`);
      const controller = new AbortController();
      const stopped = run({
        ...settings,
        out,
        signal: controller.signal,
        onProgress: (e) => {
          if (e.type === "progress" && e.windowsDone >= stopAt)
            controller.abort(new DOMException("stop", "AbortError"));
        },
      });
      await expect(stopped).rejects.toThrow("stop");
      expect(existsSync(join(out, "run.json"))).toBe(false);
      expect(readdirSync(out)).toEqual([".tilewright"]);
      await expect(run({ ...settings, out })).rejects.toThrow(
        "holds an unfinished run: --resume continues it",
      );
      await expect(run({ ...settings, out, overlapRatio: 0.25, resume: true })).rejects.toThrow(
        "another source, model or settings",
      );
      const resumed = await run({ ...settings, out, resume: true });
      expect(treeHashes(out)).toEqual(treeHashes(whole.out));
      expect(resumed.manifest.attempts).toBe(2);
    }
  });

  it("never overwrites a finished run unless forced; resuming a finished one returns it", async () => {
    const { out, manifest } = await run();
    await expect(run({ out })).rejects.toThrow("holds a finished run");
    expect((await run({ out, resume: true })).manifest).toEqual(manifest);
    const forced = await run({ out, force: true, outputs: ["labels.ome.tiff"] });
    expect(forced.manifest.finishedAt).not.toBe(manifest.finishedAt);
  });
});
