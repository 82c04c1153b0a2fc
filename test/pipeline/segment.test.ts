import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encode } from "fast-png";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ImageSource } from "../../src/image/image-source.ts";
import { type SegmentOptions, segment } from "../../src/index.ts";
import { loadModel } from "../../src/local/resolve-model.ts";
import { planJob } from "../../src/orchestrator/plan/plan-job.ts";
import { checkSettings } from "../../src/orchestrator/settings.ts";
import { makeNifti } from "../builders/make-nifti.ts";
import { pointwiseLabel, writePointwisePackage } from "../builders/pointwise-package.ts";
import { readLabels } from "../builders/read-labels.ts";
import { type MadeSlide, writeMadeSlide } from "../builders/slide.ts";
import { treeHashes } from "../builders/tree-hashes.ts";

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
function run(options: Partial<SegmentOptions & { out: string }> = {}) {
  const out = options.out ?? join(directory, `run-${runs++}`);
  return segment({ source: slide.path, model, threads: 1, tissueMask: false, ...options, out }).then(
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

  it("leaves out windows without tissue and reports how many", async () => {
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

  it("segments the area of a mask of any resolution", async () => {
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

  it("segments inside polygons exported by QuPath, and rejects other files", async () => {
    const square = (x: number, y: number, side: number) => [
      [x, y],
      [x + side, y],
      [x + side, y + side],
      [x, y + side],
      [x, y],
    ];
    const feature = (geometry: object) => ({
      type: "Feature",
      properties: { objectType: "annotation" },
      geometry,
    });
    const saved = (name: string, value: unknown) => {
      const file = join(directory, name);
      writeFileSync(file, JSON.stringify(value));
      return file;
    };
    const mask = saved("regions.geojson", {
      type: "FeatureCollection",
      features: [
        feature({ type: "Polygon", coordinates: [square(0, 0, 60)] }),
        feature({ type: "MultiPolygon", coordinates: [[square(500, 300, 80)], [square(600, 100, 30)]] }),
        feature({ type: "Point", coordinates: [300, 300] }),
      ],
    });
    const { manifest } = await run({ mask });
    const { windows, windowsInGrid, tissueFraction } = manifest.plan;
    expect(windows).toBeGreaterThan(3);
    expect(windows).toBeLessThan(windowsInGrid / 2);
    expect(tissueFraction).toBeCloseTo((60 * 60 + 80 * 80 + 30 * 30) / (700 * 500), 2);
    // QuPath also writes lists of features, and geometries alone.
    const list = await run({
      mask: saved("list.json", [feature({ type: "Polygon", coordinates: [square(0, 0, 60)] })]),
    });
    expect(list.manifest.plan.windows).toBeLessThan(windows);
    for (const [name, value, sentence] of [
      ["empty.geojson", feature({ type: "Polygon", coordinates: [] }), /holds no polygon/],
      ["empty-ring.geojson", feature({ type: "Polygon", coordinates: [[]] }), /holds no polygon/],
      ["points.geojson", feature({ type: "Point", coordinates: [1, 2] }), /holds no polygon/],
      [
        "bad.geojson",
        feature({ type: "Polygon", coordinates: [["x"]] }),
        /a Polygon without valid coordinates/,
      ],
      ["other.geojson", "text", /is not GeoJSON/],
    ] as const) {
      await expect(run({ mask: saved(name, value) })).rejects.toThrow(sentence);
    }
    const volume = join(directory, "volume.nii");
    writeFileSync(volume, makeNifti({ type: "uint8", size: [7, 5, 3], data: new Uint8Array(105).fill(1) }));
    await expect(run({ mask: volume })).rejects.toThrow(/is a volume: save one plane of it/);
    const cut = join(directory, "cut.geojson");
    writeFileSync(cut, '{"type": "Feature');
    await expect(run({ mask: cut })).rejects.toThrow(/is not valid JSON/);
    await expect(run({ mask: join(directory, "none.geojson") })).rejects.toThrow(/does not exist/);
  });

  it("gives the same bytes again, and after an interruption at any point", async () => {
    const settings = {
      overlapRatio: 0.5,
      outputs: [
        "labels.ome.zarr",
        "labels.ome.tiff",
        "objects.geojson",
        "objects.parquet",
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

  it("never overwrites a finished run unless forced; resuming the same job returns it", async () => {
    const { out, manifest } = await run();
    await expect(run({ out })).rejects.toThrow("holds a finished run");
    expect((await run({ out, resume: true })).manifest).toEqual(manifest);
    await expect(run({ out, resume: true, overlapRatio: 0.5 })).rejects.toThrow(
      "holds a finished run of another source, model or settings",
    );
    const forced = await run({ out, force: true, outputs: ["labels.ome.tiff"] });
    expect(forced.manifest.finishedAt).not.toBe(manifest.finishedAt);
    // What the first run wrote belongs to another job and must not stay beside the new manifest.
    expect(readdirSync(out).sort()).toEqual(["labels.ome.tiff", "run.json"]);
  });

  it("keeps the old result while a forced run is unfinished, and resumes the new one", async () => {
    const { out, manifest } = await run();
    const before = treeHashes(out);
    const controller = new AbortController();
    const onProgress: SegmentOptions["onProgress"] = (e) => {
      if (e.type === "progress" && e.windowsDone > 40)
        controller.abort(new DOMException("stop", "AbortError"));
    };
    const next = { out, overlapRatio: 0.5 };
    await expect(run({ ...next, force: true, signal: controller.signal, onProgress })).rejects.toThrow(
      "stop",
    );
    const { ".tilewright/job": _, ...visible } = treeHashes(out);
    for (const [name, hash] of Object.entries(before)) expect(visible[name]).toBe(hash);
    const resumed = await run({ ...next, resume: true });
    expect(resumed.manifest.job).not.toBe(manifest.job);
    expect(resumed.manifest.attempts).toBe(2);
    expect(treeHashes(out)).toEqual(treeHashes((await run({ overlapRatio: 0.5 })).out));
  });

  it("completes an interrupted publishing", async () => {
    const { out, manifest } = await run();
    const whole = treeHashes(out);
    // As a crash between two renames leaves it: one output still in the work directory, no manifest.
    const work = join(out, ".tilewright");
    mkdirSync(work);
    renameSync(join(out, "labels.ome.tiff"), join(work, "labels.ome.tiff"));
    writeFileSync(join(work, "job"), manifest.job);
    const names = manifest.outputs.map((o) => o.name);
    writeFileSync(
      join(work, "publishing.json"),
      JSON.stringify({ names, manifest: readFileSync(join(out, "run.json"), "utf8") }),
    );
    rmSync(join(out, "run.json"));
    expect((await run({ out, resume: true })).manifest).toEqual(manifest);
    expect(treeHashes(out)).toEqual(whole);
    expect(existsSync(work)).toBe(false);
  });

  it("allows one run at a time in a directory, also within one process", async () => {
    const out = join(directory, "shared");
    const [first, second] = await Promise.allSettled([run({ out }), run({ out })]);
    expect([first.status, second.status].sort()).toEqual(["fulfilled", "rejected"]);
    const rejected = [first, second].find((r) => r.status === "rejected") as PromiseRejectedResult;
    expect(String(rejected.reason)).toMatch(/is working in this directory/);
  });

  it("rejects invalid values of options", async () => {
    await expect(run({ batchSize: 0 })).rejects.toThrow("option batchSize");
    await expect(run({ level: 0.5 })).rejects.toThrow("setting level");
    await expect(run({ channels: [-1] })).rejects.toThrow("setting channels");
    await expect(run({ overlapRatio: 1 })).rejects.toThrow("setting overlapRatio");
    await expect(run({ outputs: [] })).rejects.toThrow("no output is requested");
    await expect(run({ overlapRatio: 0.99 })).rejects.toThrow("choose a smaller --overlap");
  });

  it("refuses a mask that does not have the shape of the slide", async () => {
    const mask = join(directory, "turned.png");
    writeFileSync(mask, encode({ width: 50, height: 70, data: new Uint8Array(3500).fill(1), channels: 1 }));
    await expect(run({ mask })).rejects.toThrow("which is not the shape of the slide");
  });
});

describe("label maps of uint32", () => {
  /** A source in memory: 800² samples of any type, dim squares on a dark ground. */
  function deep(
    data: Uint16Array | Int16Array | Float32Array,
    dtype: "uint16" | "int16" | "float32",
  ): ImageSource {
    const side = 800;
    return {
      format: "made",
      axes: "yx",
      dtype,
      levels: [{ shape: [side, side], downsample: [1, 1], chunk: [256, 256] }],
      channels: [{}],
      spacing: { values: [0.5, 0.5], unit: "micrometer" },
      objectivePower: undefined,
      bounds: undefined,
      etag: "made",
      byteLength: data.byteLength,
      bytesRead: 0,
      async readRegion(_, { origin, size }) {
        const out = data.slice(0, size[0]! * size[1]!);
        for (let y = 0; y < size[0]!; y++) {
          const from = (origin[0]! + y) * side + origin[1]!;
          out.set(data.subarray(from, from + size[1]!), y * size[1]!);
        }
        return { data: out, shape: [...size, 1] };
      },
      close: async () => {},
    };
  }
  const squares = (dark: number, bright: number) => (i: number) =>
    Math.floor((i % 800) / 80) % 3 === 1 && Math.floor(i / 64000) % 3 === 1 ? bright : dark;

  it("finds tissue beside a much brighter speck", async () => {
    const data = Uint16Array.from({ length: 640_000 }, (_, i) => squares(100, 600)(i));
    for (let y = 400; y < 420; y++) data.fill(60_000, y * 800 + 500, y * 800 + 520);
    const { manifest } = await loadModel(model);
    const plan = await planJob(deep(data, "uint16"), manifest, checkSettings({}));
    // The squares are 9 of 100 parts.
    expect(plan.tissueFraction).toBeGreaterThan(0.09);
    expect(plan.tissueFraction).toBeLessThan(0.12);
  });

  it("treats negative samples as dark and leaves out NaN", async () => {
    const signed = Int16Array.from({ length: 640_000 }, (_, i) => squares(-1, 300)(i));
    const { manifest } = await loadModel(model);
    const plan = await planJob(deep(signed, "int16"), manifest, checkSettings({}));
    expect(plan.thumbnail!.data[400 * 800 + 90]).toBe(0);
    const floats = Float32Array.from({ length: 640_000 }, (_, i) =>
      i % 50 === 0 ? Number.NaN : squares(1, 3)(i),
    );
    const percentile = {
      kind: "percentile" as const,
      low: 1,
      high: 99.8,
      scope: "image" as const,
      joint: true as const,
    };
    const byPercentile = { ...manifest, input: { ...manifest.input, normalization: percentile } };
    expect((await planJob(deep(floats, "float32"), byPercentile, checkSettings({}))).scaling).toEqual({
      low: 1,
      high: 3,
    });
    // One intensity everywhere is a range all the same: services refuse what has none.
    const flat = new Uint16Array(640_000).fill(700);
    expect((await planJob(deep(flat, "uint16"), byPercentile, checkSettings({}))).scaling).toEqual({
      low: 700,
      high: 701,
    });
  });
});
