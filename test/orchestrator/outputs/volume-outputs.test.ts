import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { type Affine, applyAffine, columnLengths, orientationCode } from "../../../src/image/affine.ts";
import type { ImageSource } from "../../../src/image/image-source.ts";
import type { LabelMapInfo } from "../../../src/image/label-sink.ts";
import type { OutputName } from "../../../src/image/output-targets.ts";
import type { OutputsReport } from "../../../src/orchestrator/outputs/outputs-options.ts";
import type { VolumeSummary } from "../../../src/orchestrator/outputs/volume-summary.ts";
import { writeOutputs } from "../../../src/orchestrator/outputs/write-outputs.ts";
import { openImage } from "../../../src/readers/open-image.ts";
import { FsStore } from "../../../src/storage/fs-store.ts";
import { MemoryStore } from "../../../src/storage/memory-store.ts";
import { createDirectoryTargets } from "../../../src/writers/directory-targets.ts";
import { openLabelStore } from "../../../src/writers/ome-zarr/label-store.ts";
import { type MadeNifti, makeNifti } from "../../builders/make-nifti.ts";
import { blobs, storeVolume, volumeInfo } from "./volume-labels.ts";

const EXAMPLE = join(import.meta.dirname, "../../../../shared/data/volumes/totalseg-ct/example_seg.nii.gz");
const directories: string[] = [];
afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

function freshDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "volume-"));
  directories.push(directory);
  return directory;
}

async function write(
  directory: string,
  info: LabelMapInfo,
  labels: Uint8Array,
  source: Pick<ImageSource, "affine" | "headers">,
  outputs: readonly OutputName[],
  signal?: AbortSignal,
): Promise<OutputsReport & { summary: VolumeSummary }> {
  const store = new FsStore(directory);
  try {
    const labelStore = await openLabelStore(store, "labels.ome.zarr", info);
    await storeVolume(labelStore, labels);
    const report = await writeOutputs({
      labelStore,
      outputs,
      targets: createDirectoryTargets({ directory, store, labelStore }),
      origin: { source },
      objects: undefined,
      source: "scan.nii",
      idSeed: "00112233445566778899",
      analysedPixels: labels.length,
      signal,
    });
    return report as OutputsReport & { summary: VolumeSummary };
  } finally {
    await store.close();
  }
}

const openBytes = (name: string, bytes: Uint8Array) => openImage(new MemoryStore({ [name]: bytes }), name);

/** Writes labels over the whole of a source and opens what was written. */
async function roundTrip(source: ImageSource, labels: Uint8Array, chunk?: readonly [number, number, number]) {
  const shape = source.levels[0]!.shape as [number, number, number];
  const info = volumeInfo({ shape, chunk, spacing: source.spacing!.values });
  const directory = freshDirectory();
  await write(directory, info, labels, source, ["labels.nii.gz"]);
  const bytes = readFileSync(join(directory, "labels.nii.gz"));
  const back = await openBytes("labels.nii.gz", bytes);
  const { data } = await back.readRegion(0, { origin: [0, 0, 0], size: shape });
  return { back, data, bytes, file: new Uint8Array(gunzipSync(bytes)) };
}

/** Axes in any order and direction, turned a little where `tilt` is above 0. */
const space = fc
  .record({
    order: fc.constantFrom([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]),
    flips: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean()),
    zooms: fc.tuple(...Array.from({ length: 3 }, () => fc.double({ min: 0.2, max: 6, noNaN: true }))),
    offset: fc.tuple(...Array.from({ length: 3 }, () => fc.double({ min: -300, max: 300, noNaN: true }))),
    tilt: fc.constantFrom(0, 0.3),
    shear: fc.constantFrom(0, 0.1),
  })
  .map(({ order, flips, zooms, offset, tilt, shear }) => {
    const columns = order.map((row, c) => {
      const axis = [0, 0, 0];
      axis[row] = (flips[c] ? -1 : 1) * zooms[c]!;
      return axis;
    });
    columns[0]![order[1]!]! += shear * zooms[0]!;
    const [cos, sin] = [Math.cos(tilt), Math.sin(tilt)];
    const rows = [0, 1, 2].map((r) => columns.map((column) => column[r]!));
    const turned = [
      rows[0]!.map((v, c) => cos * v - sin * rows[1]![c]!),
      rows[0]!.map((v, c) => sin * v + cos * rows[1]![c]!),
      rows[2]!,
    ];
    return [...turned.map((row, r) => [...row, offset[r]!].map(Math.fround)), [0, 0, 0, 1]] as Affine;
  });

describe("labels.nii.gz", () => {
  it("of any NIfTI keeps affine and spatial header fields", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          version: fc.constantFrom(1 as const, 2 as const),
          littleEndian: fc.boolean(),
          gzip: fc.boolean(),
          size: fc.tuple(...Array.from({ length: 3 }, () => fc.integer({ min: 1, max: 9 }))),
          units: fc.constantFrom(0, 1, 2, 3, 2 + 8),
          how: fc.constantFrom("sform", "qform", "both", "none"),
        }),
        space,
        fc.nat(50),
        async ({ how, ...made }, affine, seed) => {
          const size = made.size as [number, number, number];
          const file: MadeNifti = {
            ...made,
            type: "int16",
            data: new Int16Array(size[0] * size[1] * size[2]),
            size,
          };
          file.pixdim = [-1, ...columnLengths(affine), 0, 0, 0, 0];
          if (how === "sform" || how === "both") file.sform = { code: 2, rows: affine.slice(0, 3) };
          if (how === "qform" || how === "both")
            file.qform = { code: 1, quaternion: [0.5, -0.5, 0.5].map((v) => v * 0.9), offset: [1, 2, 3] };
          const stored = makeNifti(file);
          const source = await openBytes("scan.nii", stored);
          const labels = blobs([size[2], size[1], size[0]], seed);
          const { back, data, file: written } = await roundTrip(source, labels, [2, 4, 4]);
          expect(data).toEqual(labels);
          expect(back.affine).toEqual(source.affine);
          expect(back.dtype).toBe("uint8");
          expectSameSpace(made.gzip ? gunzipSync(stored) : stored, written, made.version);
          await source.close();
        },
      ),
      { numRuns: 40 },
    );
  });

  it("of another format has its affine as sform, and as qform if it is a rotation", async () => {
    await fc.assert(
      fc.asyncProperty(space, async (affine) => {
        const info = volumeInfo({ shape: [3, 4, 5], spacing: columnLengths(affine).reverse() });
        const directory = freshDirectory();
        await write(directory, info, blobs([3, 4, 5]), { affine }, ["labels.nii.gz"]);
        const bytes = new Uint8Array(gunzipSync(readFileSync(join(directory, "labels.nii.gz"))));
        const bySform = await openBytes("labels.nii", bytes);
        expectClose(bySform.affine!, affine, 1e-4);
        const view = new DataView(bytes.buffer);
        if (view.getInt16(252, true) === 0) return;
        view.setInt16(254, 0, true);
        const byQform = await openBytes("labels.nii", bytes);
        expect(byQform.details!.orientationFrom).toBe("qform");
        // b, c and d are float32, each 2^-25 off at most, so a² = 1 - b² - c² - d² is 2 √3 2^-25 off. Near half a turn, where
        // a is 0, that makes a its root, 3.2e-4, and an entry of the rotation, such as 2 (bc + ad), twice as much.
        const rounding = 2 * Math.sqrt(2 * Math.sqrt(3) * 2 ** -25);
        expectClose(byQform.affine!, affine, rounding * Math.max(1, ...columnLengths(affine)));
      }),
      { numRuns: 60 },
    );
    const square: Affine = [
      [0, -2, 0, 5],
      [1, 0, 0, 6],
      [0, 0, 3, 7],
      [0, 0, 0, 1],
    ];
    const directory = freshDirectory();
    const info = volumeInfo({ shape: [2, 2, 2] });
    await write(directory, info, blobs([2, 2, 2]), { affine: square }, ["labels.nii.gz"]);
    const bytes = gunzipSync(readFileSync(join(directory, "labels.nii.gz")));
    expect(bytes.readInt16LE(252)).toBe(1);
    expect(bytes.readInt16LE(254)).toBe(1);
  });

  it("of a volume without position has spacing only", async () => {
    const directory = freshDirectory();
    const info = volumeInfo({ shape: [2, 3, 4], spacing: [3, 2, 1] });
    await write(directory, info, blobs([2, 3, 4]), {}, ["labels.nii.gz"]);
    const bytes = gunzipSync(readFileSync(join(directory, "labels.nii.gz")));
    expect([bytes.readInt16LE(252), bytes.readInt16LE(254)]).toEqual([0, 0]);
    expect([80, 84, 88].map((at) => bytes.readFloatLE(at))).toEqual([1, 2, 3]);
  });

  it("of a region at a coarser level has the positions of the source", async () => {
    const affine: Affine = [
      [-0.5, 0, 0, 40],
      [0, 0, 2, -30],
      [0, -0.5, 0, 20],
      [0, 0, 0, 1],
    ];
    const origin = [3, 8, 4];
    const downsample = [1, 2, 2];
    const info = volumeInfo({ shape: [2, 3, 4], spacing: [2, 1, 1], origin, downsample });
    const rows = affine.slice(0, 3);
    const stored = makeNifti({
      type: "uint8",
      size: [20, 20, 9],
      data: new Uint8Array(3600),
      sform: { code: 4, rows },
    });
    for (const source of [{ affine }, await openBytes("scan.nii", stored)]) {
      const directory = freshDirectory();
      await write(directory, info, blobs([2, 3, 4]), source, ["labels.nii.gz"]);
      const written = readFileSync(join(directory, "labels.nii.gz"));
      const back = await openBytes("labels.nii.gz", written);
      // The first label sample spans those of level 0 from 8 to 9 along y, and from 4 to 5 along x.
      expectClose(
        [[...applyAffine(back.affine!, [0, 0, 0])]],
        [[...applyAffine(affine, [4.5, 8.5, 3])]],
        1e-5,
      );
      expectClose(
        [[...applyAffine(back.affine!, [3, 2, 1])]],
        [[...applyAffine(affine, [10.5, 12.5, 4])]],
        1e-5,
      );
      expect(gunzipSync(written).readInt16LE(254)).toBe("levels" in source ? 4 : 1);
    }
  });

  it("chunks of any size and slabs of several slices give the same bytes; twice gives the same", async () => {
    const shape = [7, 21, 18] as const;
    const source = {
      affine: [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
      ],
    };
    const digests = new Set<string>();
    for (const chunk of [
      [1, 512, 2048],
      [1, 8, 8],
      [3, 16, 5],
      [8, 32, 32],
      [1, 512, 2048],
    ] as const) {
      const directory = freshDirectory();
      const { outputs } = await write(directory, volumeInfo({ shape, chunk }), blobs(shape), source, [
        "labels.nii.gz",
        "measurements.csv",
      ]);
      digests.add(outputs.map((o) => o.sha256).join());
      expect(outputs[0]!.sha256).toBe(
        createHash("sha256")
          .update(readFileSync(join(directory, "labels.nii.gz")))
          .digest("hex"),
      );
    }
    expect(digests.size).toBe(1);
  });

  it("tiles against the order of z are refused", async () => {
    const { createNiftiLabels: openNiftiLabels } = await import("../../../src/writers/nifti/nifti.ts");
    const { createFileSink: openFileSink } = await import("../../../src/writers/base/file-sink.ts");
    const directory = freshDirectory();
    const sink = await openNiftiLabels(
      await openFileSink(join(directory, "labels.nii.gz")),
      volumeInfo({ shape: [4, 2, 2], chunk: [1, 2, 2] }),
      {},
    );
    await sink.writeTile(0, [2, 0, 0], { data: new Uint8Array(4) });
    await expect(sink.writeTile(0, [1, 0, 0], { data: new Uint8Array(4) })).rejects.toThrow("row 2");
    await sink.abort();
    expect(readdirSync(directory)).toEqual([]);
  });

  it("a volume that was flipped and permuted has the same labels at the same places", async ({ skip }) => {
    if (!existsSync(EXAMPLE)) {
      console.warn(`not tested on a real label volume: there is none at ${EXAMPLE}`);
      return skip();
    }
    const source = await openBytes("example.nii.gz", readFileSync(EXAMPLE));
    const shape = source.levels[0]!.shape as [number, number, number];
    const { data } = await source.readRegion(0, { origin: [0, 0, 0], size: shape });
    const labels = Uint8Array.from(data, (v) => v % 256);
    const codes = new Set<string>();
    for (const [order, flips] of [
      [
        [0, 1, 2],
        [true, false, false],
      ],
      [
        [0, 1, 2],
        [true, true, true],
      ],
      [
        [2, 0, 1],
        [false, true, false],
      ],
      [
        [1, 2, 0],
        [true, false, true],
      ],
    ] as const) {
      const turned = turn(labels, shape, order, flips);
      const affine = turnAffine(source.affine!, shape, order, flips);
      const directory = freshDirectory();
      const info = volumeInfo({ shape: turned.shape, spacing: columnLengths(affine).reverse() });
      await write(directory, info, turned.data, { affine }, ["labels.nii.gz"]);
      const back = await openBytes("labels.nii.gz", readFileSync(join(directory, "labels.nii.gz")));
      const read = await back.readRegion(0, { origin: [0, 0, 0], size: turned.shape });
      codes.add(orientationCode(back.affine!));
      // Turned back, labels and affine are those of the beginning.
      const again = turnBack(read.data as Uint8Array, shape, order, flips);
      expect(Buffer.compare(again, labels)).toBe(0);
      expectClose(turnAffineBack(back.affine!, shape, order, flips), source.affine!, 1e-3);
    }
    expect(codes.size).toBe(4);
  });
});

describe("measurements of a volume", () => {
  const shape = [6, 10, 12] as const;
  const box = (() => {
    const data = new Uint8Array(6 * 10 * 12);
    for (let z = 1; z < 4; z++)
      for (let y = 2; y < 6; y++) for (let x = 3; x < 8; x++) data[(z * 10 + y) * 12 + x] = 2;
    return data;
  })();
  const affine: Affine = [
    [-0.8, 0, 0, 100],
    [0, 0.8, 0, -50],
    [0, 0, 2, 10],
    [0, 0, 0, 1],
  ];

  it("are volume, place, box, parts and surface of each structure", async () => {
    const directory = freshDirectory();
    const { summary } = await write(directory, volumeInfo({ shape }), box, { affine }, ["measurements.csv"]);
    expect(summary.analysedVoxels).toBe(720);
    expect(summary.structures[0]).toMatchObject({
      name: "interior",
      voxels: 0,
      components: 0,
      place: undefined,
    });
    const structure = summary.structures[1]!;
    expect(structure).toMatchObject({
      voxels: 60,
      components: 1,
      place: { centroidVoxel: [2, 3.5, 5], boxVoxel: { origin: [1, 2, 3], size: [3, 4, 5] } },
    });
    expect(structure.volumeMm3).toBeCloseTo(60 * 1.28, 9);
    expect(structure.volumeMl).toBeCloseTo(0.06 * 1.28, 9);
    expect(structure.fraction).toBeCloseTo(60 / 720, 9);
    expectClose([structure.place!.centroidMm!], [[96, -47.2, 14]], 1e-9);
    expectClose(
      [structure.place!.boxMm!.min, structure.place!.boxMm!.max],
      [
        [94, -48.8, 11],
        [98, -45.6, 17],
      ],
      1e-9,
    );
    const surface = 2 * (3 * 2 * 4 * 0.8 + 3 * 2 * 5 * 0.8 + 4 * 0.8 * 5 * 0.8);
    expect(structure.surfaceMm2! / surface).toBeGreaterThan(0.75);
    expect(structure.surfaceMm2! / surface).toBeLessThan(1.05);

    const csv = readFileSync(join(directory, "measurements.csv"), "utf8");
    expect(csv.endsWith("\r\n")).toBe(true);
    const [head, ...rows] = csv
      .trimEnd()
      .split("\r\n")
      .map((line) => line.replaceAll('"boundary ""ß"""', "B").split(","));
    for (const row of rows) expect(row).toHaveLength(head!.length);
    const cell = (row: number, column: string) => rows[row]![head!.indexOf(column)];
    expect(rows.map((row) => row[0])).toEqual(["volume", "structure", "structure"]);
    expect(cell(0, "voxels")).toBe("720");
    expect(cell(1, "voxels")).toBe("0");
    expect(cell(1, "centroid_x_voxel")).toBe("");
    expect(cell(2, "volume_mm3")).toBe("76.8");
    expect(cell(2, "centroid_x_mm")).toBe("96");
    expect(cell(2, "box_depth_voxel")).toBe("3");
  });

  it("coordinates are those of the source, also at a coarser level", async () => {
    const directory = freshDirectory();
    const info = volumeInfo({ shape, origin: [5, 20, 30], downsample: [1, 2, 2], spacing: [2, 1.6, 1.6] });
    const { summary } = await write(directory, info, box, { affine }, ["measurements.csv"]);
    const { place, volumeMm3 } = summary.structures[1]!;
    expect(volumeMm3).toBeCloseTo(60 * 2 * 1.6 * 1.6, 9);
    expect(place!.boxVoxel).toEqual({ origin: [6, 24, 36], size: [3, 8, 10] });
    expect(place!.centroidVoxel).toEqual([7, 27.5, 40.5]);
    expectClose([place!.centroidMm!], [applyAffine(affine, [40.5, 27.5, 7])], 1e-9);
  });

  it("an abort leaves nothing under a final name", async () => {
    const directory = freshDirectory();
    const abort = new AbortController();
    const headers = {
      format: "nifti" as const,
      count: 1,
      read: async () => {
        abort.abort(new Error("stopped"));
        return makeNifti({ type: "uint8", size: [12, 10, 6], data: [] }).subarray(0, 348);
      },
    };
    const outputs = ["labels.nii.gz", "measurements.csv"] as const;
    await expect(
      write(directory, volumeInfo({ shape }), box, { headers }, outputs, abort.signal),
    ).rejects.toThrow("stopped");
    expect(readdirSync(directory)).toEqual(["labels.ome.zarr"]);
  });
});

/** All but what tells of samples: sides, type, scaling, intent, window and where samples begin. */
function expectSameSpace(stored: Uint8Array, written: Uint8Array, version: 1 | 2): void {
  const kept =
    version === 1
      ? [
          [38, 40],
          [74, 108],
          [120, 124],
          [132, 328],
          [344, 348],
        ]
      : [
          [0, 12],
          [104, 168],
          [208, 504],
          [524, 540],
        ];
  for (const [from, to] of kept)
    expect([...written.subarray(from, to)], `bytes from ${from}`).toEqual([...stored.subarray(from, to)]);
}

function expectClose(
  a: readonly (readonly number[])[],
  b: readonly (readonly number[])[],
  tolerance: number,
): void {
  for (const [r, row] of b.entries())
    for (const [c, value] of row.entries()) expect(Math.abs(a[r]![c]! - value)).toBeLessThan(tolerance);
}

/** New axis a runs along old axis order[a], backwards where flips[a]. */
function turn(
  data: Uint8Array,
  shape: readonly number[],
  order: readonly number[],
  flips: readonly boolean[],
) {
  const size = order.map((axis) => shape[axis]!) as [number, number, number];
  const out = new Uint8Array(data.length);
  eachTurned(shape, order, flips, (to, from) => {
    out[to] = data[from]!;
  });
  return { data: out, shape: size };
}

function turnBack(
  data: Uint8Array,
  shape: readonly number[],
  order: readonly number[],
  flips: readonly boolean[],
) {
  const out = new Uint8Array(data.length);
  eachTurned(shape, order, flips, (to, from) => {
    out[from] = data[to]!;
  });
  return out;
}

function eachTurned(
  shape: readonly number[],
  order: readonly number[],
  flips: readonly boolean[],
  visit: (to: number, from: number) => void,
): void {
  const size = order.map((axis) => shape[axis]!);
  const old = [0, 0, 0];
  for (let z = 0, to = 0; z < size[0]!; z++)
    for (let y = 0; y < size[1]!; y++)
      for (let x = 0; x < size[2]!; x++, to++) {
        for (const [a, v] of [z, y, x].entries()) old[order[a]!] = flips[a] ? size[a]! - 1 - v : v;
        visit(to, (old[0]! * shape[1]! + old[1]!) * shape[2]! + old[2]!);
      }
}

/** Axes here are z, y, x, those of an affine i, j, k. */
function turnAffine(
  affine: Affine,
  shape: readonly number[],
  order: readonly number[],
  flips: readonly boolean[],
): Affine {
  const columns = order.map((axis, a) => affine.map((row) => (flips[a] ? -1 : 1) * row[2 - axis]!));
  const offset = affine.map((row) =>
    order.reduce((sum, axis, a) => sum + (flips[a] ? (shape[axis]! - 1) * row[2 - axis]! : 0), row[3]!),
  );
  return affine.map((_, r) => [columns[2]![r]!, columns[1]![r]!, columns[0]![r]!, offset[r]!]);
}

function turnAffineBack(
  affine: Affine,
  shape: readonly number[],
  order: readonly number[],
  flips: readonly boolean[],
): Affine {
  const columns: number[][] = [[], [], []];
  for (const [a, axis] of order.entries())
    columns[axis] = affine.map((row) => (flips[a] ? -1 : 1) * row[2 - a]!);
  const offset = affine.map((row) =>
    order.reduce((sum, axis, a) => sum + (flips[a] ? (shape[axis]! - 1) * row[2 - a]! : 0), row[3]!),
  );
  return affine.map((_, r) => [columns[2]![r]!, columns[1]![r]!, columns[0]![r]!, offset[r]!]);
}
