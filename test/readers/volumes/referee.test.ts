import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { orientationCode } from "../../../src/image/affine.ts";
import { openImage } from "../../../src/readers/open-image.ts";
import { FsStore } from "../../../src/storage/fs-store.ts";
import { canMakeFiles, makeFiles } from "../../builders/python-files.ts";

interface Expected {
  shape: number[];
  sha256: string;
  affine?: number[][];
  orientation?: string;
  /** What the file states itself; null where nothing. */
  stated?: string | null;
}

/** The decoder gives 0 for all that is negative here. */
const UNREAD = new Set(["jpeg2000-signed-8.dcm"]);

const script = path.join(import.meta.dirname, "make_files.py");

test("files of nibabel and pydicom are read with their values", async ({ skip }) => {
  if (!canMakeFiles(script)) skip();
  const directory = await mkdtemp(path.join(tmpdir(), "tilewright-volumes-"));
  const store = new FsStore(directory);
  try {
    makeFiles(script, directory);
    const expected: Record<string, Expected> = JSON.parse(
      await readFile(path.join(directory, "expected.json"), "utf8"),
    );
    expect(Object.keys(expected).length).toBeGreaterThan(270);
    for (const [name, { shape, sha256, affine, orientation, stated }] of Object.entries(expected)) {
      // A volume of several is told by its number.
      const [file, time] = name.split("?");
      const image = await openImage(store, file!, time === undefined ? {} : { time: Number(time) });
      if (UNREAD.has(name)) {
        const reading = image.readRegion(0, { origin: [0, 0], size: [1, 1] });
        await expect(reading).rejects.toThrow(/signed samples are not supported/);
        continue;
      }
      const size = image.levels[0]!.shape;
      expect([...size, image.channels.length], name).toEqual(shape);
      const { data } = await image.readRegion(0, { origin: size.map(() => 0), size });
      const values = new Uint8Array(Float64Array.from(data).buffer);
      expect(createHash("sha256").update(values).digest("hex"), `${name}: ${data.slice(0, 6)}`).toBe(sha256);
      if (affine === undefined) continue;
      for (const [r, row] of affine.entries())
        for (const [c, value] of row.entries()) expect(image.affine![r]![c], name).toBeCloseTo(value, 4);
      expect(orientationCode(image.affine!), name).toBe(orientation);
      if (stated !== undefined) expect(image.orientation ?? null, name).toBe(stated);
    }
  } finally {
    await store.close();
    await rm(directory, { recursive: true, force: true });
  }
});
