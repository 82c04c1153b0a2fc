import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromArrayBuffer } from "geotiff";
import { afterAll, describe, expect, it } from "vitest";
import * as zarr from "zarrita";
import type { LabelMapInfo } from "../../../src/image/label-sink.ts";
import { type OutputName, PLANE_OUTPUTS } from "../../../src/image/output-targets.ts";
import type { OutputsReport } from "../../../src/orchestrator/outputs/outputs-options.ts";
import type { SlideSummary } from "../../../src/orchestrator/outputs/slide-summary.ts";
import { writeOutputs } from "../../../src/orchestrator/outputs/write-outputs.ts";
import { FsStore } from "../../../src/storage/fs-store.ts";
import { product } from "../../../src/tiling/grid/raster.ts";
import { downsampleByMode, pyramidLevels } from "../../../src/tiling/objects/label-pyramid.ts";
import { createDirectoryTargets } from "../../../src/writers/directory-targets.ts";
import { LabelStoreMismatchError, openLabelStore } from "../../../src/writers/ome-zarr/label-store.ts";
import { cells, labelMapInfo, storeLabels } from "./label-map.ts";

/** Of a slide that is no DICOM. */
const SLIDE_OUTPUTS = PLANE_OUTPUTS.filter((name) => name !== "labels.seg.dcm");
const SHAPE = [701, 530];
const INFO = labelMapInfo(SHAPE, [128, 128]);
const LABELS = cells(SHAPE, 300);
const OBJECTS = {
  interior: [1],
  boundary: [2],
  connectivity: 4,
  minArea: 12,
  maxGrow: 8,
  className: "nucleus",
} as const;

const directories: string[] = [];
const stores: FsStore[] = [];
afterAll(async () => {
  for (const store of stores) await store.close();
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

function freshDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "outputs-"));
  directories.push(directory);
  return directory;
}

function storeAt(directory: string): FsStore {
  const store = new FsStore(directory);
  stores.push(store);
  return store;
}

async function run(
  directory: string,
  options: {
    info?: LabelMapInfo;
    labels?: Uint8Array;
    outputs?: readonly OutputName[];
    bigTiff?: boolean;
    wideRowBytes?: number;
    objects?: typeof OBJECTS | undefined;
  } = {},
): Promise<OutputsReport & { summary: SlideSummary }> {
  const { info = INFO, labels = LABELS, outputs = SLIDE_OUTPUTS, bigTiff } = options;
  const store = storeAt(directory);
  const labelStore = await openLabelStore(store, "labels.ome.zarr", info);
  await storeLabels(labelStore, labels);
  const [height, width] = info.shape as [number, number];
  const report = await writeOutputs({
    labelStore,
    outputs,
    targets: createDirectoryTargets({ directory, store, labelStore, bigTiff }),
    origin: { source: {} },
    objects: "objects" in options ? options.objects : OBJECTS,
    wideRowBytes: options.wideRowBytes,
    source: 'slide, "A".svs',
    idSeed: "00112233445566778899",
    analysedPixels: height * width,
    thumbnail: { data: new Uint8Array(200 * 150 * 3).fill(220), shape: [200, 150, 3] },
    readDetail: async (rect) => ({
      data: new Uint8Array(rect.width * rect.height).fill(30),
      shape: [rect.height, rect.width, 1],
    }),
  });
  return report as OutputsReport & { summary: SlideSummary };
}

/** Each level of the map, halved from the one above it. */
function pyramid<T extends Uint8Array | Uint32Array>(base: T, info: LabelMapInfo): T[] {
  const levels = pyramidLevels(info.shape, info.chunk);
  const out = [base];
  for (let l = 1; l < levels.length; l++) {
    const from = levels[l - 1]!.shape;
    const to = levels[l]!.shape;
    const target = new (base.constructor as new (n: number) => T)(product(to));
    downsampleByMode(out[l - 1]!, { shape: from, offset: [0, 0] }, from, [2, 2], target, {
      shape: to,
      offset: [0, 0],
    });
    out.push(target);
  }
  return out;
}

async function readZarr(directory: string, name: string, level: number): Promise<ArrayLike<number>> {
  const files = storeAt(directory);
  const store: zarr.AsyncReadable = {
    get: async (key: string) => (await files.get(`${name}${key}`))?.bytes,
  };
  const array = await zarr.open(zarr.root(store).resolve(String(level)), { kind: "array" });
  return (await zarr.get(array)).data as unknown as ArrayLike<number>;
}

async function readTiff(path: string): Promise<{ data: ArrayLike<number>; width: number }[]> {
  const bytes = readFileSync(path);
  const tiff = await fromArrayBuffer(
    bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer,
  );
  const first = await tiff.getImage(0);
  const levels = [first];
  const subDirectories = (first.fileDirectory.hasTag("SubIFDs")
    ? await first.fileDirectory.loadValue("SubIFDs")
    : []) as unknown as ArrayLike<number>;
  for (const offset of Array.from(subDirectories)) {
    const sub = Object.create(tiff) as typeof tiff;
    sub.requestIFD = () => tiff.parser.parseFileDirectoryAt(Number(offset));
    levels.push(await sub.getImage(0));
  }
  expect(await tiff.getImageCount()).toBe(1);
  return Promise.all(
    levels.map(async (image) => ({
      data: (await image.readRasters({ interleave: true })) as unknown as ArrayLike<number>,
      width: image.getWidth(),
    })),
  );
}

/** RFC 4180 records. */
function parseCsv(text: string): Record<string, string>[] {
  const records = text
    .split("\r\n")
    .slice(0, -1)
    .map((line) =>
      [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(,|$)/g)].map((m) => m[1]!.replace(/^"(.*)"$/, "$1")),
    )
    .map((fields) => fields.map((f) => f.replaceAll('""', '"')));
  const [head, ...rows] = records as [string[], ...string[][]];
  return rows.map((row) => Object.fromEntries(head.map((column, i) => [column, row[i] ?? ""])));
}

describe("outputs of a label map", async () => {
  const directory = freshDirectory();
  const report = await run(directory);
  const expected = pyramid(LABELS, INFO);
  const instances = Uint32Array.from(await readZarr(directory, "instances.ome.zarr", 0));

  it("are exactly the requested files, with their sizes and digests", () => {
    expect(readdirSync(directory).sort()).toEqual([...SLIDE_OUTPUTS].sort());
    expect(report.outputs.map((o) => o.name)).toEqual([...SLIDE_OUTPUTS]);
    for (const { name, byteLength, sha256 } of report.outputs) {
      if (name.endsWith(".zarr")) {
        const files = (
          readdirSync(join(directory, name), { recursive: true, withFileTypes: true }) as {
            isFile(): boolean;
            parentPath: string;
            name: string;
          }[]
        )
          .filter((f) => f.isFile())
          .map((f) => join(f.parentPath, f.name).slice(join(directory, name).length + 1))
          .sort((a, b) => (a < b ? -1 : 1));
        const listing = files
          .map((file) => `${digest(readFileSync(join(directory, name, file)))}  ${file}\n`)
          .join("");
        expect(digest(Buffer.from(listing))).toBe(sha256);
        expect(files.reduce((n, file) => n + readFileSync(join(directory, name, file)).length, 0)).toBe(
          byteLength,
        );
      } else {
        const bytes = readFileSync(join(directory, name));
        expect([bytes.length, digest(bytes)]).toEqual([byteLength, sha256]);
      }
    }
  });

  it("the OME-Zarr holds the labels and their pyramid", async () => {
    for (const [level, data] of expected.entries()) {
      expectSamples(await readZarr(directory, "labels.ome.zarr", level), data);
    }
  });

  it("the OME-TIFF holds the same, in SubIFDs", async () => {
    const levels = await readTiff(join(directory, "labels.ome.tiff"));
    expect(levels.map((l) => l.width)).toEqual(pyramidLevels(SHAPE, [128, 128]).map((l) => l.shape[1]));
    for (const [level, { data }] of levels.entries()) expectSamples(data, expected[level]!);
  });

  it("object maps agree in both formats and with the table", async () => {
    const levels = await readTiff(join(directory, "instances.ome.tiff"));
    for (const [level, data] of pyramid(instances, INFO).entries()) {
      expectSamples(levels[level]!.data, data);
      expectSamples(await readZarr(directory, "instances.ome.zarr", level), data);
    }
    const pixels = new Map<number, number>();
    for (const n of instances) if (n > 0) pixels.set(n, (pixels.get(n) ?? 0) + 1);
    const rows = parseCsv(readFileSync(join(directory, "measurements.csv"), "utf8"));
    const objects = rows.filter((r) => r.level === "object");
    expect(new Map(objects.map((r) => [Number(r.number), Number(r.area_px)]))).toEqual(pixels);
    expect(objects.length).toBeGreaterThan(50);
    expect(objects[0]!.source).toBe('slide, "A".svs');
    const slide = rows.find((r) => r.level === "slide")!;
    expect(Number(slide.count)).toBe(objects.length);
    expect(Number(slide.area_um2)).toBe(product(SHAPE) * 0.25);
    const classes = rows.filter((r) => r.level === "class");
    expect(classes.map((r) => r.class)).toEqual(INFO.classes.map((c) => c.name));
    expect(classes.map((r) => Number(r.area_px))).toEqual(
      [0, 1, 2].map((c) => LABELS.reduce((n, v) => n + Number(v === c), 0)),
    );
    expect(report.summary!.objects[0]!.count).toBe(objects.length);
  });

  it("the GeoJSON has one valid feature per object, in level-0 pixels", () => {
    const collection = JSON.parse(readFileSync(join(directory, "objects.geojson"), "utf8"));
    expect(collection.type).toBe("FeatureCollection");
    const ids = new Set<string>();
    for (const feature of collection.features) {
      ids.add(feature.id);
      const polygons: number[][][][] =
        feature.geometry.type === "Polygon" ? [feature.geometry.coordinates] : feature.geometry.coordinates;
      let area = 0;
      for (const ring of polygons.flat()) {
        expect(ring.at(0)).toEqual(ring.at(-1));
        for (let i = 1; i < ring.length; i++) {
          area += (ring[i - 1]![0]! * ring[i]![1]! - ring[i]![0]! * ring[i - 1]![1]!) / 2;
        }
      }
      const { measurements, classification, objectType } = feature.properties;
      // 2 level-0 pixels per label pixel of 0.5 µm: 0.25 µm each.
      expect(area * 0.25 * 0.25).toBeCloseTo(measurements["Area µm^2"], 6);
      expect([objectType, classification]).toEqual(["detection", { name: "nucleus", color: [44, 160, 44] }]);
      const [x, y] = polygons[0]![0]![0] as [number, number];
      const number = measurements["Object number"];
      const label = (dy: number, dx: number) =>
        instances[((y - 32) / 2 + dy) * SHAPE[1]! + (x - 96) / 2 + dx];
      expect([label(0, 0), label(0, -1), label(-1, 0), label(-1, -1)]).toContain(number);
    }
    expect(ids.size).toBe(collection.features.length);
    for (const id of ids)
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it("are the same bytes when written again, from chunks stored in two attempts", async () => {
    const again = freshDirectory();
    const labelStore = await openLabelStore(storeAt(again), "labels.ome.zarr", INFO);
    await labelStore.writeChunk({
      index: [0, 1],
      raster: { data: cut(LABELS, SHAPE[1]!, 0, 128, 128, 128), shape: [128, 128] },
    });
    expect((await openLabelStore(storeAt(again), "labels.ome.zarr", INFO)).has([0, 1])).toBe(true);
    expect((await run(again)).outputs).toEqual(report.outputs);
    // A run that was killed before it could rename its directory finalises the same label store once more.
    expect((await run(again)).outputs).toEqual(report.outputs);
  });

  it("are the same bytes with packed rows of chunks", async () => {
    const again = await run(freshDirectory(), { wideRowBytes: 0 });
    expect(again).toEqual(report);
  });

  it("objects do not depend on the chunk size", async () => {
    for (const chunk of [64, 256, 1024]) {
      const other = freshDirectory();
      await run(other, {
        info: { ...INFO, chunk: [chunk, chunk] },
        outputs: ["objects.geojson", "measurements.csv", "overlay.png"],
      });
      for (const name of ["objects.geojson", "measurements.csv", "overlay.png"]) {
        expect(digest(readFileSync(join(other, name)))).toBe(
          report.outputs.find((o) => o.name === name)!.sha256,
        );
      }
    }
  });

  it("open in Python with zarr, ome-zarr, tifffile and shapely", ({ skip }) => {
    const python = process.env.TILEWRIGHT_PYTHON ?? "python3";
    const script = join(import.meta.dirname, "validate_outputs.py");
    try {
      execFileSync(python, [script, "--can-run"], { stdio: "ignore" });
    } catch {
      console.log(
        `skipped: ${python} lacks the packages of ${script}; name one that has them in TILEWRIGHT_PYTHON`,
      );
      skip();
    }
    console.log(execFileSync(python, [script, directory], { encoding: "utf8" }));
  });
});

describe("other label maps", () => {
  it.each([
    ["one pixel", [1, 1]],
    ["one row", [1, 300]],
    ["one chunk exactly", [128, 128]],
    ["a chunk and a pixel", [129, 257]],
  ])("%s", async (_, shape) => {
    const info = labelMapInfo(shape, [128, 128]);
    const labels = new Uint8Array(product(shape)).fill(1);
    const directory = freshDirectory();
    const { summary } = await run(directory, { info, labels, objects: undefined });
    expect(summary!.objects.map((o) => o.count)).toEqual([1, 0]);
    const levels = await readTiff(join(directory, "labels.ome.tiff"));
    for (const { data } of levels) expect(Array.from(data).every((v) => v === 1)).toBe(true);
    expect(Array.from(await readZarr(directory, "instances.ome.zarr", 0)).every((v) => v === 1)).toBe(true);
    const [feature] = JSON.parse(readFileSync(join(directory, "objects.geojson"), "utf8")).features;
    expect(feature.properties.objectType).toBe("annotation");
    expect(feature.geometry.coordinates[0]).toHaveLength(5);
  });

  it("of an empty label map are valid and empty", async () => {
    const directory = freshDirectory();
    const { summary } = await run(directory, { labels: new Uint8Array(product(SHAPE)) });
    expect(summary!.objects).toMatchObject([{ count: 0, densityPerMm2: 0, medianAreaUm2: undefined }]);
    expect(JSON.parse(readFileSync(join(directory, "objects.geojson"), "utf8")).features).toEqual([]);
    const [base] = await readTiff(join(directory, "labels.ome.tiff"));
    expect(Array.from(base!.data).every((v) => v === 0)).toBe(true);
  });

  it("BigTIFF reads the same", async () => {
    const directory = freshDirectory();
    await run(directory, { outputs: ["labels.ome.tiff"], bigTiff: true });
    expect(readFileSync(join(directory, "labels.ome.tiff")).readUInt16LE(2)).toBe(43);
    const levels = await readTiff(join(directory, "labels.ome.tiff"));
    for (const [l, data] of pyramid(LABELS, INFO).entries()) expectSamples(levels[l]!.data, data);
  });

  it("writes the pyramid of a volume in OME-Zarr, and rejects 2-D outputs", async () => {
    const info = labelMapInfo([9, 40, 37], [4, 16, 16]);
    const directory = freshDirectory();
    const store = storeAt(directory);
    const labelStore = await openLabelStore(store, "labels.ome.zarr", info);
    const block = new Uint8Array(4 * 16 * 16).fill(2);
    await labelStore.writeChunk({ index: [1, 1, 1], raster: { data: block, shape: [4, 16, 16] } });
    const options = {
      labelStore,
      targets: createDirectoryTargets({ directory, store, labelStore }),
      origin: { source: {} },
      objects: undefined,
      source: "volume",
      idSeed: "00112233445566778899",
      analysedPixels: product(info.shape),
    };
    const { summary } = await writeOutputs({ ...options, outputs: ["labels.ome.zarr"] });
    expect(summary).toMatchObject({ structures: [{ voxels: 0 }, { voxels: block.length }] });
    const level1 = await readZarr(directory, "labels.ome.zarr", 1);
    expect(level1).toHaveLength(5 * 20 * 19);
    expect(Array.from(level1).reduce((n, v) => n + v, 0)).toBe(2 * 2 * 8 * 8);
    await expect(writeOutputs({ ...options, outputs: ["objects.geojson"] })).rejects.toThrow("2-D");
  });
});

describe("failures", () => {
  it("rejects the label store of another label map", async () => {
    const store = storeAt(freshDirectory());
    await openLabelStore(store, "labels.ome.zarr", INFO);
    const other = { ...INFO, name: "another model" };
    await expect(openLabelStore(store, "labels.ome.zarr", other)).rejects.toThrow(LabelStoreMismatchError);
  });

  it("rejects a chunk of the wrong shape with both shapes", async () => {
    const labelStore = await openLabelStore(storeAt(freshDirectory()), "labels.ome.zarr", INFO);
    const raster = { data: new Uint8Array(128 * 128), shape: [128, 128] };
    await expect(labelStore.writeChunk({ index: [5, 0], raster })).rejects.toThrow(
      "128x128 when uint8 61x128",
    );
  });

  it("throws for a damaged chunk", async () => {
    const store = storeAt(freshDirectory());
    const labelStore = await openLabelStore(store, "labels.ome.zarr", INFO);
    await storeLabels(labelStore, LABELS);
    const key = "labels.ome.zarr/0/c/2/2";
    const { bytes } = (await store.get(key))!;
    bytes[bytes.length - 8]! ^= 1;
    await store.put(key, bytes);
    await expect(labelStore.readTile([2, 2])).rejects.toThrow("damaged");
  });

  it.each(["a failing sink", "an abort"])("%s leaves nothing under a final name", async (how) => {
    const directory = freshDirectory();
    const store = storeAt(directory);
    const labelStore = await openLabelStore(store, "work/labels.ome.zarr", INFO);
    await storeLabels(labelStore, LABELS);
    const targets = createDirectoryTargets({ directory, store, labelStore });
    const abort = new AbortController();
    const failing = {
      ...targets,
      file: async (name: OutputName) => {
        const sink = await targets.file(name);
        return {
          ...sink,
          byteLength: 0,
          finish: sink.finish.bind(sink),
          abort: sink.abort.bind(sink),
          append,
        };
      },
    };
    const append = async () => {
      throw new Error("no space left on device");
    };
    const done = writeOutputs({
      labelStore,
      outputs: ["labels.ome.tiff", "objects.geojson", "measurements.csv"],
      targets: how === "an abort" ? targets : failing,
      origin: { source: {} },
      objects: OBJECTS,
      source: "slide",
      idSeed: "00112233445566778899",
      analysedPixels: 1,
      signal: abort.signal,
      onProgress: () => how === "an abort" && abort.abort(new Error("stopped")),
    });
    await expect(done).rejects.toThrow(how === "an abort" ? "stopped" : "no space left");
    expect(readdirSync(directory)).toEqual(["work"]);
  });
});

function expectSamples(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] !== expected[i]) expect.fail(`sample ${i} is ${actual[i]}, expected ${expected[i]}`);
  }
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function cut(data: Uint8Array, width: number, y: number, x: number, h: number, w: number): Uint8Array {
  const out = new Uint8Array(h * w);
  for (let r = 0; r < h; r++) out.set(data.subarray((y + r) * width + x, (y + r) * width + x + w), r * w);
  return out;
}
