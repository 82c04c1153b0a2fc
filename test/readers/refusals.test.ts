import { existsSync } from "node:fs";
import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { deflateSync } from "node:zlib";
import fc from "fast-check";
import { gzipSync, zlibSync } from "fflate";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ImageFormatError, ImageNotFoundError } from "../../src/image/errors.ts";
import type { ImageLimits } from "../../src/image/limits.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { FsStore } from "../../src/storage/fs-store.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { makeTiff } from "../builders/make-tiff.ts";
import { makeOmeZarr } from "../builders/make-zarr.ts";
import { pattern } from "../builders/pattern.ts";

const text = (value: string) => new TextEncoder().encode(value);
const fixtures = new URL("fixtures/", import.meta.url);
const fixture = async (name: string) => new Uint8Array(await readFile(new URL(name, fixtures)));

const open = (bytes: Uint8Array, name = "slide.svs", limits?: Partial<ImageLimits>) =>
  openImage(new MemoryStore({ [name]: bytes }), name, { limits });

/** Opens, and reads every level once. */
async function readAll(bytes: Uint8Array, limits?: Partial<ImageLimits>): Promise<void> {
  const image = await open(bytes, "slide.svs", limits);
  for (const [level, { shape }] of image.levels.entries()) {
    await image.readRegion(level, { origin: shape.map(() => 0), size: shape.map((n) => Math.min(n, 256)) });
  }
}

/** The message is one sentence that names the file. */
async function expectRefusal(opening: Promise<unknown>, pattern: RegExp): Promise<void> {
  const error = await opening.then(
    () => undefined,
    (e) => e,
  );
  expect(error).toBeInstanceOf(ImageFormatError);
  expect(error.message).toMatch(/^(slide|made|photo)\.?\w*/);
  expect(error.message).toMatch(pattern);
  expect(error.message).not.toContain("\n");
}

describe("files that are not images are rejected in one sentence", () => {
  test.each<[string, Uint8Array, RegExp]>([
    ["an empty file", new Uint8Array(0), /is empty \(0 bytes\)/],
    ["a single byte", Uint8Array.of(0x49), /is not an image that can be read/],
    ["text", text("hello"), /is not an image that can be read/],
    ["a web page", text("<!DOCTYPE html><p>404"), /web page/],
    [
      "a WebP",
      text("RIFF????WEBPVP8 "),
      /is a WebP or other RIFF file, which is not an image .*: convert it to PNG$/,
    ],
    ["an archive", Uint8Array.of(0x50, 0x4b, 3, 4, 0, 0), /damaged or incomplete zip file/],
    [
      "a DICOM header alone",
      Uint8Array.from([...new Uint8Array(128), ...text("DICM"), 0, 0]),
      /does not state how it is encoded/,
    ],
    ["a TIFF header alone", Uint8Array.of(0x49, 0x49, 42, 0, 8, 0, 0, 0), /cut short/],
    ["a TIFF header cut in half", Uint8Array.of(0x49, 0x49, 42, 0, 8), /cut.short/],
    ["a TIFF without directories", Uint8Array.of(0x49, 0x49, 42, 0, 0, 0, 0, 0), /it has no directory/],
    [
      "a PNG header alone",
      Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10),
      /its PNG header is missing/,
    ],
    ["a JPEG header alone", Uint8Array.of(0xff, 0xd8, 0xff, 0xe0), /its header ends before the image data/],
  ])("%s", async (_, bytes, pattern) => {
    await expectRefusal(open(bytes), pattern);
  });

  test("a missing file, and a directory", async () => {
    const store = new MemoryStore({ "slide/readme.txt": text("x") });
    await expect(openImage(store, "other.svs")).rejects.toThrow(ImageNotFoundError);
    await expect(openImage(store, "other.svs")).rejects.toThrow(
      "other.svs does not exist; check its name and place",
    );
    await expectRefusal(openImage(store, "slide"), /is a directory without OME-Zarr metadata/);
  });

  test("a wrong file name does not matter", async () => {
    expect((await open(await fixture("rgb.png"), "slide.svs")).format).toBe("PNG");
    expect((await open(await fixture("photo.jpg"), "slide.ndpi")).format).toBe("JPEG");
    expect((await open(await fixture("aperio-jpeg.svs"), "photo.png")).format).toBe("Aperio SVS (JPEG)");
  });
});

describe("unsupported encodings are named", () => {
  const image = pattern("uint8", [32, 32, 3]);
  const page = { image, tile: [16, 16] as [number, number] };
  test.each<[string, Record<number, { type: 3 | 4; values: number[] }>, RegExp]>([
    [
      "compression",
      { 259: { type: 3, values: [50001] } },
      /compression 50001 \(WebP\), which is not supported; convert it/,
    ],
    ["sample depth", { 258: { type: 3, values: [48, 48, 48] } }, /samples have 48 bits/],
    ["mixed depths", { 258: { type: 3, values: [8, 16, 8] } }, /different sample types \(8, 16, 8 bits\)/],
    ["colour", { 262: { type: 3, values: [5] } }, /photometric interpretation 5/],
  ])("%s", async (_, override, pattern) => {
    await expectRefusal(open(makeTiff([{ ...page, override }])), pattern);
  });

  test("series of times, and stacks without meaning", async () => {
    await expectRefusal(open(await fixture("times.ome.tif")), /a series of 3 times/);
    await expectRefusal(open(await fixture("stack.tif")), /a stack of 3 pages of equal size/);
  });

  test("other scanners' TIFF dialects", async () => {
    const scn = makeTiff([{ ...page, description: '<?xml version="1.0"?><scn xmlns="http://x">' }]);
    await expectRefusal(open(scn), /Leica SCN files are not supported; convert it to OME-TIFF/);
  });

  test.each([
    ["a plate", { plate: {} }, /an OME-Zarr plate or well of many images/],
    ["no multiscales", {}, /without OME-Zarr image metadata/],
    ["empty multiscales", { multiscales: [] }, /its list of multiscales is empty/],
    [
      "odd axes",
      {
        multiscales: [
          { axes: [{ name: "x" }, { name: "z" }], datasets: [{ path: "0", coordinateTransformations: [] }] },
        ],
      },
      /its axes are x, z, and supported are y, x and any of t, c, z/,
    ],
    [
      "an axis twice",
      {
        multiscales: [
          {
            axes: [{ name: "y" }, { name: "x" }, { name: "y" }],
            datasets: [{ path: "0", coordinateTransformations: [] }],
          },
        ],
      },
      /its axes are y, x, y/,
    ],
    [
      "a missing level",
      {
        multiscales: [
          {
            axes: [{ name: "y" }, { name: "x" }],
            datasets: [{ path: "7", coordinateTransformations: [{ type: "scale", scale: [1, 1] }] }],
          },
        ],
      },
      /its level "7" cannot be opened/,
    ],
  ])("OME-Zarr: %s", async (_, attributes, pattern) => {
    const store = new MemoryStore({
      "made.zarr/.zgroup": text('{"zarr_format":2}'),
      "made.zarr/.zattrs": text(JSON.stringify(attributes)),
    });
    await expectRefusal(openImage(store, "made.zarr"), pattern);
  });

  test("OME-Zarr: a chunk that unpacks to far more than its shape", async () => {
    const layout = {
      axes: "yx",
      shape: [16, 16],
      chunks: [16, 16],
      dtype: "uint8",
      key: "made.zarr",
    } as const;
    const { objects } = makeOmeZarr({ ...layout, version: "0.4" });
    const bomb = new Uint8Array(64 << 20);
    const zarray = JSON.parse(new TextDecoder().decode(objects["made.zarr/0/.zarray"]));
    const blosc = new Uint8Array(64);
    new DataView(blosc.buffer).setUint32(4, 1 << 30, true);
    // Magic, a single segment of 2^30 bytes.
    const zstd = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x40, ...new Uint8Array(16));
    const packed = { zlib: zlibSync(bomb), gzip: gzipSync(bomb), blosc, zstd };
    for (const [id, chunk] of Object.entries(packed)) {
      const store = new MemoryStore({
        ...objects,
        "made.zarr/0/.zarray": text(JSON.stringify({ ...zarray, compressor: { id, level: 1 } })),
        "made.zarr/0/0/0": chunk,
      });
      const image = await openImage(store, "made.zarr");
      const before = process.memoryUsage().arrayBuffers;
      await expectRefusal(
        image.readRegion(0, { origin: [0, 0], size: [16, 16] }),
        /made.zarr is damaged: its chunk 0\/0 cannot be read \(its /,
      );
      expect(process.memoryUsage().arrayBuffers - before, id).toBeLessThan(16 << 20);
    }
  });

  test("OME-Zarr: a chunk without a compressor that is cut short, or too long", async () => {
    const layout = {
      axes: "yx",
      shape: [16, 16],
      chunks: [16, 16],
      dtype: "uint16",
      key: "made.zarr",
    } as const;
    const { objects } = makeOmeZarr({ ...layout, version: "0.5" });
    const chunk = objects["made.zarr/0/c/0/0"]!;
    for (const other of [chunk.subarray(0, 300), new Uint8Array(1024)]) {
      const image = await openImage(new MemoryStore({ ...objects, "made.zarr/0/c/0/0": other }), "made.zarr");
      await expectRefusal(
        image.readRegion(0, { origin: [0, 0], size: [16, 16] }),
        /made.zarr is damaged: its chunk 0\/0 holds \d+ samples where its shape has 256/,
      );
    }
  });

  test("OME-Zarr: several times, damaged JSON, a bare array", async () => {
    const made = makeOmeZarr({
      version: "0.5",
      axes: "tyx",
      shape: [2, 8, 8],
      chunks: [1, 8, 8],
      dtype: "uint8",
      key: "made.zarr",
    });
    await expectRefusal(openImage(new MemoryStore(made.objects), "made.zarr"), /a series of 2 times/);
    await expectRefusal(
      openImage(new MemoryStore({ "made.zarr/zarr.json": text("{") }), "made.zarr"),
      /its Zarr metadata cannot be read/,
    );
    const array = new MemoryStore({ "made.zarr/zarr.json": text('{"zarr_format":3,"node_type":"array"}') });
    await expectRefusal(openImage(array, "made.zarr"), /is a bare Zarr array/);
  });
});

describe("sizes in a header are checked before anything of that size is allocated", () => {
  const image = pattern("uint8", [32, 32, 1]);
  const tiled = (override: Record<number, { type: 3 | 4; values: number[] }>) =>
    makeTiff([{ image, tile: [16, 16], override }]);

  test.each<[string, Record<number, { type: 3 | 4; values: number[] }>, RegExp]>([
    [
      "a width that cannot be",
      { 256: { type: 4, values: [2 ** 32 - 1] } },
      /states an image of 4294967295 × 32 pixels/,
    ],
    ["no width", { 256: { type: 4, values: [0] } }, /states an image of 0 × 32 pixels/],
    [
      "more tiles than are listed",
      { 256: { type: 4, values: [2 ** 30] } },
      /need 134217728 tiles, its header lists 4/,
    ],
    [
      "tiles of 2^30",
      { 322: { type: 4, values: [2 ** 30] } },
      /one tile of 1073741824 × 16 pixels needs .* over the limit/,
    ],
    ["tiles of nothing", { 322: { type: 4, values: [0] } }, /states tiles of 0 × 16/],
    ["60000 channels", { 277: { type: 3, values: [60000] } }, /states 60000 samples per pixel/],
    ["tiles beyond the end", { 324: { type: 4, values: [1e9, 1e9, 1e9, 1e9] } }, /ends at/],
  ])("%s", async (_, override, pattern) => {
    await expectRefusal(readAll(tiled(override)), pattern);
  });

  test("directories in a loop or behind the end: earlier ones are read, and the fault is reported", async () => {
    const bytes = makeTiff([{ image }]);
    const view = new DataView(bytes.buffer);
    const first = view.getUint32(4, true);
    const pointer = first + 2 + 12 * view.getUint16(first, true);
    for (const [next, note] of [
      [first, "leads back to an earlier one"],
      [2 ** 31, "leads nowhere"],
    ] as const) {
      view.setUint32(pointer, next, true);
      const opened = await open(bytes);
      expect(opened.details?.pages).toBe(`1, for the pointer to page 2 ${note}: the file may be cut short`);
      expect(opened.warnings).toEqual([`pages of the image: ${opened.details!.pages}`]);
      await readAll(bytes);
    }
    // Some writers leave it out.
    await readAll(bytes.slice(0, pointer));
  });

  test("overlapping directories cannot make a small file take long", async () => {
    // A thousand of 3000 tags each, every one four bytes behind the one before.
    const bytes = new Uint8Array(65536);
    const view = new DataView(bytes.buffer);
    bytes.set(makeTiff([{ image: pattern("uint8", [1, 1, 1]) }]));
    const first = view.getUint32(4, true);
    view.setUint32(first + 2 + 12 * view.getUint16(first, true), 1024, true);
    for (let at = 1024; at < 1024 + 4 * 1000; at += 4) {
      view.setUint16(at, 3000, true);
      view.setUint32(at + 2 + 12 * 3000, at + 4, true);
    }
    const opened = await open(bytes);
    expect(opened.details?.pages).toMatch(/^2, for the pointer to page 3 leads nowhere/);
  });

  test("a tag that claims more than the file holds", async () => {
    const bytes = makeTiff([{ image, description: "x".repeat(100) }]);
    const view = new DataView(bytes.buffer);
    const first = view.getUint32(4, true);
    for (let i = 0; i < view.getUint16(first, true); i++) {
      const at = first + 2 + 12 * i;
      if (view.getUint16(at, true) === 270) view.setUint32(at + 4, 2 ** 31, true);
    }
    await expectRefusal(open(bytes), /tag 270 points beyond the end of the file/);
  });

  test("a PNG and a JPEG of absurd size", async () => {
    const png = await fixture("rgb.png");
    new DataView(png.buffer).setUint32(16, 2 ** 31 - 1);
    await expectRefusal(
      open(png),
      /over the limit of \d+ for an image without tiles; convert it to a tiled pyramid/,
    );
    const jpeg = await fixture("photo.jpg");
    const frame = jpeg.findIndex((b, i) => b === 0xff && jpeg[i + 1] === 0xc0);
    jpeg.fill(0xff, frame + 5, frame + 9);
    await expectRefusal(open(jpeg), /states 65535 × 65535 pixels .* over the limit/);
  });

  test("a PNG that unpacks to far more than its header states", async () => {
    const png = await fixture("rgb.png");
    const bomb = deflateSync(new Uint8Array(256 << 20), { level: 1 });
    const chunk = new Uint8Array(12 + bomb.length);
    new DataView(chunk.buffer).setUint32(0, bomb.length);
    chunk.set(text("IDAT"), 4);
    chunk.set(bomb, 8);
    const bytes = Uint8Array.from([...png.subarray(0, 33), ...chunk, ...png.subarray(-12)]);
    // What lies behind the picture is never unpacked, as for libpng. One piece of 16 MB is, in a buffer that doubles: 84 MB
    // where no garbage is collected meanwhile.
    const before = process.memoryUsage().arrayBuffers;
    await readAll(bytes);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(128 << 20);
  });

  test("a PNG's colour profile, which may unpack to any size, is not unpacked", async () => {
    const png = await fixture("rgb.png");
    const profile = text("icc\0\0not zlib at all");
    const chunk = new Uint8Array(12 + profile.length);
    new DataView(chunk.buffer).setUint32(0, profile.length);
    chunk.set(text("iCCP"), 4);
    chunk.set(profile, 8);
    await readAll(Uint8Array.from([...png.subarray(0, 33), ...chunk, ...png.subarray(33)]));
  });

  test("a region over the limit says so", async () => {
    const source = await open(makeTiff([{ image }]), "slide.tif", { regionBytes: 100 });
    await expect(source.readRegion(0, { origin: [0, 0], size: [32, 32] })).rejects.toThrow(
      "a region of 32 × 32 needs 1024 bytes, over the limit of 100; read it in parts",
    );
  });
});

describe("damage anywhere gives an ImageFormatError or goes unnoticed, and nothing else", () => {
  const names = [
    "aperio-jpeg.svs",
    "aperio-j2k-rgb.svs",
    "channels-pyramid.ome.tif",
    "lzw-tiles.tif",
    "zstd-bigtiff.tif",
    "float-predictor.tif",
    "restarts-listed.ndpi",
    "restarts-found.ndpi",
    "rgb.png",
    "photo.jpg",
  ];
  const tolerated = (error: unknown) => {
    if (!(error instanceof ImageFormatError)) throw error;
  };
  // A damaged size must not make the test allocate much.
  const limits = { tileBytes: 2 ** 22, regionBytes: 2 ** 24 };

  test.each(names)("%s cut short", async (name) => {
    const bytes = await fixture(name);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), async (end) => {
        await readAll(bytes.slice(0, end), limits).catch(tolerated);
      }),
      { numRuns: 30 },
    );
  });

  test.each(names)("%s with bytes changed", async (name) => {
    const bytes = await fixture(name);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        async (changes) => {
          const damaged = bytes.slice();
          for (const [at, value] of changes) damaged[at] = value;
          await readAll(damaged, limits).catch(tolerated);
        },
      ),
      { numRuns: 60 },
    );
  });
});

const broken = fileURLToPath(new URL("../../../shared/data/slides/broken", import.meta.url));
const present = existsSync(broken);
if (!present) console.warn(`refusal of real broken files is not tested: they are not at ${broken}`);

describe.skipIf(!present)("real files", () => {
  let directory: string;
  let store: FsStore;
  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), "tilewright-"));
    store = new FsStore(directory);
    for (const name of await readdir(broken)) {
      await cp(
        path.join(broken, name),
        path.join(directory, name.includes("LICENSE") ? name : `😐 größe ${name}`),
      );
    }
  });
  afterAll(async () => {
    await store.close();
    await rm(directory, { recursive: true });
  });

  test.each([
    ["unopenable.tiff", /compression 52479 \(unknown\), which is not supported/],
    ["unreadable.svs", /JPEG data is damaged/],
  ])("%s is rejected", async (name, reason) => {
    const opening = openImage(store, `😐 größe ${name}`);
    await expect(opening).rejects.toThrow(ImageFormatError);
    await expect(opening).rejects.toThrow(reason);
  });

  // Valid files of the same collection: there the names are the test.
  test.each([
    ["boxes.png", "PNG", 1],
    ["boxes.tiff", "TIFF (tiled, pyramid)", 4],
  ])("%s opens, under a name that is not ASCII", async (name, format, levels) => {
    const image = await openImage(store, `😐 größe ${name}`);
    expect([image.format, image.levels.length]).toEqual([format, levels]);
    const { data } = await image.readRegion(0, { origin: [0, 0], size: [250, 300] });
    expect(new Set(data).size).toBeGreaterThan(1);
    // 72 dpi says nothing of a specimen.
    expect(image.spacing).toBeUndefined();
  });
});
