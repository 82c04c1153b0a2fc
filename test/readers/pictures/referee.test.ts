import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { openImage } from "../../../src/readers/open-image.ts";
import { FsStore } from "../../../src/storage/fs-store.ts";
import { canMakeFiles, makeFiles } from "../../builders/python-files.ts";

interface Expected {
  shape: number[];
  spacing: number[] | null;
  /** How far a sample may be off: then `values` are there, else `sha256`. */
  within: number;
  values?: number[];
  sha256?: string;
}

const script = path.join(import.meta.dirname, "make_files.py");

test("files of tifffile and Pillow are read like by themselves", { timeout: 300_000 }, async ({ skip }) => {
  if (!canMakeFiles(script)) skip();
  const directory = await mkdtemp(path.join(tmpdir(), "tilewright-pictures-"));
  const store = new FsStore(directory);
  try {
    makeFiles(script, directory);
    const expected: Record<string, Expected> = JSON.parse(
      await readFile(path.join(directory, "expected.json"), "utf8"),
    );
    expect(Object.keys(expected).length).toBeGreaterThan(250);
    for (const [name, { shape, spacing, within, values, sha256 }] of Object.entries(expected)) {
      const image = await openImage(store, name);
      const size = image.levels[0]!.shape;
      expect([...size, image.channels.length], name).toEqual(shape);
      const { data } = await image.readRegion(0, { origin: size.map(() => 0), size });
      if (values) {
        const worst = values.reduce((most, v, i) => Math.max(most, Math.abs(v - data[i]!)), 0);
        expect(worst, name).toBeLessThanOrEqual(within);
      } else {
        const bytes = new Uint8Array(Float64Array.from(data).buffer);
        expect(createHash("sha256").update(bytes).digest("hex"), `${name}: ${data.slice(0, 6)}`).toBe(sha256);
      }
      expect(image.spacing?.values.map((v) => Number(v.toFixed(6))) ?? null, name).toEqual(spacing);
      await image.close();
    }
  } finally {
    await store.close();
    await rm(directory, { recursive: true, force: true });
  }
});
