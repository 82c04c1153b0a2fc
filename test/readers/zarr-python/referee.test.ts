import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeBlosc } from "../../../src/codecs/blosc.ts";
import { openImage } from "../../../src/readers/open-image.ts";
import { FsStore } from "../../../src/storage/fs-store.ts";
import { canMakeFiles, makeFiles, runPython } from "../../builders/python-files.ts";

interface Expected {
  shape: number[];
  sha256: string;
}

const script = path.join(import.meta.dirname, "make_files.py");

async function whole(store: FsStore, key: string): Promise<Expected> {
  const image = await openImage(store, key);
  const size = image.levels[0]!.shape;
  const { data, shape } = await image.readRegion(0, { origin: size.map(() => 0), size });
  const values = new Uint8Array(Float64Array.from(data).buffer);
  return { shape: [...shape], sha256: createHash("sha256").update(values).digest("hex") };
}

describe.skipIf(!canMakeFiles(script))("arrays of zarr-python are read with their values", () => {
  let directory: string;
  let store: FsStore;
  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), "tilewright-zarr-"));
    makeFiles(script, directory);
    store = new FsStore(directory);
  }, 300_000);
  afterAll(async () => {
    await store?.close();
    await rm(directory, { recursive: true, force: true });
  });

  test("every compressor and filter of Blosc, samples of any width, sizes on both sides of its limits", async () => {
    const packed: [string, number, number][] = JSON.parse(
      await readFile(path.join(directory, "buffers.json"), "utf8"),
    );
    const bytes = await readFile(path.join(directory, "buffers.bin"));
    expect(packed.length).toBeGreaterThan(5000);
    let at = 0;
    for (const [name, packedBytes, unpackedBytes] of packed) {
      const input = bytes.subarray(at, at + packedBytes);
      const expected = bytes.subarray(at + packedBytes, at + packedBytes + unpackedBytes);
      at += packedBytes + unpackedBytes;
      const unpacked = await decodeBlosc(input, unpackedBytes);
      if (Buffer.compare(unpacked, expected) !== 0)
        expect.fail(`${name} is read otherwise than it was written`);
    }
  });

  test("images in every codec, Zarr 2 and 3", async () => {
    const expected: Record<string, Expected> = JSON.parse(
      await readFile(path.join(directory, "expected.json"), "utf8"),
    );
    expect(Object.keys(expected).length).toBeGreaterThan(100);
    for (const [key, digest] of Object.entries(expected))
      expect(await whole(store, key), key).toEqual(digest);
  });

  const root = fileURLToPath(new URL("../../../../shared/data/zarr", import.meta.url));
  test.skipIf(!existsSync(root))("images of other projects", async () => {
    const images = [
      ...[2, 3, 4].map((n) => `zarr-ome-examples/data/valid/image-0${n}.zarr`),
      ...["yx", "cyx", "c1yx", "zyx", "czyx"].map(
        (axes) => `zarr-ngio-fixtures/tests/data/v04/images/test_image_${axes}.zarr`,
      ),
      ...[4, 5].map(
        (n) => `zarr-viv-fixtures/packages/loaders/tests/fixtures/ome-zarr/blobs_image_v0${n}.ome.zarr`,
      ),
    ];
    const paths = images.map((name) => path.join(root, name));
    const read: Record<string, Expected> = JSON.parse(runPython([script, "--read", ...paths]));
    const others = new FsStore(root);
    for (const [i, name] of images.entries())
      expect(await whole(others, name), name).toEqual(read[paths[i]!]);
    await others.close();
  });
});
