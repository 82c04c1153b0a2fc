import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openImage } from "../../src/readers/open-image.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { makeNifti } from "../builders/make-nifti.ts";
import { type Bundle, bundleWorker, runWorker } from "./run-worker.ts";

/** The readers of volumes inside workerd, which compiles no code and ends streams with their request. */
let bundle: Bundle;
let worker: Miniflare;
let url: URL;
beforeAll(async () => {
  bundle = await bundleWorker("test/edge/image-worker/wrangler.toml");
  worker = await runWorker(bundle, {});
  url = await worker.ready;
});
afterAll(async () => {
  await worker?.dispose();
  await bundle?.remove();
});

async function open(bytes: Uint8Array): Promise<{ shape: number[]; dtype: string }> {
  const response = await fetch(url, { method: "PUT", body: bytes as Uint8Array<ArrayBuffer> });
  return (await response.json()) as { shape: number[]; dtype: string };
}

async function read(origin: readonly number[], size: readonly number[]): Promise<number[]> {
  const response = await fetch(url, { method: "POST", body: JSON.stringify({ origin, size }) });
  const { data, error } = (await response.json()) as { data: number[]; error?: string };
  if (error) throw new Error(error);
  return data;
}

describe("volumes in workerd", () => {
  const size = [16, 16, 300] as const;
  const samples = Int16Array.from({ length: 16 * 16 * 300 }, (_, i) => (i * 31) % 4001);
  const plain = makeNifti({ type: "int16", size, data: samples });
  const members = Buffer.concat([gzipSync(plain.subarray(0, 70_000)), gzipSync(plain.subarray(70_000))]);

  test.each([
    ["NIfTI", plain],
    ["NIfTI in gzip", new Uint8Array(gzipSync(plain))],
    ["NIfTI in gzip of two members", new Uint8Array(members)],
  ])("%s is read slab by slab, each in a request of its own", async (_, bytes) => {
    expect(await open(bytes)).toEqual({ shape: [300, 16, 16], dtype: "int16" });
    for (const z of [0, 40, 80, 250, 298, 10])
      expect(await read([z, 0, 0], [2, 16, 16])).toEqual([...samples.subarray(z * 256, (z + 2) * 256)]);
  });

  const root = new URL("../../../shared/data/dicom/", import.meta.url);
  if (!existsSync(root)) console.warn("coded DICOM is not tested in workerd: the real files are not there");
  test
    .skipIf(!existsSync(root))
    .each([
      "pydicom/MR_small_jpeg_ls_lossless.dcm",
      "pydicom/MR_small_jp2klossless.dcm",
      "pydicom/MR_small_RLE.dcm",
      "pydicom/SC_rgb_jpeg_dcmtk.dcm",
      "pydicom/image_dfl.dcm",
      "highdicom/data/test_files/sm_image_jpegls.dcm",
    ])("%s reads as in Node", async (name) => {
    const bytes = new Uint8Array(await readFile(new URL(name, root)));
    const image = await openImage(new MemoryStore({ image: bytes }), "image");
    const shape = image.levels[0]!.shape;
    expect(await open(bytes)).toEqual({ shape, dtype: image.dtype });
    const { data } = await image.readRegion(0, { origin: [0, 0], size: shape });
    expect(await read([0, 0], shape)).toEqual([...data]);
  });
});
