import { createHash } from "node:crypto";
import { mkdtempSync, openAsBlob, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as web from "../../src/entries/web.ts";
import type { ImageSource } from "../../src/image/image-source.ts";
import * as node from "../../src/index.ts";
import type { SlideSummary } from "../../src/orchestrator/outputs/slide-summary.ts";
import { BlobStore } from "../../src/storage/blob-store.ts";
import { FsStore } from "../../src/storage/fs-store.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { makeNifti } from "../builders/make-nifti.ts";
import { pointwiseLabel, writePointwisePackage } from "../builders/pointwise-package.ts";
import { readLabels } from "../builders/read-labels.ts";
import { type MadeSlide, writeMadeSlide } from "../builders/slide.ts";

let directory: string;
let slide: MadeSlide;
let bytes: Uint8Array;
let model: string;
let loaded: node.ModelPackage;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-portable-"));
  slide = writeMadeSlide(join(directory, "slide.tiff"), { width: 300, height: 210 });
  bytes = new Uint8Array(readFileSync(slide.path));
  model = writePointwisePackage(join(directory, "pointwise"));
  loaded = await node.loadModel(model);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const shared = { threads: 1, tissueMask: false } as const;
const expected = () => Uint8Array.from(slide.grey, (grey) => pointwiseLabel(grey / 255));

describe("segment without out", () => {
  it("returns the label of every pixel, and writes nothing", async () => {
    const before = readdirSync(directory);
    const { labels, classes, placement, files, run } = await node.segment({
      ...shared,
      source: slide.path,
      model,
    });
    expect(labels.shape).toEqual([210, 300]);
    expect(labels.data).toEqual(expected());
    expect(classes.map(({ name }) => name)).toEqual(["background", "bright", "rim"]);
    expect(placement).toEqual({ origin: [0, 0], downsample: [1, 1] });
    expect(files.size).toBe(0);
    expect(run.outputs).toEqual([]);
    expect(run.coverage.complete).toBe(true);
    expect(run.backends[0]).toMatchObject({ threads: 1 });
    expect(readdirSync(directory)).toEqual(before);
  });

  it("takes every kind of source, in Node as in a page, with the same labels", async () => {
    const store = new FsStore(directory);
    const image = await node.openImage(slide.path);
    const sources: node.SourceInput[] = [
      bytes,
      new Blob([bytes as Uint8Array<ArrayBuffer>]),
      new File([bytes as Uint8Array<ArrayBuffer>], "../a slide?.tiff"),
      await openAsBlob(slide.path),
      { store, key: "slide.tiff" },
      image,
    ];
    const want = expected();
    for (const source of sources) {
      const inNode = await node.segment({ ...shared, source, model: loaded });
      expect(inNode.labels.data).toEqual(want);
      const inPage = await web.segment({ ...shared, source, model: { store, prefix: "pointwise/" } });
      expect(inPage.labels.data).toEqual(want);
      expect(inPage.objects).toEqual(inNode.objects);
      expect(inPage.run.backends[0]!.runtime).toMatch(/^tilewright-engine wasm/);
    }
    // An image that the caller opened stays open.
    await image.readRegion(0, { origin: [0, 0], size: [1, 1] });
    await image.close();
    await store.close();
  });

  it("takes a path as URL and the name of a File", async () => {
    const inspected = await node.inspect({ source: new URL(`file://${slide.path}`) });
    expect(inspected.name).toBe("slide.tiff");
    const file = new File([bytes as Uint8Array<ArrayBuffer>], "C:\\scans\\my slide.tiff");
    expect((await web.inspect({ source: file })).name).toBe("my slide.tiff");
  });

  it("returns the objects of objects.geojson", async () => {
    const { objects, files, run } = await node.segment({
      ...shared,
      source: slide.path,
      model: loaded,
      outputs: ["objects.geojson", "overlay.png"],
    });
    expect([...files.keys()]).toEqual(["objects.geojson", "overlay.png"]);
    for (const { name, sha256 } of run.outputs)
      expect(createHash("sha256").update(files.get(name)!).digest("hex")).toBe(sha256);
    const { features } = JSON.parse(new TextDecoder().decode(files.get("objects.geojson")));
    expect(objects.length).toBe(features.length);
    expect(objects.length).toBe((run.summary as SlideSummary).objects[0]!.count);
    expect(objects.length).toBeGreaterThan(20);
    objects.forEach((object, i) => {
      const { id, geometry, properties } = features[i];
      expect(object.id).toBe(id);
      expect(object.className).toBe(properties.classification.name);
      const closed = (rings: (readonly (readonly number[])[])[]) => rings.map((ring) => [...ring, ring[0]]);
      const polygons = object.polygons.map((rings) => closed([...rings]));
      expect(geometry.coordinates).toEqual(geometry.type === "Polygon" ? polygons[0] : polygons);
      expect(properties.measurements["Centroid X µm"]).toBeCloseTo(object.centroid.x * slide.mpp, 2);
    });
  });

  it("gives a region the labels of the whole, wherever the region lies", async () => {
    const want = expected();
    const rect = fc
      .record({
        x: fc.nat(298),
        y: fc.nat(208),
        width: fc.integer({ min: 1, max: 300 }),
        height: fc.integer({ min: 1, max: 210 }),
      })
      .map(({ x, y, width, height }) => [x, y, Math.min(width, 300 - x), Math.min(height, 210 - y)] as const);
    await fc.assert(
      fc.asyncProperty(rect, async (roi) => {
        const { labels, placement } = await web.segment({ ...shared, source: bytes, model: loaded, roi });
        const [x, y, width, height] = roi;
        expect(labels.shape).toEqual([height, width]);
        expect(placement.origin).toEqual([y, x]);
        for (let v = 0; v < height; v++) {
          const from = (y + v) * 300 + x;
          expect(labels.data.subarray(v * width, (v + 1) * width)).toEqual(want.subarray(from, from + width));
        }
      }),
      { numRuns: 12 },
    );
  });

  it("leaves out what a mask of samples excludes", async () => {
    const mask = { data: new Uint8Array(30 * 21), shape: [21, 30] };
    for (let y = 0; y < 21; y++) for (let x = 0; x < 8; x++) mask.data[y * 30 + x] = 9;
    const { labels, run } = await node.segment({ ...shared, source: bytes, model: loaded, mask });
    expect(run.plan.windows).toBeLessThan(run.plan.windowsInGrid);
    const want = expected();
    let right = 0;
    for (let y = 0; y < 210; y++) {
      for (let x = 0; x < 80; x++) expect(labels.data[y * 300 + x]).toBe(want[y * 300 + x]);
      for (let x = 160; x < 300; x++) right += labels.data[y * 300 + x]!;
    }
    expect(right).toBe(0);
  });

  it("returns a volume as z, y, x", async () => {
    const size = [20, 30, 5];
    const data = Uint8Array.from({ length: 20 * 30 * 5 }, (_, i) => (i * 37) % 256);
    const rows = [
      [1, 0, 0, 0],
      [0, 1, 0, 0],
      [0, 0, 1, 0],
    ];
    const nifti = makeNifti({ type: "uint8", size, data, sform: { code: 1, rows } });
    const volumeModel = writePointwisePackage(join(directory, "volume"), { mpp: 1000 });
    const { labels, objects, run } = await node.segment({ ...shared, source: nifti, model: volumeModel });
    expect(labels.shape).toEqual([5, 30, 20]);
    expect(labels.data).toEqual(data.map((grey) => pointwiseLabel(grey / 255)));
    expect(objects).toEqual([]);
    expect("structures" in run.summary).toBe(true);
  });

  it("takes a segmenter of the caller, which stays open", async () => {
    const { OrtWebSegmenter } = await import("../../src/entries/inference-wasm.ts");
    const segmenter = await OrtWebSegmenter.create(loaded);
    for (let i = 0; i < 2; i++) {
      const { labels } = await node.segment({ ...shared, source: bytes, model: loaded, segmenter });
      expect(labels.data).toEqual(expected());
    }
    await segmenter.close();
  });

  it("stops when its signal says so", async () => {
    const controller = new AbortController();
    const run = node.segment({
      ...shared,
      source: bytes,
      model: loaded,
      signal: controller.signal,
      onProgress: (event) => {
        if (event.type === "progress") controller.abort();
      },
    });
    await expect(run).rejects.toThrow(expect.objectContaining({ name: "AbortError" }));
  });
});

describe("segment into a store", () => {
  it("puts there what a directory gets, run.json last", async () => {
    const out = join(directory, "as-directory");
    const written = await node.segment({ ...shared, source: slide.path, model: loaded, out });
    const order: string[] = [];
    class Recording extends MemoryStore {
      override put(...put: Parameters<MemoryStore["put"]>) {
        order.push(put[0]);
        return super.put(...put);
      }
    }
    const store = new Recording({ "other/file": new Uint8Array(1) });
    const run = await node.segment({
      ...shared,
      source: slide.path,
      model: loaded,
      out: { store, prefix: "results/" },
    });
    expect(run.outputs).toEqual(written.outputs);
    expect(order.at(-1)).toBe("results/run.json");
    const disk = new FsStore(out);
    const keys: string[] = [];
    for await (const key of disk.list("")) keys.push(key);
    expect(order.map((key) => key.slice("results/".length)).toSorted()).toEqual(keys.toSorted());
    for (const key of keys.filter((name) => name !== "run.json"))
      expect((await store.get(`results/${key}`))!.bytes, key).toEqual((await disk.get(key))!.bytes);
    expect(JSON.parse(new TextDecoder().decode((await store.get("results/run.json"))!.bytes)).job).toBe(
      run.job,
    );
    // And labels that can be read again from the store.
    const image = await web.openImage({ store, key: "results/labels.ome.zarr" });
    const { data } = await image.readRegion(0, { origin: [0, 0], size: [210, 300] });
    expect(Uint8Array.from(data)).toEqual(expected());
    await image.close();
    expect(await readLabels(join(out, "labels.ome.zarr"))).toBeDefined();
    await disk.close();
  });

  it("writes nothing of a run that fails", async () => {
    const store = new MemoryStore();
    const failing = { ...(await node.openImage(bytes)) } as ImageSource;
    failing.readRegion = async () => {
      throw new node.StorageError("the disk is gone", { retryable: false });
    };
    const run = web.segment({ ...shared, source: failing, model: loaded, out: { store } });
    await expect(run).rejects.toThrow("the disk is gone");
    for await (const key of store.list("")) expect.fail(`it wrote ${key}`);
  });
});

/** What each refusal says; every one is a JobError. */
describe("refuses, in one sentence", () => {
  const stored = { store: new MemoryStore({ "a/b": new Uint8Array(1) }) };
  it.each<[string, object, RegExp]>([
    [
      "an option that does not exist",
      { overlap: 0.5 },
      /^there is no option "overlap": choose of source, model/,
    ],
    ["a setting out of range", { overlapRatio: 1 }, /^setting overlapRatio: /],
    ["threads that are no number", { threads: 0 }, /^option threads: /],
    ["a source of another kind", { source: 7 }, /^the source is none of these: a path, an address, a Blob/],
    ["no source", { source: undefined }, /^the source is none of these/],
    ["a model of another kind", { model: 7 }, /^the model is none of these: a name/],
    ["another variant of a loaded model", { variant: "int4" }, /is loaded already, with its variant fp32/],
    ["resume without a directory", { resume: true }, /resume and force are for results in a directory/],
    ["an out of another kind", { out: 7 }, /^option out is none of these: a directory, or/],
    ["a store that holds something", { out: stored }, /^option out: the store holds a\/b already/],
    ["a prefix without a slash", { out: { ...stored, prefix: "x" } }, /must end with "\/"/],
    ["an unknown output", { outputs: ["labels.png"] }, /^there is no output "labels.png"/],
    [
      "a mask of another shape",
      { mask: { data: new Uint8Array(5), shape: [2, 2] } },
      /^the mask has 5 samples/,
    ],
    ["two things that run the model", { segmenter: {}, backends: ["cpu"] }, /both say what runs the model/],
  ])("%s", async (_, wrong, sentence) => {
    const run = node.segment({
      ...shared,
      source: bytes,
      model: loaded,
      ...wrong,
    } as node.SegmentToArraysOptions);
    const error = await run.catch((e: unknown) => e);
    expect(error).toBeInstanceOf(node.JobError);
    expect((error as Error).message).toMatch(sentence);
    expect((error as Error).message).not.toContain("\n");
  });

  it("mpp for an image that is open already", async () => {
    const image = await node.openImage(bytes);
    await expect(node.plan({ source: image, model: loaded, mpp: 1 })).rejects.toThrow(
      /^option mpp: the image is open already; give mpp to openImage$/,
    );
    await image.close();
  });

  it("an option of a cohort, a plan or an image that does not exist", async () => {
    const wrong = { slidesAtOnce: 2 };
    const cohort = node.cohort({ cohort: "scans", out: "out", model, ...wrong } as node.CohortOptions);
    await expect(cohort).rejects.toThrow(/^there is no option "slidesAtOnce": choose of cohort, out/);
    await expect(
      node.plan({ source: bytes, model: loaded, ...wrong } as node.PlanImageOptions),
    ).rejects.toThrow(/^there is no option "slidesAtOnce"/);
    await expect(web.openImage(bytes, wrong as node.SourceChoices)).rejects.toThrow(/there is no option/);
  });

  it("a label map that no array can hold", async () => {
    const image: ImageSource = {
      format: "an image without a file",
      axes: "yx",
      dtype: "uint8",
      levels: [{ shape: [60_000, 60_000], downsample: [1, 1], chunk: [512, 512] }],
      channels: [{}, {}, {}],
      spacing: { values: [0.5, 0.5], unit: "micrometer" },
      objectivePower: undefined,
      bounds: undefined,
      etag: '"none"',
      byteLength: 1,
      bytesRead: 0,
      readRegion: async (_, { size }) => ({
        data: new Uint8Array(size[0]! * size[1]! * 3),
        shape: [...size, 3],
      }),
      close: async () => {},
    };
    // Large windows are planned sooner.
    const wide = writePointwisePackage(join(directory, "wide"), { window: 512 });
    const run = node.segment({ ...shared, source: image, model: wide });
    await expect(run).rejects.toThrow(/60000×60000 samples, more than the 2147483647 of an array/);
  });

  it("in a page: a path, a bucket and a model by name", async () => {
    await expect(web.inspect({ source: "slide.svs" })).rejects.toThrow(/^slide.svs cannot be opened here/);
    await expect(web.inspect({ source: "s3://bucket/slide.svs" })).rejects.toThrow(/cannot be opened here/);
    await expect(web.segment({ source: bytes, model: "nuclei" })).rejects.toThrow(/cannot be found here/);
  });
});

describe("plan and inspect", () => {
  it("say the same in Node and in a page, and what segment then does", async () => {
    const inputs = { source: bytes, model: loaded };
    const planned = await node.plan({ ...inputs, tissueMask: false });
    expect(await web.plan({ ...inputs, tissueMask: false })).toEqual(planned);
    const { run } = await node.segment({ ...shared, ...inputs });
    expect(run.plan).toMatchObject({
      windows: planned.windows,
      shards: planned.shards,
      level: planned.level,
    });
    const inspected = await node.inspect(inputs);
    expect(await web.inspect(inputs)).toEqual(inspected);
    expect(inspected).toMatchObject({
      shape: [210, 300],
      model: { name: "pointwise", level: 0, magnification: 1 },
    });
  });
});

describe("BlobStore", () => {
  it("reads any range as the bytes say, from a Blob and from an array", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 40 }),
        fc.integer({ min: -50, max: 50 }),
        fc.nat(60),
        async (content, offset, length) => {
          const reference = new MemoryStore({ key: content });
          const want = await reference.getRange("key", offset, length);
          for (const from of [content, new Blob([content as Uint8Array<ArrayBuffer>])]) {
            const store = new BlobStore("key", from);
            expect(await store.getRange("key", offset, length)).toEqual(want);
            expect((await store.get("key"))!.bytes).toEqual(content);
            expect((await store.head("key"))!.byteLength).toBe(content.length);
            expect(await store.getRange("other", 0, 1)).toBeUndefined();
          }
        },
      ),
    );
  });

  it("fails when the file changed after it was chosen, and when another etag is asked for", async () => {
    const path = join(directory, "changing");
    writeFileSync(path, "0123456789");
    const store = new BlobStore("changing", await openAsBlob(path));
    expect(await store.getRange("changing", 2, 3)).toEqual(new TextEncoder().encode("234"));
    writeFileSync(path, "something longer");
    await expect(store.getRange("changing", 2, 3)).rejects.toBeInstanceOf(node.ObjectChangedError);
    const other = store.getRange("changing", 0, 1, { ifMatch: '"other"' });
    await expect(other).rejects.toBeInstanceOf(node.ObjectChangedError);
    await expect(store.put("changing")).rejects.toBeInstanceOf(node.StorageError);
  });
});
