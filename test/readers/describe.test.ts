import { expect, test } from "vitest";
import { describeImage } from "../../src/image/describe.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { makeTiff } from "../builders/make-tiff.ts";
import { makeOmeZarr } from "../builders/make-zarr.ts";
import { pattern } from "../builders/pattern.ts";

test("describes an image in plain JSON, with spacing per level", async () => {
  const page = (size: number) => ({
    image: pattern("uint8", [size, size, 3]),
    tile: [16, 16] as [number, number],
  });
  const bytes = makeTiff([
    { ...page(64), resolution: 20_000 },
    { ...page(32), subfileType: 1 },
  ]);
  const report = describeImage(await openImage(new MemoryStore({ "a.tif": bytes }), "a.tif"));
  expect(JSON.parse(JSON.stringify(report))).toEqual({
    format: "TIFF (tiled, pyramid)",
    axes: "yx",
    shape: [64, 64],
    dtype: "uint8",
    channels: [
      { name: "red", color: "#ff0000" },
      { name: "green", color: "#00ff00" },
      { name: "blue", color: "#0000ff" },
    ],
    levels: [
      { shape: [64, 64], downsample: [1, 1], chunk: [16, 16], mpp: [0.5, 0.5] },
      { shape: [32, 32], downsample: [2, 2], chunk: [16, 16], mpp: [1, 1] },
    ],
    spacing: { values: [0.5, 0.5], unit: "micrometer" },
    orientation: null,
    affine: null,
    details: {},
    warnings: [],
    mpp: [0.5, 0.5],
    objectivePower: null,
    bounds: null,
    byteLength: bytes.length,
    etag: '"1"',
  });
});

test("properties that a file does not state are null", async () => {
  const { objects } = makeOmeZarr({
    version: "0.5",
    axes: "yx",
    shape: [8, 8],
    chunks: [8, 8],
    dtype: "uint8",
  });
  const report = describeImage(await openImage(new MemoryStore(objects), "made.ome.zarr"));
  expect(report.byteLength).toBeNull();
  const bare = makeTiff([{ image: pattern("uint8", [8, 8, 1]) }]);
  const bareReport = describeImage(await openImage(new MemoryStore({ a: bare }), "a"));
  expect([bareReport.mpp, bareReport.spacing, bareReport.levels[0]!.mpp]).toEqual([null, null, null]);
});
