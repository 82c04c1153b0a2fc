import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ImageSource } from "../../src/image/image-source.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import type { DType, Raster, Rect } from "../../src/tiling/grid/raster.ts";
import { type MadePage, makeTiff } from "../builders/make-tiff.ts";
import { makeOmeZarr } from "../builders/make-zarr.ts";
import { crop, pattern } from "../builders/pattern.ts";

const open = async (bytes: Uint8Array): Promise<ImageSource> =>
  openImage(new MemoryStore({ "made.tif": bytes }), "made.tif");

/** A rect inside `shape`, ends included, empty ones too. */
const rectIn = (shape: readonly number[]): fc.Arbitrary<Rect> =>
  fc.tuple(...shape.map((n) => fc.tuple(fc.nat(n), fc.nat(n)))).map((pairs) => ({
    origin: pairs.map(([a, b]) => Math.min(a, b)),
    size: pairs.map(([a, b]) => Math.abs(a - b)),
  }));

async function expectCrops(image: ImageSource, level: number, whole: Raster, runs = 25): Promise<void> {
  const { shape } = image.levels[level]!;
  expect([...shape, image.channels.length]).toEqual(whole.shape);
  await fc.assert(
    fc.asyncProperty(rectIn(shape), async (rect) => {
      const region = await image.readRegion(level, rect);
      const wanted = crop(whole, rect);
      expect(region.shape).toEqual(wanted.shape);
      expect(region.data).toEqual(wanted.data);
    }),
    { numRuns: runs },
  );
}

const LAYOUTS: { name: string; page: Omit<MadePage, "image"> }[] = [
  { name: "tiles that do not fit", page: { tile: [16, 32] } },
  { name: "tiles larger than the image", page: { tile: [128, 128], compression: "deflate" } },
  { name: "strips, the last one short", page: { rowsPerStrip: 10 } },
  { name: "one strip", page: {} },
  { name: "deflated strips with predictor", page: { rowsPerStrip: 7, compression: "deflate", predictor: 2 } },
  { name: "deflated tiles with predictor", page: { tile: [16, 16], compression: "deflate", predictor: 2 } },
];

describe("a region equals the crop of the whole image", () => {
  for (const { name, page } of LAYOUTS) {
    for (const dtype of ["uint8", "uint16"] as const) {
      for (const channels of [1, 3, 4]) {
        for (const planar of channels > 1 ? ([1, 2] as const) : ([1] as const)) {
          test(`TIFF: ${name}, ${channels} × ${dtype}${planar === 2 ? ", planes apart" : ""}`, async () => {
            const image = pattern(dtype, [53, 71, channels]);
            // Four grey channels and not RGB with alpha, so that nothing is left off.
            const photometric = channels === 3 ? 2 : 1;
            const extraSamples = channels === 4 ? [0, 0, 0] : undefined;
            const source = await open(makeTiff([{ ...page, image, planar, photometric, extraSamples }]));
            expect(source.dtype).toBe(dtype);
            await expectCrops(source, 0, image, 12);
          });
        }
      }
    }
  }

  test.each([
    { littleEndian: false, bigTiff: false },
    { littleEndian: true, bigTiff: true },
    { littleEndian: false, bigTiff: true },
  ])("TIFF: byte order and BigTIFF %o", async (options) => {
    const image = pattern("uint16", [200, 150, 1]);
    // Enough tiles that the offset table lies outside the directory.
    const bytes = makeTiff([{ image, tile: [16, 16], compression: "deflate", predictor: 2 }], options);
    await expectCrops(await open(bytes), 0, image);
  });

  test.each(["int8", "int16", "uint32", "int32", "float32", "float64"] as const)(
    "TIFF: %s",
    async (dtype) => {
      const image = pattern(dtype, [40, 30, 2]);
      const bytes = makeTiff([{ image, tile: [16, 16], photometric: 1, extraSamples: [0] }], {
        littleEndian: false,
      });
      const source = await open(bytes);
      expect(source.dtype).toBe(dtype satisfies DType);
      await expectCrops(source, 0, image);
    },
  );

  test("TIFF: lower levels, marked as reduced or listed as SubIFDs", async () => {
    const levels = [
      [64, 96],
      [32, 48],
      [16, 24],
    ].map(([h, w]) => pattern("uint8", [h!, w!, 3]));
    const [base, ...lower] = levels.map((image) => ({ image, tile: [16, 16] as [number, number] }));
    const chained = await open(makeTiff([base!, ...lower.map((p) => ({ ...p, subfileType: 1 }))]));
    const nested = await open(makeTiff([{ ...base!, subPages: lower }]));
    for (const source of [chained, nested]) {
      expect(source.levels.map((l) => l.downsample)).toEqual([
        [1, 1],
        [2, 2],
        [4, 4],
      ]);
      for (const [i, whole] of levels.entries()) await expectCrops(source, i, whole);
    }
  });

  const zarrs = [
    { axes: "yx", shape: [37, 53], chunks: [16, 16] },
    { axes: "cyx", shape: [3, 37, 53], chunks: [1, 16, 20] },
    { axes: "cyx", shape: [5, 37, 53], chunks: [2, 37, 8] },
    { axes: "zyx", shape: [7, 20, 31], chunks: [3, 16, 16] },
    { axes: "czyx", shape: [2, 5, 20, 31], chunks: [1, 2, 16, 16] },
    { axes: "tczyx", shape: [1, 3, 1, 37, 53], chunks: [1, 1, 1, 16, 16] },
    { axes: "xy", shape: [53, 37], chunks: [16, 20] },
    { axes: "yxc", shape: [37, 53, 3], chunks: [16, 16, 2] },
    { axes: "xyz", shape: [31, 20, 7], chunks: [16, 16, 3] },
    { axes: "zcyxt", shape: [5, 2, 20, 31, 1], chunks: [2, 1, 16, 16, 1] },
  ];
  for (const version of ["0.4", "0.5"] as const) {
    test.each(zarrs)(`OME-Zarr ${version}: %o`, async (layout) => {
      const { objects, whole } = makeOmeZarr({ ...layout, version, dtype: "uint16" });
      const source = await openImage(new MemoryStore(objects), "made.ome.zarr");
      expect(source.format).toBe(`OME-Zarr ${version}`);
      await expectCrops(source, 0, whole);
    });
  }

  test("OME-Zarr: spacing follows its axis, in any unit", async () => {
    const made = {
      version: "0.5",
      axes: "xyzc",
      shape: [4, 3, 2, 1],
      chunks: [4, 3, 2, 1],
      dtype: "uint8",
    } as const;
    const open = async (unit: string) => {
      const { objects } = makeOmeZarr({ ...made, scale: [0.5, 0.75, 2, 1], unit });
      return (await openImage(new MemoryStore(objects), "made.ome.zarr")).spacing;
    };
    expect(await open("millimeter")).toEqual({ values: [2, 0.75, 0.5], unit: "millimeter" });
    expect(await open("nanometer")).toEqual({ values: [0.002, 0.00075, 0.0005], unit: "micrometer" });
    expect(await open("parsec")).toBeUndefined();
  });
});

describe("reading", () => {
  test("concurrent reads of one tile decode it once, and later ones read nothing", async () => {
    const store = new MemoryStore({
      "made.tif": makeTiff([{ image: pattern("uint8", [64, 640, 3]), tile: [64, 64] }]),
    });
    const source = await openImage(store, "made.tif");
    const before = source.bytesRead;
    // Not of the first bytes, which opening reads.
    const rect = { origin: [0, 520], size: [10, 10] };
    await Promise.all(Array.from({ length: 5 }, () => source.readRegion(0, rect)));
    expect(source.bytesRead - before).toBe(64 * 64 * 3);
    await source.readRegion(0, { origin: [30, 530], size: [10, 10] });
    expect(source.bytesRead - before).toBe(64 * 64 * 3);
  });

  test("a region reads its own tiles and no others", async () => {
    const image = pattern("uint8", [1024, 2048, 1]);
    const source = await open(makeTiff([{ image, tile: [256, 256] }]));
    expect(source.bytesRead).toBeLessThan(200_000);
    const before = source.bytesRead;
    await source.readRegion(0, { origin: [500, 1000], size: [100, 100] });
    // Four tiles, and the block that holds the offset tables.
    expect(source.bytesRead - before).toBeLessThanOrEqual(4 * 256 * 256 + 131_072);
  });

  test("a strip as tall as the image is read in bands", async () => {
    const image = pattern("uint8", [2000, 1500, 1]);
    const source = await open(makeTiff([{ image }]));
    await source.readRegion(0, { origin: [1990, 0], size: [10, 1500] });
    expect(source.bytesRead).toBeLessThan(1_300_000);
  });

  test("an aborted read rejects with its reason and leaves the image usable", async () => {
    const source = await open(makeTiff([{ image: pattern("uint8", [64, 64, 1]), tile: [16, 16] }]));
    const rect = { origin: [0, 0], size: [64, 64] };
    await expect(
      source.readRegion(0, rect, { signal: AbortSignal.abort(new Error("enough")) }),
    ).rejects.toThrow("enough");
    expect((await source.readRegion(0, rect)).data.length).toBe(4096);
  });

  test("a read does not fail when another read of the same tiles is aborted", async () => {
    const image = pattern("uint8", [64, 64, 1]);
    const store = new MemoryStore({ "made.tif": makeTiff([{ image, tile: [16, 16] }]) });
    const source = await openImage(store, "made.tif");
    const getRange = store.getRange.bind(store);
    store.getRange = async (key, offset, length, options) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      options?.signal?.throwIfAborted();
      return getRange(key, offset, length, options);
    };
    const controller = new AbortController();
    const rect = { origin: [0, 0], size: [64, 64] };
    const first = source.readRegion(0, rect, { signal: controller.signal });
    const second = source.readRegion(0, rect);
    controller.abort(new Error("given up"));
    await expect(first).rejects.toThrow("given up");
    expect((await second).data).toEqual(image.data);
  });

  test("an object that is replaced during reading is an error, never a mix", async () => {
    const make = (channels: number) =>
      makeTiff([{ image: pattern("uint8", [512, 512, channels]), tile: [64, 64] }]);
    const store = new MemoryStore({ "made.tif": make(1) });
    const source = await openImage(store, "made.tif");
    await store.put("made.tif", make(3));
    await expect(source.readRegion(0, { origin: [0, 0], size: [512, 512] })).rejects.toThrow(
      "made.tif changed while it was being read",
    );
  });

  test("rects outside the level and levels that do not exist are named", async () => {
    const source = await open(makeTiff([{ image: pattern("uint8", [20, 30, 1]) }]));
    const read = (level: number, origin: number[], size: number[]) =>
      source.readRegion(level, { origin, size });
    await expect(read(0, [0, 25], [10, 10])).rejects.toThrow("does not lie inside level 0 of 20 × 30");
    await expect(read(0, [-1, 0], [10, 10])).rejects.toThrow(RangeError);
    await expect(read(0, [0, 0.5], [10, 10])).rejects.toThrow(RangeError);
    await expect(read(3, [0, 0], [1, 1])).rejects.toThrow("level 3 does not exist; the image has 1 levels");
  });
});
