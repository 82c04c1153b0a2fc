import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeOmeZarr } from "../builders/make-zarr.ts";
import { makeSlides, readTable, writeManifest } from "./make-cohort.ts";

let directory: string;
let model: string;
let manifest: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-stray-"));
  ({ model } = makeSlides(directory, 3));
  const { objects } = makeOmeZarr({
    version: "0.4",
    axes: "cyx",
    shape: [3, 200, 200],
    chunks: [3, 100, 100],
    dtype: "uint8",
    key: "bad.zarr",
  });
  for (const [key, bytes] of Object.entries(objects)) {
    mkdirSync(dirname(join(directory, key)), { recursive: true });
    writeFileSync(join(directory, key), bytes);
  }
  manifest = writeManifest(join(directory, "m.csv"), ["source", "s0.tiff", "bad.zarr", "s1.tiff", "s2.tiff"]);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("a scan whose reader throws where no caller can catch it", () => {
  it.each(["callback", "promise"])("fails, and the cohort continues: in a %s", (how) => {
    const out = join(directory, how);
    const script = join(import.meta.dirname, "stray-cohort.ts");
    const run = spawnSync(process.execPath, [script, manifest, model, out, how], {
      encoding: "utf8",
      timeout: 300_000,
    });
    expect(run.status, run.stderr).toBe(0);
    expect(JSON.parse(run.stdout)).toEqual({ done: 3, failed: 1 });
    expect(readTable(out).map(({ id, status, code }) => [id, status, code])).toEqual([
      ["s0.tiff", "done", ""],
      ["bad.zarr", "failed", "unexpected"],
      ["s1.tiff", "done", ""],
      ["s2.tiff", "done", ""],
    ]);
  });
});
