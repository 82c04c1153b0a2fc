import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { ImageFormatError } from "../../src/image/errors.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { FsStore } from "../../src/storage/fs-store.ts";

const root = fileURLToPath(new URL("../../../shared/data/zarr", import.meta.url));
const present = existsSync(root);
if (!present) console.warn(`real OME-Zarr files are not tested: they are not at ${root}`);

const store = new FsStore(root);
afterAll(() => store.close());

describe.skipIf(!present)("OME-Zarr files of other projects", () => {
  const examples = "zarr-ome-examples/data";
  const ngio = "zarr-ngio-fixtures/tests/data/v04/images";
  const viv = "zarr-viv-fixtures/packages/loaders/tests/fixtures/ome-zarr";

  test.each([
    [`${examples}/valid/image-02.zarr`, "yx", [200, 200], 1],
    [`${examples}/valid/image-03.zarr`, "zyx", [2, 100, 100], 1],
    [`${examples}/valid/image-04.zarr`, "zyx", [2, 64, 64], 1],
    [`${ngio}/test_image_yx.zarr`, "yx", [64, 64], 1],
    [`${ngio}/test_image_cyx.zarr`, "yx", [64, 64], 2],
    [`${ngio}/test_image_c1yx.zarr`, "yx", [64, 64], 2],
    [`${ngio}/test_image_zyx.zarr`, "zyx", [3, 64, 64], 1],
    [`${ngio}/test_image_czyx.zarr`, "zyx", [3, 64, 64], 2],
    [`${viv}/blobs_image_v04.ome.zarr`, "yx", [12, 12], 3],
    [`${viv}/blobs_image_v05.ome.zarr`, "yx", [12, 12], 3],
  ])("%s opens", async (key, axes, shape, channels) => {
    const image = await openImage(store, key);
    expect([image.axes, image.levels[0]!.shape, image.channels.length]).toEqual([axes, shape, channels]);
    for (const [level, { shape: size }] of image.levels.entries()) {
      const region = await image.readRegion(level, { origin: size.map(() => 0), size });
      expect(region.shape).toEqual([...size, channels]);
    }
  });

  test.each([
    [`${examples}/invalid/image-01.zarr`, /without OME-Zarr image metadata/],
    [`${examples}/invalid/image-02.zarr`, /its list of multiscales is empty/],
    [`${examples}/invalid/image-03.zarr`, /its level "0" cannot be opened/],
    [`${examples}/invalid/image-04.zarr`, /names 3 axes but level 1 has 2 dimensions/],
    [`${examples}/warning/image-01.zarr`, /samples of type int64/],
    [`${examples}/valid/plate-01.zarr`, /an OME-Zarr plate or well/],
    [`${ngio}/test_image_tczyx.zarr`, /a series of 4 times/],
  ])("%s is rejected", async (key, reason) => {
    const opening = openImage(store, key);
    await expect(opening).rejects.toThrow(ImageFormatError);
    await expect(opening).rejects.toThrow(reason);
  });
});
