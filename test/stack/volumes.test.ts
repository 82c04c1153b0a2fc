import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { zipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Stack, startStack } from "../../src/cli/stack/local-stack.ts";
import { startJob, upload } from "../../src/client/upload.ts";
import { segment } from "../../src/index.ts";
import { makeDicom } from "../builders/make-dicom.ts";
import { makeNifti } from "../builders/make-nifti.ts";
import { makeOmeZarr } from "../builders/make-zarr.ts";
import { treeHashes } from "../builders/tree-hashes.ts";
import { writeVolumePackage } from "../builders/volume-package.ts";
import { type BucketServer, openBucketServer } from "./bucket-server.ts";
import { JOBS_BINDINGS, SEGMENT_BINDINGS, Service, TOKEN } from "./service.ts";

/** Volumes through the whole service, with a network whose labels are known. */
let directory: string;
let model: string;
let stack: Stack;
/** What the stack said. */
const said: string[] = [];
let service: Service;
/** An S3 bucket of others. */
let bucket: BucketServer;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-stack-volumes-"));
  vi.stubEnv("XDG_STATE_HOME", join(directory, "state-home"));
  bucket = await openBucketServer();
  const SOURCES = JSON.stringify([
    { kind: "s3", bucket: "scans-elsewhere", endpoint: bucket.endpoint },
    { kind: "http", host: new URL(bucket.endpoint).host },
  ]);
  // Trained with axes of no source here, so that all are rotated on input and output.
  const orientation = "SPL";
  model = writeVolumePackage(join(directory, "volume"), { window: [16, 24, 24], high: 255, orientation });
  stack = await startStack({
    state: join(directory, "state"),
    host: "127.0.0.1",
    port: 0,
    model,
    log: (line) => said.push(line),
    jobs: { ...JOBS_BINDINGS, SOURCES },
    segment: { ...SEGMENT_BINDINGS, SOURCES },
  });
  service = new Service(stack.url);
}, 300_000);
afterAll(async () => {
  vi.unstubAllEnvs();
  await stack?.stop();
  await bucket?.close();
  rmSync(directory, { recursive: true, force: true });
});

it("a network over three axes runs on onnxruntime-web, and the stack says why", () => {
  expect(said[0]).toMatch(
    /^the edge function runs volume on onnxruntime-web: the operator Conv is over other than two axes; .*\S$/,
  );
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

const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;
const tilewright = (args: string[]) =>
  promisify(execFile)(process.execPath, [MAIN, ...args], {
    env: { ...process.env, TILEWRIGHT_TOKEN: TOKEN },
  });

/** A series of 37 slices, in files whose names do not show the order. */
function seriesFiles(uid = "1.2.840.999.8"): Record<string, Uint8Array> {
  const [nx, ny, nz] = SIZE;
  const files: Record<string, Uint8Array> = {};
  for (let z = 0; z < nz; z++) {
    const pixels = new Uint8Array(nx * ny);
    for (let i = 0; i < pixels.length; i++) pixels[i] = intensity(i % nx, Math.floor(i / nx), z);
    files[`scan/${(z * 17) % nz}.dcm`] = makeDicom({
      elements: {
        524310: ["UI", "1.2.840.10008.5.1.4.1.1.4"],
        524312: ["UI", `1.2.840.999.1.${z + 1}`],
        524384: ["CS", "MR"],
        1048592: ["PN", "Jane^Quux"],
        1048608: ["LO", "PATIENT-4711"],
        2097165: ["UI", "1.2.840.999.7"],
        2097166: ["UI", uid],
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
  return files;
}

const seriesInZip = () => zipSync(seriesFiles(), { level: 0 });

/** The same volume as an OME-Zarr with many chunks. */
function zarrFiles(): Record<string, Uint8Array> {
  const [nx, ny, nz] = SIZE;
  const { objects } = makeOmeZarr({
    version: "0.5",
    axes: "zyx",
    shape: [nz, ny, nx],
    chunks: [16, 25, 32],
    dtype: "uint8",
    key: "mr.ome.zarr",
    scale: [1, 1, 1],
    unit: "millimeter",
  });
  return Object.fromEntries(
    Object.entries(objects).map(([key, bytes]) => [key.slice("mr.ome.zarr/".length), bytes]),
  );
}

/** @returns the directory */
function writeFiles(name: string, files: Record<string, Uint8Array>): string {
  const root = join(directory, name);
  for (const [key, bytes] of Object.entries(files)) {
    mkdirSync(join(root, dirname(key)), { recursive: true });
    writeFileSync(join(root, key), bytes);
  }
  return root;
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

describe("a directory through the service", () => {
  it.each([
    ["mr.ome.zarr", zarrFiles, ["labels.ome.zarr", "measurements.csv"], "RAS"],
    ["case 1", seriesFiles, ["labels.ome.zarr", "labels.seg.dcm", "measurements.csv"], undefined],
  ] as const)("%s: sent file by file, the bytes of one machine", async (name, make, outputs, orientation) => {
    const path = writeFiles(name, make());
    writeFileSync(join(path, "notes of a patient.txt"), "Jane Quux");
    const alone = join(directory, `alone-${name}`);
    const run = await segment({ source: path, model, orientation, out: alone, backends: ["wasm"] });
    expect(run.plan.orientation).toMatchObject({ source: orientation ?? "LPS", model: "SPL" });
    expect(run.outputs.map((o) => o.name).sort()).toEqual(expect.arrayContaining([...outputs]));
    const out = join(directory, `out-${name}`);
    const server = stack.url.href;
    const settings = { orientation };
    const sent = await upload({ file: path, server, token: TOKEN, model: "volume", settings, out });
    expect(treeHashes(out)).toEqual(treeHashes(alone));
    expect(readFileSync(join(out, "run.json"), "utf8")).not.toMatch(/Quux|PATIENT-4711|1\.2\.840\.999/);
    // The job depends on the objects below the prefix, not on the form of the address.
    const again = await service.start({ source: `${sent.source}/`, model: "volume", settings });
    expect(again).toMatchObject({ status: 200, job: { id: sent.job, state: "done" } });
    const repeated = await upload({ file: path, server, token: TOKEN, model: "volume", settings });
    expect(repeated.source).not.toBe(sent.source);
  });

  it.each([
    ["a folder", () => writeFiles("case 3", seriesFiles())],
    ["a file", () => join(writeFiles("files", { "mr.nii.gz": nifti() }), "mr.nii.gz")],
  ])("rejects %s for a model that is not served before a byte is sent", async (_, make) => {
    const stages: string[] = [];
    const refused = upload({
      file: make(),
      server: stack.url.href,
      token: TOKEN,
      model: "another",
      onEvent: (event) => stages.push(event.type),
    });
    await expect(refused).rejects.toThrow(/this service runs volume fp32, not another: leave the model out/);
    expect(stages).not.toContain("progress");
  });

  it("segments one of several series, by its number", async () => {
    const second = Object.entries(seriesFiles("1.2.840.999.88"));
    const path = writeFiles("two", {
      ...seriesFiles(),
      ...Object.fromEntries(second.slice(0, 30).map(([key, bytes]) => [`second/${key}`, bytes])),
    });
    const options = { file: path, server: stack.url.href, token: TOKEN, model: "volume" };
    await expect(upload({ ...options, watch: true })).rejects.toThrow(
      /holds 2 DICOM series: 1 \(MR, 37 slices/,
    );
    const alone = join(directory, "alone-two");
    await segment({ source: path, series: 1, model, out: alone, backends: ["wasm"] });
    const out = join(directory, "out-two");
    await upload({ ...options, series: 1, out });
    expect(treeHashes(out)).toEqual(treeHashes(alone));
  });
});

describe("a prefix of an S3 bucket", () => {
  const source = "s3://scans-elsewhere/hospital/case 7/";

  it("gives the bytes of one machine for a DICOM series, and another job when a slice changes", async () => {
    bucket.objects.clear();
    for (const [key, bytes] of Object.entries(seriesFiles()))
      bucket.objects.set(`hospital/case 7/${key}`, bytes);
    bucket.objects.set("hospital/case 77/a.dcm", new Uint8Array(200));
    const alone = join(directory, "alone-bucket");
    await segment({ source: writeFiles("case 7", seriesFiles()), model, out: alone, backends: ["wasm"] });
    const out = join(directory, "out-bucket");
    const first = await startJob(source, { server: stack.url.href, token: TOKEN, model: "volume", out });
    expect(treeHashes(out)).toEqual(treeHashes(alone));
    expect((await service.start({ source: source.slice(0, -1), model: "volume" })).job.id).toBe(first.job);
    const args = ["jobs", "start", source, "--model", "volume", "--server", stack.url.href];
    expect((await tilewright(args)).stdout).toBe(`${first.job}\n`);
    expect(JSON.parse((await tilewright([...args, "--watch", "--json"])).stdout)).toMatchObject({
      state: "done",
    });
    await expect(tilewright([...args, "--series", "0"])).rejects.toMatchObject({ code: 2 });
    await expect(tilewright(args.with(2, `${source}no/`))).rejects.toMatchObject({
      code: 6,
      stderr: expect.stringMatching(
        /there is no s3:\/\/scans-elsewhere\/hospital\/case 7\/no: check bucket and key/,
      ),
    });
    bucket.objects.set("hospital/case 7/more.txt", new Uint8Array(3));
    expect((await service.start({ source, model: "volume" })).job.id).not.toBe(first.job);
  });

  it("gives the bytes of one machine for an OME-Zarr, there and on a web server", async () => {
    bucket.objects.clear();
    for (const [key, bytes] of Object.entries(zarrFiles())) bucket.objects.set(`z/mr.ome.zarr/${key}`, bytes);
    const alone = join(directory, "alone-zarr");
    await segment({
      source: writeFiles("z/mr.ome.zarr", zarrFiles()),
      model,
      orientation: "RAS",
      out: alone,
      backends: ["wasm"],
    });
    for (const base of ["s3:/", bucket.endpoint]) {
      const { job } = await service.start({
        source: `${base}/scans-elsewhere/z/mr.ome.zarr/`,
        model: "volume",
        settings: { orientation: "RAS" },
      });
      expect((await service.ended(job.id, 120)).error).toBeUndefined();
      const out = join(directory, `out-zarr-${base.length}`);
      await service.download(job.id, out);
      expect(treeHashes(out)).toEqual(treeHashes(alone));
    }
  });

  it("fails the job when an object is replaced after its creation", async () => {
    bucket.objects.clear();
    const files = Object.entries(seriesFiles());
    for (const [key, bytes] of files) bucket.objects.set(`hospital/case 8/${key}`, bytes);
    const [key, bytes] = files[5]!;
    const other = bytes.slice();
    other[other.length - 1]! ^= 1;
    // The first listing belongs to the request; later ones see the other slice.
    const replace = () => bucket.objects.set(`hospital/case 8/${key}`, other);
    bucket.afterListing.set("hospital/case 8/", replace);
    const { job } = await service.start({ source: "s3://scans-elsewhere/hospital/case 8", model: "volume" });
    const ended = await service.ended(job.id, 60);
    expect(ended).toMatchObject({ state: "failed", error: { code: "source_changed" } });
  });

  it("rejects an empty prefix and one with too many objects at once", async () => {
    bucket.objects.clear();
    const empty = await service.post("/v1/jobs", { source, model: "volume" });
    expect(empty.status).toBe(404);
    for (let i = 0; i <= 4000; i++) bucket.objects.set(`hospital/case 7/${i}`, new Uint8Array(1));
    const many = await service.post("/v1/jobs", { source, model: "volume" });
    expect(many.status).toBe(422);
    expect(await many.json()).toMatchObject({
      error: { code: "source_refused", message: expect.stringMatching(/more than 4000 objects/) },
    });
  });
});
