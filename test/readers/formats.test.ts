import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { decode } from "fast-png";
import { afterAll, describe, expect, test } from "vitest";
import type { ImageSource } from "../../src/image/image-source.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { FsStore } from "../../src/storage/fs-store.ts";
import type { DType, Raster } from "../../src/tiling/grid/raster.ts";
import { pattern } from "../builders/pattern.ts";

// Files and references are written by fixtures/make_fixtures.py with other decoders.
const folder = new URL("fixtures/", import.meta.url);
const store = new FsStore(fileURLToPath(folder));
afterAll(() => store.close());

const open = (name: string) => openImage(store, name);
const whole = (image: ImageSource, level = 0) => {
  const { shape } = image.levels[level]!;
  return image.readRegion(level, { origin: shape.map(() => 0), size: shape });
};

async function reference(name: string): Promise<Raster> {
  const png = decode(await readFile(new URL(`${name}.reference.png`, folder)));
  return { data: png.data as Uint8Array, shape: [png.height, png.width, png.channels] };
}

/** Largest difference in grey levels. */
function distance(a: Raster, b: Raster): number {
  expect(a.shape).toEqual(b.shape);
  let max = 0;
  for (let i = 0; i < a.data.length; i++) max = Math.max(max, Math.abs(a.data[i]! - b.data[i]!));
  return max;
}

const gray = pattern("uint8", [53, 71, 1]);
const rgb = pattern("uint8", [53, 71, 3]);

/** Each fixture pixel through the palette that make_fixtures.py wrote. */
const throughPalette: Raster = {
  data: Uint8Array.from({ length: 53 * 71 * 3 }, (_, i) => {
    const index = gray.data[Math.floor(i / 3)]!;
    return [index, 255 - index, index ^ 85][i % 3]!;
  }),
  shape: [53, 71, 3],
};

describe("lossless files are read exactly", () => {
  test.each<[string, DType, Raster]>([
    ["lzw-tiles.tif", "uint8", rgb],
    ["lzw-predictor-be.tif", "uint16", pattern("uint16", [53, 71, 3])],
    ["packbits.tif", "uint8", rgb],
    ["zstd-bigtiff.tif", "uint16", pattern("uint16", [53, 71, 1])],
    ["float-predictor.tif", "float32", pattern("float32", [53, 71, 1])],
    ["white-is-zero.tif", "uint8", gray],
    ["gray-alpha.tif", "uint8", gray],
    ["rgba.tif", "uint8", rgb],
    ["palette.tif", "uint8", throughPalette],
    ["rgb.png", "uint8", rgb],
    ["rgba.png", "uint8", rgb],
    ["gray16.png", "uint16", pattern("uint16", [53, 71, 1])],
  ])("%s", async (name, dtype, expected) => {
    const image = await open(name);
    expect(image.dtype).toBe(dtype);
    expect(image.channels.length).toBe(expected.shape[2]);
    const read = await whole(image);
    expect(read.shape).toEqual(expected.shape);
    expect(read.data).toEqual(expected.data);
  });

  test("OME-TIFF: channels over pages, big-endian, a level in SubIFDs", async () => {
    const image = await open("channels-pyramid.ome.tif");
    expect(image.format).toBe("OME-TIFF (tiled, pyramid)");
    expect(image.channels).toEqual([
      { name: "DAPI", color: "#ff0000" },
      { name: "CD8", color: "#00ff00" },
      { name: "Ki67", color: "#ffffff" },
    ]);
    expect(image.spacing).toEqual({ values: [0.5, 0.25], unit: "micrometer" });
    expect(image.levels.map((l) => l.downsample)).toEqual([
      [1, 1],
      [2, 2],
    ]);
    expect((await whole(image, 0)).data).toEqual(pattern("uint16", [48, 64, 3]).data);
    expect((await whole(image, 1)).data).toEqual(pattern("uint16", [24, 32, 3]).data);
  });

  test("OME-TIFF: several z make a volume", async () => {
    const image = await open("volume.ome.tif");
    expect(image.axes).toBe("zyx");
    expect(image.spacing).toEqual({ values: [2, 0.5, 0.5], unit: "micrometer" });
    const read = await whole(image);
    expect(read.shape).toEqual([4, 24, 40, 2]);
    expect(read.data).toEqual(pattern("uint8", [4, 24, 40, 2]).data);
  });
});

describe("OME-Zarr of zarr-python", () => {
  test.each([
    ["v2-blosc-fortran.ome.zarr", "OME-Zarr 0.4", [32, 32]],
    ["v2-gzip-dots.ome.zarr", "OME-Zarr 0.4", [32, 32]],
    ["v3-zstd.ome.zarr", "OME-Zarr 0.5", [32, 32]],
    ["v3-sharded.ome.zarr", "OME-Zarr 0.5", [16, 16]],
  ])("%s", async (name, format, chunk) => {
    const image = await open(name);
    expect([image.format, image.axes, image.levels[0]!.chunk]).toEqual([format, "yx", chunk]);
    expect(image.spacing).toEqual({ values: [0.5, 0.25], unit: "micrometer" });
    expect(image.channels).toEqual([
      { name: "DAPI", color: "#0000ff" },
      { name: "CD8", color: "#00ff00" },
    ]);
    expect((await whole(image)).data).toEqual(pattern("uint16", [53, 71, 2]).data);
  });
});

describe("JPEG within 2 grey levels of libjpeg-turbo", () => {
  test.each([
    ["aperio-jpeg.svs", "shared tables, RGB by the tags"],
    ["jpeg-ycbcr.tif", "YCbCr by the tags, chroma halved"],
    ["jpeg-jfif-under-rgb.tif", "JFIF streams under photometric RGB"],
    ["jpeg-strips.tif", "strips, the last one short"],
    ["photo.jpg", "a plain photograph"],
    ["gray.jpg", "a grey photograph"],
  ])("%s: %s", async (name) => {
    expect(distance(await whole(await open(name)), await reference(name))).toBeLessThanOrEqual(2);
  });
});

describe("JPEG 2000", () => {
  test("lossless RGB (33005) is read exactly", async () => {
    expect(
      distance(await whole(await open("aperio-j2k-rgb.svs")), await reference("aperio-j2k-rgb.svs")),
    ).toBe(0);
  });

  test.each(["aperio-j2k-ycbcr.svs", "aperio-j2k-422.svs"])(
    "YCbCr (33003) is converted: %s",
    async (name) => {
      // Two roundings of the same matrix: Pillow's is in fixed point.
      expect(distance(await whole(await open(name)), await reference(name))).toBeLessThanOrEqual(1);
    },
  );
});

describe("Aperio", () => {
  test("levels are the tiled pages, labels are skipped, and the description gives magnification and spacing", async () => {
    const image = await open("aperio-jpeg.svs");
    expect(image.format).toBe("Aperio SVS (JPEG)");
    expect(image.levels.map((l) => l.shape)).toEqual([
      [90, 100],
      [45, 50],
    ]);
    expect(image.objectivePower).toBe(20);
    expect(image.spacing).toEqual({ values: [0.499, 0.499], unit: "micrometer" });
  });

  test("the user's spacing overrides the file's", async () => {
    const image = await openImage(store, "aperio-jpeg.svs", { mpp: 0.25 });
    expect(image.spacing).toEqual({ values: [0.25, 0.25], unit: "micrometer" });
    expect((await whole(image)).shape).toEqual([90, 100, 3]);
    expect(image.bytesRead).toBeGreaterThan(0);
    await expect(openImage(store, "aperio-jpeg.svs", { mpp: -1 })).rejects.toThrow(
      "mpp must be a positive number",
    );
  });
});

describe("NDPI", () => {
  test.each(["restarts-listed.ndpi", "restarts-found.ndpi", "restarts-none.ndpi", "restarts-uneven.ndpi"])(
    "%s: macro and map are skipped, and pixels equal those of a whole decode",
    async (name) => {
      const image = await open(name);
      expect(image.format).toBe("Hamamatsu NDPI");
      expect(image.objectivePower).toBe(20);
      expect(image.spacing).toEqual({ values: [0.25, 0.25], unit: "micrometer" });
      expect(image.levels.map((l) => l.shape)).toEqual([
        [104, 192],
        [52, 96],
      ]);
      const cut = name === "restarts-listed.ndpi" || name === "restarts-found.ndpi";
      expect(image.levels[0]!.chunk).toEqual(cut ? [104, 96] : [104, 192]);
      expect(distance(await whole(image), await reference("ndpi-444"))).toBeLessThanOrEqual(2);
    },
  );

  test("halved chroma: pixels equal those of a whole decode, except the column beside a cut", async () => {
    const image = await open("restarts-420.ndpi");
    const read = await whole(image);
    const expected = await reference("ndpi-420");
    const width = 192;
    const chunk = image.levels[0]!.chunk[1]!;
    let worst = 0;
    for (let i = 0; i < read.data.length; i++) {
      const x = Math.floor(i / 3) % width;
      const beside = x % chunk === 0 || x % chunk === chunk - 1;
      if (!beside) worst = Math.max(worst, Math.abs(read.data[i]! - expected.data[i]!));
    }
    expect(worst).toBeLessThanOrEqual(2);
  });
});

test("the resolution gives the spacing only if a microscope can have it", async () => {
  expect((await open("photo.jpg")).spacing).toEqual({ values: [1, 1], unit: "micrometer" });
  expect((await open("gray16.png")).spacing?.values[0]).toBeCloseTo(0.5, 3);
  expect((await open("gray.jpg")).spacing).toBeUndefined();
  expect((await open("lzw-tiles.tif")).spacing).toBeUndefined();
});
