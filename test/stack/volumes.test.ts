import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { segment } from "../../src/cli/index.ts";
import { type Bundles, bundleWorkers, type Stack, startStack } from "../../src/cli/local-stack.ts";
import { makeDicom } from "../image/make-dicom.ts";
import { makeNifti } from "../image/make-nifti.ts";
import { treeHashes } from "../made/tree-hashes.ts";
import { writeVolumePackage } from "../made/volume-package.ts";
import { JOBS_BINDINGS, SEGMENT_BINDINGS, Service } from "./service.ts";

/** Volumes through the whole service, with a network over volumes whose labels are known beforehand. */
let directory: string;
let model: string;
let bundles: Bundles;
let stack: Stack;
let service: Service;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-stack-volumes-"));
  model = writeVolumePackage(join(directory, "volume"), { window: [16, 24, 24], high: 255 });
  bundles = await bundleWorkers();
  stack = await startStack({
    state: join(directory, "state"),
    host: "127.0.0.1",
    port: 0,
    model,
    bundles,
    jobs: JOBS_BINDINGS,
    segment: SEGMENT_BINDINGS,
  });
  service = new Service(stack.url);
}, 120_000);
afterAll(async () => {
  await stack?.stop();
  await bundles?.remove();
  rmSync(directory, { recursive: true, force: true });
});

const SIZE = [70, 50, 37] as const;
/** Shells of every intensity; x fastest. */
const intensity = (x: number, y: number, z: number) =>
  Math.floor(127 + 127 * Math.sin(Math.hypot(x - 30, y - 22, z - 15) / 5));

function nifti(): Uint8Array {
  const [nx, ny, nz] = SIZE;
  const data = new Int16Array(nx * ny * nz);
  for (let i = 0; i < data.length; i++) {
    data[i] = intensity(i % nx, Math.floor(i / nx) % ny, Math.floor(i / (nx * ny)));
  }
  const sform = {
    code: 1,
    rows: [
      [-1, 0, 0, 40],
      [0, 1, 0, -10],
      [0, 0, 1, 5],
    ],
  };
  return makeNifti({
    type: "int16",
    size: SIZE,
    data,
    sform,
    pixdim: [1, 1, 1, 1, 0, 0, 0, 0],
    units: 2,
    gzip: true,
  });
}

function seriesInZip(): Uint8Array {
  const [nx, ny, nz] = SIZE;
  const files: Record<string, Uint8Array> = {};
  for (let z = 0; z < nz; z++) {
    const pixels = new Uint8Array(nx * ny);
    for (let i = 0; i < pixels.length; i++) pixels[i] = intensity(i % nx, Math.floor(i / nx), z);
    // Names that say nothing of the order.
    files[`scan/${(z * 17) % nz}.dcm`] = makeDicom({
      elements: {
        524310: ["UI", "1.2.840.10008.5.1.4.1.1.4"],
        524312: ["UI", `1.2.840.999.1.${z + 1}`],
        524384: ["CS", "MR"],
        1048592: ["PN", "Jane^Quux"],
        1048608: ["LO", "PATIENT-4711"],
        2097165: ["UI", "1.2.840.999.7"],
        2097166: ["UI", "1.2.840.999.8"],
        2097202: ["DS", [0, 0, z]],
        2097207: ["DS", [1, 0, 0, 0, 1, 0]],
        2097234: ["UI", "1.2.840.999.9"],
        2621442: ["US", 1],
        2621444: ["CS", "MONOCHROME2"],
        2621456: ["US", ny],
        2621457: ["US", nx],
        2621488: ["DS", [1, 1]],
        2621696: ["US", 8],
        2621697: ["US", 8],
        2621698: ["US", 7],
        2621699: ["US", 0],
      },
      pixels,
    });
  }
  return zipSync(files, { level: 0 });
}

describe("a volume through the service", () => {
  it.each([
    ["mr.nii.gz", nifti, ["labels.nii.gz", "labels.ome.zarr", "measurements.csv"]],
    ["series.zip", seriesInZip, ["labels.ome.zarr", "labels.seg.dcm", "measurements.csv"]],
  ] as const)("%s: the bytes of one machine", async (name, make, outputs) => {
    const file = join(directory, name);
    writeFileSync(file, make());
    const alone = join(directory, `alone-${name}`);
    const run = await segment({ source: file, model, out: alone, backends: ["wasm"] });
    expect(run.outputs.map((o) => o.name).sort()).toEqual(expect.arrayContaining([...outputs]));
    const upload = await service.upload(file, name, { model: "volume" });
    const job = await service.ended(await service.jobOf(upload.id), 120);
    expect(job.error).toBeUndefined();
    expect(job.state).toBe("done");
    const out = join(directory, `out-${name}`);
    await service.download(job.id, out);
    expect(treeHashes(out)).toEqual(treeHashes(alone));
    const manifest = readFileSync(join(out, "run.json"), "utf8");
    expect(manifest).not.toMatch(/Quux|PATIENT-4711|1\.2\.840\.999/);
  });
});
