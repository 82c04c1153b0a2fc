import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadSegmentModel, openSegmentBackends, type SharedSegmentOptions } from "../../src/local/options.ts";
import { runSlide } from "../../src/local/run-slide.ts";
import type { Backend } from "../../src/orchestrator/scheduler/backend.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { FsStore } from "../../src/storage/fs-store.ts";
import { ORIENTATIONS, reorientationBetween } from "../../src/tiling/grid/orientation.ts";
import { product, type SampleArray } from "../../src/tiling/grid/raster.ts";
import { copyReoriented, reorderAxes } from "../../src/tiling/grid/reorientation.ts";
import { writeDirectionPackage } from "../builders/direction-package.ts";
import { makeDicom } from "../builders/make-dicom.ts";
import { makeNifti } from "../builders/make-nifti.ts";

/** z, y, x of the volume whose x leads to the right, y to the front and z to the head: no two sides alike. */
const SHAPE = [21, 25, 30];
const SPACING = [1.5, 1, 1.25];
const RAS = Int16Array.from({ length: product(SHAPE) }, (_, i) => {
  const [z, y, x] = [Math.floor(i / (25 * 30)), Math.floor(i / 30) % 25, i % 30] as [number, number, number];
  return Math.round(
    400 + 300 * Math.sin(x / 5 + 0.3) * Math.cos(y / 4) + 250 * Math.sin(z / 3 - 0.4 + x / 40),
  );
});

function turn(data: SampleArray, shape: readonly number[], stored: string, wanted: string) {
  const reorientation = reorientationBetween(stored, wanted);
  const size = reorderAxes(shape, reorientation);
  const out = new Int16Array(data.length);
  const origin = [0, 0, 0];
  copyReoriented({ data, shape, origin }, { data: out, shape: size, origin }, size, reorientation);
  return { data: out, shape: size, spacing: reorderAxes(SPACING, reorientation) };
}

const DIRECTION: Record<string, readonly number[]> = {
  R: [1, 0, 0],
  L: [-1, 0, 0],
  A: [0, 1, 0],
  P: [0, -1, 0],
  S: [0, 0, 1],
  I: [0, 0, -1],
};

/** The volume stored so that x, y and z lead where `code` says, with the affine that says so. */
function niftiAs(code: string, options: { oblique?: boolean; stated?: boolean; gzip?: boolean } = {}) {
  const { data, shape, spacing } = turn(RAS, SHAPE, "RAS", code);
  const steps = spacing.toReversed();
  const angle = options.oblique ? 0.1 : 0;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const columns = [...code].map((letter, axis) => {
    const [x, y, z] = DIRECTION[letter]!.map((d) => d * steps[axis]!) as [number, number, number];
    return [cos * x - sin * y, sin * x + cos * y, z];
  });
  const rows = [0, 1, 2].map((row) => [...columns.map((column) => column[row]!), 10 * row]);
  return makeNifti({
    type: "int16",
    size: shape.toReversed(),
    data,
    pixdim: [1, ...steps, 0, 0, 0, 0],
    ...(options.stated !== false && { sform: { code: 1, rows } }),
    gzip: options.gzip,
  });
}

/** A series whose slices are stacked along the normal of their rows and columns, as DICOM has it. */
function writeSeries(directory: string, code: string): void {
  const { data, shape, spacing } = turn(RAS, SHAPE, "RAS", code);
  const [depth, rows, columns] = shape as [number, number, number];
  // DICOM's axes lead to the left and to the back.
  const lps = [...code].map((letter) => DIRECTION[letter]!.map((d, axis) => (axis < 2 ? 0 - d : d)));
  mkdirSync(directory, { recursive: true });
  for (let z = 0; z < depth; z++) {
    const slice = data.slice(z * rows * columns, (z + 1) * rows * columns);
    const file = makeDicom({
      elements: {
        524310: ["UI", "1.2.840.10008.5.1.4.1.1.4"],
        524312: ["UI", `1.2.3.4.${z + 1}`],
        524384: ["CS", "MR"],
        2097165: ["UI", "1.2.3.1"],
        2097166: ["UI", "1.2.3.4"],
        2097202: ["DS", lps[2]!.map((d) => d * z * spacing[0]!)],
        2097207: ["DS", [...lps[0]!, ...lps[1]!]],
        2621442: ["US", 1],
        2621444: ["CS", "MONOCHROME2"],
        2621456: ["US", rows],
        2621457: ["US", columns],
        2621488: ["DS", [spacing[1]!, spacing[2]!]],
        2621696: ["US", 16],
        2621697: ["US", 16],
        2621698: ["US", 15],
        2621699: ["US", 1],
      },
      pixels: new Uint8Array(slice.buffer),
    });
    writeFileSync(join(directory, `${z}.dcm`), file);
  }
}

const isRightHanded = (code: string) => {
  const [a, b, c] = [...code].map((letter) => DIRECTION[letter]!) as [number[], number[], number[]];
  const normal = [
    a[1]! * b[2]! - a[2]! * b[1]!,
    a[2]! * b[0]! - a[0]! * b[2]!,
    a[0]! * b[1]! - a[1]! * b[0]!,
  ];
  return normal.every((v, i) => v === c[i]! || v === 0);
};

let directory: string;
const models: Record<"volume" | "slices", { options: SharedSegmentOptions; backends: Backend[] }> =
  {} as never;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-orientation-"));
  for (const kind of ["volume", "slices"] as const) {
    const model = writeDirectionPackage(join(directory, kind), { kind, orientation: "RAS" });
    const options = { model, threads: 1 };
    models[kind] = { options, backends: await openSegmentBackends(options, await loadSegmentModel(options)) };
  }
});
afterAll(async () => {
  for (const { backends } of Object.values(models))
    for (const { segmenter } of backends) await segmenter.close();
  rmSync(directory, { recursive: true, force: true });
});

let runs = 0;
async function labelsOf(kind: "volume" | "slices", source: string, more: Partial<SharedSegmentOptions> = {}) {
  const { options, backends } = models[kind];
  const out = join(directory, `out-${runs++}`);
  const outputs = more.outputs ?? ["labels.ome.zarr", "labels.nii.gz", "measurements.csv"];
  const all = { ...options, ...more, source, out, outputs };
  const { manifest } = await runSlide(all, {
    model: await loadSegmentModel(options),
    backends: async () => backends,
    outputDirectory: () => out,
    whileMapping: (map) => map(),
  });
  const store = new FsStore(out);
  const read = async (name: string) => {
    const image = await openImage(store, name);
    const { shape } = image.levels[0]!;
    const { data } = await image.readRegion(0, { origin: [0, 0, 0], size: shape });
    await image.close();
    return { data, shape, affine: image.affine, orientation: image.orientation };
  };
  const zarr = await read("labels.ome.zarr");
  const nifti = outputs.includes("labels.nii.gz") ? await read("labels.nii.gz") : undefined;
  await store.close();
  return { manifest, out, zarr, nifti };
}

function save(name: string, bytes: Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, bytes);
  return path;
}

describe.each(["volume", "slices"] as const)("a model of %s that was trained on RAS", (kind) => {
  it("gives the same labels for all 48 orientations of a NIfTI file", async () => {
    const whole = await labelsOf(kind, save("ras.nii", niftiAs("RAS")));
    const labels = Int16Array.from(whole.zarr.data);
    expect(new Set(labels).size).toBe(7);
    const { structures } = whole.manifest.summary as { structures: { voxels: number }[] };
    for (const code of ORIENTATIONS) {
      const run = await labelsOf(kind, save(`${code}.nii.gz`, niftiAs(code, { gzip: true })));
      const expected = turn(labels, SHAPE, "RAS", code);
      expect(run.zarr.shape, code).toEqual(expected.shape);
      expect(
        Buffer.compare(Buffer.from(Int16Array.from(run.zarr.data).buffer), Buffer.from(expected.data.buffer)),
        code,
      ).toBe(0);
      expect(run.nifti!.orientation, code).toBe(code);
      expect(
        Buffer.compare(Buffer.from(run.nifti!.data.buffer), Buffer.from(run.zarr.data.buffer)),
        code,
      ).toBe(0);
      expect(run.manifest.plan.orientation).toMatchObject({ source: code, model: "RAS", given: false });
      const found = (run.manifest.summary as { structures: { voxels: number }[] }).structures;
      expect(found.map(({ voxels }) => voxels)).toEqual(structures.map(({ voxels }) => voxels));
    }
  }, 300_000);

  it("gives the same labels for a DICOM series in all 24 orientations it can have", async () => {
    const whole = await labelsOf(kind, save("ras.nii", niftiAs("RAS")));
    const labels = Int16Array.from(whole.zarr.data);
    const codes = ORIENTATIONS.filter(isRightHanded);
    expect(codes).toHaveLength(24);
    for (const code of codes) {
      const series = join(directory, `series-${kind}-${code}`);
      writeSeries(series, code);
      const { zarr } = await labelsOf(kind, series, { outputs: ["labels.ome.zarr"] });
      const expected = turn(labels, SHAPE, "RAS", code);
      expect(zarr.shape, code).toEqual(expected.shape);
      expect(
        Buffer.compare(Buffer.from(Int16Array.from(zarr.data).buffer), Buffer.from(expected.data.buffer)),
        code,
      ).toBe(0);
    }
  }, 300_000);
});

describe("a volume", () => {
  it("that is oblique is reoriented to the nearest axes, and the run reports the angle", async () => {
    const straight = await labelsOf("volume", save("straight.nii", niftiAs("LPS")));
    const { zarr, manifest } = await labelsOf(
      "volume",
      save("oblique.nii", niftiAs("LPS", { oblique: true })),
    );
    expect(Buffer.from(zarr.data.buffer).equals(Buffer.from(straight.zarr.data.buffer))).toBe(true);
    expect(straight.manifest.plan.orientation!.obliqueDegrees).toBeCloseTo(0, 3);
    expect(manifest.plan.orientation!.obliqueDegrees).toBeCloseTo((0.1 * 180) / Math.PI, 3);
  });

  it("without an orientation is rejected, unless --orientation states it", async () => {
    const source = save("unstated.nii", niftiAs("LPS", { stated: false }));
    await expect(labelsOf("volume", source)).rejects.toThrow(
      "the volume does not state its orientation, and model direction was trained on RAS: give the directions of x, y and z with --orientation",
    );
    const given = await labelsOf("volume", source, { orientation: "LPS" });
    const stated = await labelsOf("volume", save("stated.nii", niftiAs("LPS")));
    expect(Buffer.from(given.zarr.data.buffer).equals(Buffer.from(stated.zarr.data.buffer))).toBe(true);
    expect(given.manifest.plan.orientation).toEqual({ source: "LPS", model: "RAS", given: true });
  });

  it.each([["LLS"], ["RA"], ["lps"]])("orientation %s is rejected", async (orientation) => {
    const source = save("any.nii", niftiAs("LPS"));
    await expect(labelsOf("volume", source, { orientation })).rejects.toThrow("must be three letters");
  });

  it("is not reoriented for a model with orientation stored", async () => {
    const model = writeDirectionPackage(join(directory, "stored"), { kind: "volume", orientation: "stored" });
    const options = { model, threads: 1 };
    models.volume = {
      options,
      backends: [
        ...models.volume.backends,
        ...(await openSegmentBackends(options, await loadSegmentModel(options))),
      ],
    };
    const { manifest } = await labelsOf("volume", save("unstated.nii", niftiAs("PIR", { stated: false })));
    expect(manifest.plan.orientation).toBeUndefined();
  });
});

describe("a package of a model for volumes", () => {
  it("must state the orientation of its training data", async () => {
    const model = writeDirectionPackage(join(directory, "silent"), { kind: "slices", orientation: "RAS" });
    const file = join(model, "model.json");
    const manifest = JSON.parse(readFileSync(file, "utf8"));
    for (const [orientation, sentence] of [
      [undefined, "a model of volumes states the orientation it was trained in"],
      ["up", "must be a code such as RAS or LPS, or stored"],
    ]) {
      manifest.input.orientation = orientation;
      writeFileSync(file, JSON.stringify(manifest));
      await expect(loadSegmentModel({ model })).rejects.toThrow(sentence);
    }
  });
});
