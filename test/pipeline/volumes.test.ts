import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type SegmentOptions, segment } from "../../src/index.ts";
import type { VolumeSummary } from "../../src/orchestrator/outputs/volume-summary.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { FsStore } from "../../src/storage/fs-store.ts";
import { makeNifti } from "../builders/make-nifti.ts";
import { pointwiseLabel, writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";

const SERIES = join(import.meta.dirname, "../../../shared/data/volumes/totalseg-ct/example_ct_dicom");
const SIZE = [70, 61, 5] as const;
const ROWS = [
  [-1, 0, 0, 40],
  [0, 1, 0, -20],
  [0, 0, 3, 7],
];
// Levels of grey that the model tells apart, in waves.
const GREY = Uint8Array.from({ length: SIZE[0] * SIZE[1] * SIZE[2] }, (_, i) =>
  Math.round(127 + 127 * Math.sin((i % SIZE[0]) / 9 + Math.floor(i / SIZE[0]) / 31)),
);

let directory: string;
let volume: string;
let model: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-volumes-"));
  volume = join(directory, "scan.nii.gz");
  const sform = { code: 3, rows: ROWS };
  writeFileSync(volume, makeNifti({ type: "uint8", size: SIZE, data: GREY, sform, gzip: true }));
  model = writePointwisePackage(join(directory, "pointwise"), { mpp: 1000 });
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let runs = 0;
async function run(options: Partial<SegmentOptions> = {}) {
  const out = join(directory, `run-${runs++}`);
  const manifest = await segment({ source: volume, model, threads: 1, ...options, out });
  return { manifest, out, summary: manifest.summary as VolumeSummary };
}

describe("a volume", () => {
  it("in NIfTI gets labels in NIfTI and OME-Zarr, each as the model says, and measures", async () => {
    const { out, manifest, summary } = await run();
    expect(readdirSync(out).sort()).toEqual([
      "labels.nii.gz",
      "labels.ome.zarr",
      "measurements.csv",
      "overlay.png",
      "run.json",
    ]);
    expect(manifest.outputs.map((o) => o.name)).toEqual([
      "labels.ome.zarr",
      "labels.nii.gz",
      "measurements.csv",
      "overlay.png",
    ]);
    const expected = GREY.map((v) => pointwiseLabel(v / 255));
    const store = new FsStore(out);
    for (const name of ["labels.nii.gz", "labels.ome.zarr"]) {
      const image = await openImage(store, name);
      expect(image.axes).toBe("zyx");
      expect(image.spacing).toEqual({ values: [3, 1, 1], unit: "millimeter" });
      const size = image.levels[0]!.shape;
      expect(size).toEqual([...SIZE].reverse());
      const { data } = await image.readRegion(0, { origin: [0, 0, 0], size });
      expect(Buffer.compare(Buffer.from(data.buffer), Buffer.from(expected))).toBe(0);
      if (name === "labels.nii.gz") expect(image.affine!.slice(0, 3)).toEqual(ROWS);
      await image.close();
    }
    await store.close();
    const { attributes } = JSON.parse(readFileSync(join(out, "labels.ome.zarr/zarr.json"), "utf8"));
    const [{ axes, datasets }] = attributes.ome.multiscales;
    expect(axes.map((axis: { name: string; unit: string }) => [axis.name, axis.unit])).toEqual([
      ["z", "millimeter"],
      ["y", "millimeter"],
      ["x", "millimeter"],
    ]);
    expect(datasets[0].coordinateTransformations).toEqual([
      { type: "scale", scale: [3, 1, 1] },
      { type: "translation", translation: [0, 0, 0] },
    ]);
    for (const [i, structure] of summary.structures.entries()) {
      const voxels = expected.filter((v) => v === i + 1).length;
      expect(structure.voxels).toBe(voxels);
      expect(structure.volumeMm3).toBeCloseTo(3 * voxels, 6);
    }
    const python = process.env.TILEWRIGHT_PYTHON ?? "python3";
    const script = join(import.meta.dirname, "../orchestrator/outputs/validate_outputs.py");
    if (spawnSync(python, ["-c", "import zarr, ome_zarr_models, nibabel, tifffile, shapely"]).status === 0)
      console.log(execFileSync(python, [script, out], { encoding: "utf8" }));
    else console.log(`skipped: ${python} lacks the packages of ${script}`);
  });

  it("is the same bytes again, whatever else is written", async () => {
    const digests = async (outputs?: string[]) =>
      new Map((await run({ outputs })).manifest.outputs.map((o) => [o.name, o.sha256]));
    const all = await digests();
    const one = await digests(["labels.nii.gz"]);
    expect([...one]).toEqual([["labels.nii.gz", all.get("labels.nii.gz")]]);
  });

  it.each([
    [
      ["overlay-detail.png"],
      "overlay-detail.png is for 2-D images, and this is a volume: choose of labels.ome.zarr, labels.nii.gz",
    ],
    [["labels.nii.gz", "objects.geojson"], "objects.geojson is for 2-D images"],
    [["labels.seg.dcm"], "the source is neither: choose another output"],
  ])("is rejected %s in one sentence, before anything is written", async (outputs, sentence) => {
    const before = readdirSync(directory).length;
    await expect(run({ outputs })).rejects.toThrow(sentence);
    expect(readdirSync(directory)).toHaveLength(before);
  });

  it("outputs of volumes are rejected for a slide", async () => {
    const source = writeMadeSlide(join(directory, "slide.tiff")).path;
    const options = { source, tissueMask: false, outputs: ["labels.nii.gz"] };
    await expect(run(options)).rejects.toThrow("labels.nii.gz is for volumes, and this is a 2-D image");
    await expect(run({ ...options, outputs: ["labels.seg.dcm"] })).rejects.toThrow("choose another output");
  });
});

describe("a DICOM series", () => {
  it("gets a DICOM segmentation by default with the labels of the OME-Zarr, and no patient data elsewhere", async ({
    skip,
  }) => {
    if (!existsSync(SERIES)) {
      console.warn(`not tested on a real series: there is none at ${SERIES}`);
      return skip();
    }
    const package_ = writePointwisePackage(join(directory, "ct"), { mpp: 977, high: 400, window: 256 });
    const { out, manifest, summary } = await run({ source: SERIES, model: package_, threads: 2 });
    expect(manifest.outputs.map((o) => o.name)).toEqual([
      "labels.ome.zarr",
      "labels.seg.dcm",
      "measurements.csv",
      "overlay.png",
    ]);
    expect(summary.structures.some(({ voxels }) => voxels > 0)).toBe(true);
    const python = process.env.TILEWRIGHT_PYTHON ?? "python3";
    if (spawnSync(python, ["-c", "import highdicom, zarr"]).status !== 0) return;
    const code =
      "import sys, highdicom, zarr, numpy as np\n" +
      "labels = zarr.open_array(sys.argv[1] + '/labels.ome.zarr/0', mode='r')[:]\n" +
      "volume = highdicom.seg.segread(sys.argv[1] + '/labels.seg.dcm').get_volume(combine_segments=True).array\n" +
      "print(*[int((volume == i).sum()) for i in (1, 2)], *[int((labels == i).sum()) for i in (1, 2)])";
    const counts = execFileSync(python, ["-c", code, out], { encoding: "utf8" }).trim().split(" ");
    expect(counts.slice(0, 2)).toEqual(counts.slice(2));
  }, 300_000);
});
