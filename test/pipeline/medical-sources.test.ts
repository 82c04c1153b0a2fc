import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zipSync } from "fflate";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeDicom } from "../builders/make-dicom.ts";
import { makeNifti } from "../builders/make-nifti.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";

const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;
const SECRETS = /quux|4711|19700101|1\.2\.840\.999|accession/i;

let directory: string;
let scan: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-medical-"));
  scan = join(directory, "scan");
  mkdirSync(scan);
  for (let z = 0; z < 3; z++) writeFileSync(join(scan, `${2 - z}.dcm`), slice(z));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function slice(z: number, series = 1): Uint8Array {
  return makeDicom({
    elements: {
      524312: ["UI", `1.2.840.999.${z}`],
      524320: ["DA", "19700101"],
      524368: ["SH", "ACCESSION"],
      524384: ["CS", "MR"],
      1048592: ["PN", "Jane^Quux"],
      1048608: ["LO", "4711"],
      1048624: ["DA", "19700101"],
      2097165: ["UI", "1.2.840.999.7"],
      2097166: ["UI", `1.2.840.999.8.${series}`],
      2097202: ["DS", [0, 0, 3 * z]],
      2097207: ["DS", [1, 0, 0, 0, 1, 0]],
      2621442: ["US", 1],
      2621444: ["CS", "MONOCHROME2"],
      2621456: ["US", 4],
      2621457: ["US", 4],
      2621488: ["DS", [1.5, 1.25]],
      2621696: ["US", 8],
      2621697: ["US", 8],
      2621698: ["US", 7],
      2621699: ["US", 0],
    },
    pixels: new Uint8Array(16),
  });
}

function tilewright(...args: string[]) {
  const run = spawnSync(process.execPath, [MAIN, ...args], {
    encoding: "utf8",
    timeout: 300_000,
    env: { ...process.env, TILEWRIGHT_DEBUG: "1" },
  });
  expect(run.stdout + run.stderr).not.toMatch(SECRETS);
  return run;
}

test("inspect describes a series without patient data", () => {
  const { stdout, status } = tilewright("inspect", scan);
  expect(status).toBe(0);
  expect(stdout).toMatch(/spacing {2}values 3 × 1\.5 × 1\.25, unit millimeter/);
  expect(stdout).toMatch(/orientation {2}LPS/);
  expect(stdout).toMatch(/modality {2}MR/);
  expect(stdout).toMatch(/transferSyntax {2}explicit little-endian/);
  expect(stdout).toMatch(/slices {2}3/);
  const json = JSON.parse(tilewright("inspect", `${scan}/`, "--json").stdout);
  expect([json.shape, json.orientation, json.spacing.values]).toEqual([[3, 4, 4], "LPS", [3, 1.5, 1.25]]);
});

test("an archive and a NIfTI file are valid sources", () => {
  const zip = join(directory, "scan.zip");
  const files = ["0.dcm", "1.dcm", "2.dcm"].map((name) => [name, readFileSync(join(scan, name))] as const);
  writeFileSync(zip, zipSync(Object.fromEntries(files)));
  expect(JSON.parse(tilewright("inspect", zip, "--json").stdout).shape).toEqual([3, 4, 4]);
  const nifti = join(directory, "brain.nii.gz");
  const rows = [
    [1, 0, 0, 0],
    [0, 1, 0, 0],
    [0, 0, 2, 0],
  ];
  const volume = { type: "int16", size: [4, 5, 6], data: new Int16Array(120), gzip: true } as const;
  writeFileSync(nifti, makeNifti({ ...volume, sform: { code: 1, rows } }));
  const json = JSON.parse(tilewright("inspect", nifti, "--json").stdout);
  expect([json.shape, json.dtype, json.orientation]).toEqual([[6, 5, 4], "int16", "RAS"]);
});

test("lists several series by number, and --series chooses one", () => {
  const both = join(directory, "both");
  mkdirSync(both);
  for (let z = 0; z < 5; z++) writeFileSync(join(both, `${z}`), slice(z, z < 2 ? 1 : 2));
  const { stderr, status } = tilewright("inspect", both);
  expect(status).toBe(3);
  expect(stderr).toContain(
    "both holds 2 DICOM series: 1 (MR, 2 slices of 4 × 4), 2 (MR, 3 slices of 4 × 4); choose one by its number (--series)",
  );
  const second = tilewright("inspect", both, "--series", "2", "--json");
  expect(JSON.parse(second.stdout).shape).toEqual([3, 4, 4]);
});

test("what cannot be read says why in one sentence, without the patient", () => {
  const model = writePointwisePackage(join(directory, "pointwise"));
  const gap = join(directory, "gap");
  mkdirSync(gap);
  for (const z of [0, 1, 3]) writeFileSync(join(gap, `${z}`), slice(z));
  const out = join(directory, "out");
  const { stderr, status } = tilewright("segment", gap, "--model", model, "--out", out);
  expect(stderr).toContain("gap cannot be read: slices are missing: one at 6.00 mm; copy the whole series");
  expect(status).toBe(3);
  const cut = join(directory, "cut.dcm");
  writeFileSync(cut, slice(0).subarray(0, 300));
  expect(tilewright("inspect", cut).status).toBe(3);
});
