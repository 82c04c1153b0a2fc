import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import dcmjs, { type DicomElements } from "dcmjs";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { type Affine, columnLengths } from "../../src/image/affine.ts";
import type { ImageSource } from "../../src/image/image-source.ts";
import type { LabelMapInfo } from "../../src/image/label-sink.ts";
import { SEGMENTATION_TYPES, type SegmentationType } from "../../src/image/output-targets.ts";
import { writeOutputs } from "../../src/orchestrator/outputs/write-outputs.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { FsStore } from "../../src/storage/fs-store.ts";
import { createFileSink } from "../../src/writers/base/file-sink.ts";
import { createDicomSegmentation } from "../../src/writers/dicom-seg/segmentation.ts";
import { createDirectoryTargets } from "../../src/writers/directory-targets.ts";
import { openLabelStore } from "../../src/writers/ome-zarr/label-store.ts";
import { cells, labelMapInfo, storeLabels } from "../orchestrator/outputs/label-map.ts";
import { blobs, storeVolume, volumeInfo } from "../orchestrator/outputs/volume-labels.ts";
import { madeSeries, madeSlide, PATIENT } from "./made-dicom-source.ts";

const DATA = join(import.meta.dirname, "../../../shared/data");
const AFFINE: Affine = [
  [-0.8, 0, 0, 100],
  [0, -0.7, 0.3, 50],
  [0, 0.1, 2, -30],
  [0, 0, 0, 1],
];
const SEED = "00112233445566778899";

const directories: string[] = [];
afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

function freshDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "seg-"));
  directories.push(directory);
  return directory;
}

/** Writes `labels.seg.dcm`, and what validate_dicom_seg.py compares it with. */
async function write(
  info: LabelMapInfo,
  labels: Uint8Array,
  source: Pick<ImageSource, "affine" | "headers">,
  type: SegmentationType = "binary",
): Promise<string> {
  const directory = freshDirectory();
  const store = new FsStore(directory);
  try {
    const labelStore = await openLabelStore(store, "labels.ome.zarr", info);
    await (info.axes === "zyx" ? storeVolume : storeLabels)(labelStore, labels);
    await writeOutputs({
      labelStore,
      outputs: ["labels.seg.dcm"],
      targets: createDirectoryTargets({ directory, store, labelStore }),
      origin: { source, segmentation: segmentation(type) },
      objects: undefined,
      source: "scan",
      idSeed: SEED,
      analysedPixels: labels.length,
    });
  } finally {
    await store.close();
  }
  writeFileSync(join(directory, "labels.raw"), labels);
  const segments = info.classes.slice(1).map(({ name }) => name);
  // Columns of the affine are x, y, z and its rows RAS.
  const affine = source.affine?.map((row, r) => [2, 1, 0, 3].map((c) => (r < 2 ? -row[c]! : row[c]!)));
  writeFileSync(join(directory, "labels.json"), JSON.stringify({ shape: info.shape, segments, affine }));
  return directory;
}

function segmentation(type: SegmentationType, present: number[][] = []) {
  return {
    type,
    seed: SEED,
    software: "0.1.0",
    algorithm: { name: "organs", version: "1.2.0" },
    level: 0,
    present,
  };
}

function read(directory: string): DicomElements & { pixels: Uint8Array } {
  const bytes = readFileSync(join(directory, "labels.seg.dcm"));
  const { buffer } = new Uint8Array(bytes);
  const { dict } = dcmjs.data.DicomMessage.readFile(buffer, { untilTag: "FFFFFFFF" });
  const pixels = new Uint8Array((dict["7FE00010"]!.Value as ArrayBuffer[])[0]!);
  return { ...dict, pixels } as DicomElements & { pixels: Uint8Array };
}

const value = (elements: DicomElements, tag: string, at = 0) => elements[tag]!.Value![at];
const first = (elements: DicomElements, ...tags: string[]) =>
  tags.reduce((at, tag) => value(at, tag) as DicomElements, elements);

/** Class indices from frames: of each its place, and samples. */
function labelsOf(file: ReturnType<typeof read>, info: LabelMapInfo): Uint8Array {
  const type = value(file, "00620001");
  const [rows, columns] = [Number(value(file, "00280010")), Number(value(file, "00280011"))];
  const [height, width] = info.shape.slice(-2) as [number, number];
  const out = new Uint8Array(info.shape.reduce((a, b) => a * b, 1));
  for (const [n, item] of (file["52009230"]!.Value as DicomElements[]).entries()) {
    const [z, y0, x0] =
      info.axes === "zyx"
        ? [Number(value(first(item, "00209111"), "00209157", type === "LABELMAP" ? 0 : 1)) - 1, 0, 0]
        : [
            0,
            Number(first(item, "0048021A", "0048021F")) - 1,
            Number(first(item, "0048021A", "0048021E")) - 1,
          ];
    const segment = type === "LABELMAP" ? undefined : Number(first(item, "0062000A", "0062000B"));
    for (let y = 0; y < rows; y++)
      for (let x = 0; x < columns; x++) {
        const i = (n * rows + y) * columns + x;
        const sample = type === "BINARY" ? (file.pixels[i >> 3]! >> (i & 7)) & 1 : file.pixels[i]!;
        if (sample === 0) continue;
        expect(y0 + y < height && x0 + x < width).toBe(true);
        out[(z * height + y0 + y) * width + x0 + x] = segment ?? sample;
      }
  }
  return out;
}

describe("labels.seg.dcm of a series", () => {
  it("holds the labels of any volume, for any type and shape", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(
          fc.integer({ min: 1, max: 5 }),
          fc.integer({ min: 1, max: 9 }),
          fc.integer({ min: 1, max: 9 }),
        ),
        fc.constantFrom(...SEGMENTATION_TYPES),
        fc.nat(99),
        fc.boolean(),
        async (shape, type, seed, multiFrame) => {
          const info = volumeInfo({ shape, chunk: [2, 4, 4] });
          const labels = blobs(shape, seed);
          const file = read(await write(info, labels, madeSeries(shape[0], AFFINE, { multiFrame }), type));
          expect(labelsOf(file, info)).toEqual(labels);
          const frames = file["52009230"]!.Value!.length;
          expect(Number(value(file, "00280008"))).toBe(frames);
          const samples = frames * shape[1] * shape[2];
          const bytes = type === "binary" ? Math.ceil(samples / 8) : samples;
          expect(file.pixels.length).toBe(bytes + (bytes & 1));
        },
      ),
      { numRuns: 40 },
    );
  });

  it("identifies its patient, its source and its software", async () => {
    const shape = [4, 6, 5] as const;
    const directory = await write(volumeInfo({ shape }), blobs(shape), madeSeries(4, AFFINE));
    const file = read(directory);
    expect(value(file, "00100010")).toMatchObject({ Alphabetic: PATIENT });
    expect(value(file, "00100020")).toBe("P-77");
    expect(value(file, "0020000D")).toBe("1.2.3.100");
    expect(value(file, "00200052")).toBe("1.2.3.102");
    expect(value(file, "00080060")).toBe("SEG");
    for (const tag of ["00080018", "0020000E"]) expect(value(file, tag)).toMatch(/^2\.25\.\d{30,39}$/);
    const source = first(file, "00081115");
    expect(value(source, "0020000E")).toBe("1.2.3.101");
    expect(source["0008114A"]!.Value).toHaveLength(4);
    // The first slice is empty, so the first frame is of the second.
    const item = first(file, "52009230");
    expect(value(first(item, "00089124", "00082112"), "00081155")).toBe("1.2.3.300.1");
    const position = (first(item, "00209113")["00200032"]!.Value as number[]).map(Number);
    for (const [axis, v] of [-100, -50.3, -28].entries()) expect(position[axis]).toBeCloseTo(v, 9);
    const measures = first(file, "52009229", "00289110");
    const [x, y, z] = columnLengths(AFFINE);
    expect(Number(value(measures, "00280030", 0))).toBeCloseTo(y, 9);
    expect(Number(value(measures, "00280030", 1))).toBeCloseTo(x, 9);
    expect(Number(value(measures, "00180088"))).toBeCloseTo(z, 9);
    const segments = file["00620002"]!.Value as DicomElements[];
    expect(value(segments[0]!, "00620005")).toBe("interior");
    expect(segments.map((s) => value(s, "00620009"))).toEqual(["organs", "organs"]);
    const [l, a, b] = segments[1]!["0062000D"]!.Value as number[];
    // #d62728 is L* 47, a* 67, b* 48 (D65) or about so.
    expect(l! / 655.35).toBeCloseTo(47, -1);
    expect((a! * 255) / 65535 - 128).toBeGreaterThan(50);
    expect((b! * 255) / 65535 - 128).toBeGreaterThan(30);
  });

  it("has one empty frame when nothing was found", async () => {
    for (const type of SEGMENTATION_TYPES) {
      const info = volumeInfo({ shape: [3, 5, 5] });
      const file = read(await write(info, new Uint8Array(75), madeSeries(3, AFFINE), type));
      expect(file["52009230"]!.Value).toHaveLength(1);
      expect(file.pixels.every((v) => v === 0)).toBe(true);
    }
  });

  it("refers to single frames of multi-frame files, and to no file without a UID", async () => {
    const shape = [3, 5, 5] as const;
    const info = volumeInfo({ shape });
    const several = read(await write(info, blobs(shape), madeSeries(3, AFFINE, { multiFrame: true })));
    expect(Number(value(first(several, "52009230", "00089124", "00082112"), "00081160"))).toBe(2);
    expect(first(several, "00081115")["0008114A"]!.Value).toHaveLength(1);
    const nameless = read(await write(info, blobs(shape), madeSeries(3, AFFINE, { nameless: true })));
    expect(first(nameless, "52009230")["00089124"]).toBeUndefined();
    expect(nameless["00081115"]).toBeUndefined();
  });

  it("has the same bytes when written again, and other UIDs for other labels or types", async () => {
    const shape = [4, 9, 7] as const;
    const of = async (type: SegmentationType, chunk: readonly [number, number, number]) =>
      readFileSync(
        join(
          await write(volumeInfo({ shape, chunk }), blobs(shape), madeSeries(4, AFFINE), type),
          "labels.seg.dcm",
        ),
      );
    const bytes = await of("binary", [1, 512, 2048]);
    expect(await of("binary", [1, 512, 2048])).toEqual(bytes);
    expect(await of("binary", [3, 4, 4])).toEqual(bytes);
    const uids = new Set<unknown>();
    for (const type of SEGMENTATION_TYPES)
      uids.add(
        value(
          read(await write(volumeInfo({ shape }), blobs(shape), madeSeries(4, AFFINE), type)),
          "00080018",
        ),
      );
    expect(uids.size).toBe(3);
  });

  it("is rejected without leaving a file when the head is unreadable or frames are missing", async () => {
    const info = volumeInfo({ shape: [3, 5, 5] });
    const directory = freshDirectory();
    const sink = () => createFileSink(join(directory, "labels.seg.dcm"));
    const { headers, affine } = madeSeries(3, AFFINE);
    const damaged = {
      affine,
      headers: {
        ...headers,
        read: async () => new TextEncoder().encode(`${"\0".repeat(128)}DICM${PATIENT}`),
      },
    };
    const refusal = createDicomSegmentation(await sink(), info, {
      source: damaged,
      segmentation: segmentation("binary"),
    });
    await expect(refusal).rejects.toThrow(/^the DICOM header of the source cannot be copied/);
    await expect(refusal).rejects.not.toThrow("ller");
    expect(readdirSync(directory)).toEqual([]);

    const announced = segmentation("binary", [[1], [], [1, 2]]);
    const incomplete = await createDicomSegmentation(await sink(), info, {
      source: { headers, affine },
      segmentation: announced,
    });
    await incomplete.writeTile(0, [0, 0, 0], { data: new Uint8Array(512 * 2048) });
    await incomplete.abort();
    expect(readdirSync(directory)).toEqual([]);
    await expect(
      createDicomSegmentation(await sink(), volumeInfo({ shape: [3000, 5000, 5000] }), {
        source: madeSeries(3000, AFFINE),
        segmentation: segmentation("binary", Array(3000).fill([1, 2])),
      }),
    ).rejects.toThrow("choose another output");
    expect(readdirSync(directory)).toEqual([]);
  });
});

describe("labels.seg.dcm of a slide", () => {
  it.each(SEGMENTATION_TYPES)("holds the labels of the total pixel matrix, %s", async (type) => {
    for (const [shape, chunk] of [
      [
        [300, 530],
        [128, 128],
      ],
      [
        [700, 1100],
        [512, 2048],
      ],
      [
        [5, 3],
        [16, 16],
      ],
    ] as const) {
      const info = {
        ...labelMapInfo(shape, chunk),
        spacing: { values: [0.5, 0.5], unit: "micrometer" as const },
      };
      const labels = cells(shape, 60);
      const file = read(await write(info, labels, madeSlide([20, 30]), type));
      expect(labelsOf(file, info)).toEqual(labels);
      expect([value(file, "00480006"), value(file, "00480007")].map(Number)).toEqual([shape[1], shape[0]]);
    }
  });

  it("has the slide's position on the glass, also for a region of a coarser level", async () => {
    const info = {
      ...labelMapInfo([300, 530], [128, 128]),
      spacing: { values: [0.5, 0.5], unit: "micrometer" as const },
      placement: { origin: [400, 800], downsample: [2, 2] },
    };
    const file = read(await write(info, cells([300, 530], 60), madeSlide([20, 30])));
    const origin = first(file, "00480008");
    // Rows run to -y and columns to -x.
    expect(Number(value(origin, "0040072A"))).toBeCloseTo(20 - 200 * 0.0005, 9);
    expect(Number(value(origin, "0040073A"))).toBeCloseTo(30 - 400 * 0.0005, 9);
    const place = first(file, "52009230", "0048021A");
    const [row, column] = [Number(value(place, "0048021F")) - 1, Number(value(place, "0048021E")) - 1];
    expect(Number(value(place, "0040072A"))).toBeCloseTo(20 - (200 + row) * 0.0005, 9);
    expect(Number(value(place, "0040073A"))).toBeCloseTo(30 - (400 + column) * 0.0005, 9);
    expect(value(file, "00209311")).toBe("TILED_SPARSE");
    expect(value(file, "00282110")).toBe("01");
    expect(value(file, "00282114")).toBe("ISO_10918_1");
    expect(value(first(file, "00400560"), "00400551")).toBe("SPECIMEN-1");
  });
});

/** All kinds there are: made ones, and real ones where they lie beside the repository. */
async function everyKind(): Promise<{ directory: string; type: SegmentationType }[]> {
  const kinds: { directory: string; type: SegmentationType }[] = [];
  const shape = [5, 33, 27] as const;
  const store = new FsStore(DATA);
  for (const type of SEGMENTATION_TYPES) {
    const affine: Affine = [
      [-0.8, 0, 0, 100],
      [0, -0.8, 0, 50],
      [0, 0, 2, -30],
      [0, 0, 0, 1],
    ];
    kinds.push({
      type,
      directory: await write(volumeInfo({ shape }), blobs(shape), madeSeries(5, affine), type),
    });
    const info = {
      ...labelMapInfo([300, 530], [128, 128]),
      spacing: { values: [0.5, 0.5], unit: "micrometer" as const },
    };
    kinds.push({ type, directory: await write(info, cells([300, 530], 60), madeSlide([20, 30]), type) });
    for (const path of REAL) {
      if (!existsSync(join(DATA, path))) {
        console.warn(`not tested on a real DICOM source: there is none at ${join(DATA, path)}`);
        continue;
      }
      const source = await openImage(store, path);
      const size = source.levels[0]!.shape;
      const real =
        source.axes === "zyx"
          ? volumeInfo({ shape: size as [number, number, number], spacing: source.spacing!.values })
          : {
              ...labelMapInfo(size, [512, 2048]),
              spacing: source.spacing,
              placement: { origin: [0, 0], downsample: [1, 1] },
            };
      const labels = source.axes === "zyx" ? blobs(real.shape as [number, number, number]) : cells(size, 40);
      kinds.push({ type, directory: await write(real, labels, source, type) });
      await source.close();
    }
  }
  await store.close();
  return kinds;
}

const REAL = [
  "volumes/totalseg-ct/example_ct_dicom",
  "dicom/highdicom/data/test_files/sm_image.dcm",
  "dicom/wsi-three-encodings/jpeg.dicom",
];

describe("other readers", () => {
  it("highdicom, pydicom and dciodvfy accept the files", async ({ skip }) => {
    const python = process.env.TILEWRIGHT_PYTHON ?? "python3";
    const script = join(import.meta.dirname, "validate_dicom_seg.py");
    const canRead = spawnSync(python, [script, "--can-run"], { stdio: "ignore" }).status === 0;
    const canCheck = spawnSync("dciodvfy", ["-describe"], { stdio: "ignore", input: "" }).error === undefined;
    if (!canRead)
      console.log(`skipped: ${python} lacks highdicom; name one that has it in TILEWRIGHT_PYTHON`);
    if (!canCheck) console.log("skipped: there is no dciodvfy (Debian's dicom3tools)");
    if (!canRead && !canCheck) return skip();
    for (const { directory, type } of await everyKind()) {
      if (canRead) console.log(execFileSync(python, [script, directory], { encoding: "utf8" }).trim());
      // Label maps are younger than its tables.
      if (!canCheck || type === "labelmap") continue;
      const { stderr } = spawnSync("dciodvfy", [join(directory, "labels.seg.dcm")], { encoding: "utf8" });
      expect(stderr.split("\n").filter((line) => line.startsWith("Error"))).toEqual([]);
      expect(stderr).toContain("Segmentation");
    }
  }, 600_000);
});
