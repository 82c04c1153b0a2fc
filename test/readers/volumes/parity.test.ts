import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { orientationCode } from "../../../src/image/affine.ts";
import { describeImage } from "../../../src/image/describe.ts";
import type { ImageSource } from "../../../src/image/image-source.ts";
import { openImage } from "../../../src/readers/open-image.ts";
import { FsStore } from "../../../src/storage/fs-store.ts";

interface Reference {
  path: string;
  /** SHA-256 of the file, or of all files of a directory in the order of their names. */
  files: string;
  /** Slow to fast, channels last. */
  shape: number[];
  /** Of the values as float64. */
  sha256?: string;
  means?: number[];
  affine?: number[][];
  orientation?: string;
  spacing?: [number, number] | null;
  scale?: number[];
}

// Written by make_reference.py with nibabel, pydicom, highdicom and zarr-python.
const references: Record<"nifti" | "planes" | "series" | "slides" | "zarr", Reference[]> = JSON.parse(
  await readFile(new URL("fixtures/reference.json", import.meta.url), "utf8"),
);
const root = fileURLToPath(new URL("../../../../shared/data", import.meta.url));
const present = existsSync(root);
if (!present)
  console.warn(`parity with nibabel and pydicom is not tested: the real volumes are not at ${root}`);

const store = new FsStore(root);
afterAll(() => store.close());

async function hashOf(place: string): Promise<string> {
  const whole = path.join(root, place);
  const files = (await stat(whole)).isDirectory()
    ? (await readdir(whole, { recursive: true, withFileTypes: true }))
        .filter((entry) => entry.isFile())
        .map((entry) => path.join(entry.parentPath, entry.name))
    : [whole];
  const hash = createHash("sha256");
  // By the parts of the path, as Python sorts them.
  const parts = (file: string) => file.split("/").join("\0");
  for (const file of files.sort((a, b) => (parts(a) < parts(b) ? -1 : 1))) hash.update(await readFile(file));
  return hash.digest("hex");
}

/** Reads all of level 0, in parts that do not fit its chunks, and compares. */
async function expectValues(reference: Reference): Promise<ImageSource> {
  expect(await hashOf(reference.path), "another file than the reference").toBe(reference.files);
  const image = await openImage(store, reference.path);
  const size = image.levels[0]!.shape;
  const shape = [...size, image.channels.length];
  expect(shape).toEqual(reference.shape);
  const { data } = await image.readRegion(0, { origin: size.map(() => 0), size });
  if (reference.sha256) {
    const digest = createHash("sha256")
      .update(new Uint8Array(Float64Array.from(data).buffer))
      .digest("hex");
    expect(digest, `${image.dtype}, beginning with ${data.slice(0, 8).join(" ")}`).toBe(reference.sha256);
  } else {
    const channels = shape.at(-1)!;
    const sums = Array(channels).fill(0);
    for (let i = 0; i < data.length; i++) sums[i % channels] += data[i]!;
    for (const [c, mean] of reference.means!.entries()) {
      // Other decoders smooth subsampled colour in another way.
      expect(Math.abs((sums[c]! * channels) / data.length - mean)).toBeLessThan(0.5);
    }
  }
  return image;
}

function expectAffine(image: ImageSource, affine: readonly (readonly number[])[]): void {
  for (const [r, row] of affine.entries())
    for (const [c, value] of row.entries())
      expect(image.affine![r]![c]!, `row ${r}, column ${c}`).toBeCloseTo(value, 4);
}

describe.skipIf(!present)("real files are read like by nibabel, pydicom, highdicom and zarr-python", () => {
  test.each(references.nifti)("nibabel: $path", async (reference) => {
    const image = await expectValues(reference);
    expectAffine(image, reference.affine!);
    expect(orientationCode(image.affine!)).toBe(reference.orientation);
    await image.close();
  });

  test.each(references.planes)("pydicom: $path", async (reference) => {
    const image = await expectValues(reference);
    expect(image.spacing?.values ?? null).toEqual(reference.spacing);
  });

  test.each(references.series)("highdicom: $path", async (reference) => {
    const image = await expectValues(reference);
    expectAffine(image, reference.affine!);
    // The distance of the positions; the slices are 3 mm thick.
    expect(image.spacing!.values[0]).toBeCloseTo(2, 6);
  });

  test.each(references.slides)("highdicom: $path", async (reference) => {
    const image = await expectValues(reference);
    for (const [i, value] of reference.spacing!.entries())
      expect(image.spacing!.values[i]).toBeCloseTo(value, 6);
  });

  test.each(references.zarr)("zarr-python: $path", async (reference) => {
    await expectValues(reference);
  });

  test("messages and descriptions never identify patients", async () => {
    const files = (await readdir(path.join(root, "dicom"), { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)));
    let told = 0;
    let kept = 0;
    for (const key of files) {
      const secrets = secretsOf(await readFile(path.join(root, key)));
      const said = await openImage(store, key).then(
        (image) => JSON.stringify(describeImage(image)),
        (error) => `${error.message}`,
      );
      told += said.length;
      kept += secrets.length;
      for (const secret of secrets)
        expect(said.replaceAll(key, "").includes(secret), `${key}: ${secret}`).toBe(false);
    }
    expect(told).toBeGreaterThan(10_000);
    expect(kept).toBeGreaterThan(100);
  });
});

/** Names, numbers, dates and UIDs of an explicit file, found by their tags alone. */
function secretsOf(bytes: Uint8Array): string[] {
  const tags = [
    0x00100010, 0x00100020, 0x00100030, 0x00080018, 0x00080020, 0x00080050, 0x0020000d, 0x0020000e,
  ];
  const found: string[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 132; at + 8 < Math.min(bytes.length, 20_000); at += 2) {
    const tag = view.getUint16(at, true) * 0x10000 + view.getUint16(at + 2, true);
    if (!tags.includes(tag)) continue;
    const value = new TextDecoder("latin1").decode(
      bytes.subarray(at + 8, at + 8 + view.getUint16(at + 6, true)),
    );
    const text = value.replace(/[\0 ]+$/, "");
    // Shorter ones are in any number.
    if (text.length >= 5) found.push(text);
  }
  return found;
}
