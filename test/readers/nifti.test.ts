import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ImageFormatError } from "../../src/image/errors.ts";
import type { ImageLimits } from "../../src/image/limits.ts";
import { parseNiftiHeader } from "../../src/readers/nifti/header.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { allocate, type DType, product, type Raster } from "../../src/tiling/grid/raster.ts";
import { type MadeNifti, makeNifti, type StoredType } from "../builders/make-nifti.ts";
import { crop } from "../builders/pattern.ts";

const open = (bytes: Uint8Array, limits?: Partial<ImageLimits>) =>
  openImage(new MemoryStore({ "scan.nii": bytes }), "scan.nii", { limits });

const RANGES: Record<StoredType, [number, number]> = {
  uint8: [0, 255],
  int8: [-128, 127],
  uint16: [0, 65535],
  int16: [-32768, 32767],
  uint32: [0, 2 ** 32 - 1],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  int64: [-(2 ** 53) + 1, 2 ** 53 - 1],
  uint64: [0, 2 ** 53 - 1],
  float32: [-1000, 1000],
  float64: [-1000, 1000],
};

const volume = fc
  .record({
    version: fc.constantFrom(1 as const, 2 as const),
    littleEndian: fc.boolean(),
    gzip: fc.boolean(),
    type: fc.constantFrom(...(Object.keys(RANGES) as StoredType[])),
    size: fc.tuple(
      fc.integer({ min: 1, max: 7 }),
      fc.integer({ min: 1, max: 7 }),
      fc.integer({ min: 1, max: 9 }),
    ),
    scaled: fc.boolean(),
    slope: fc.double({ min: 0.01, max: 10, noNaN: true }).map(Math.fround),
    intercept: fc.double({ min: -100, max: 100, noNaN: true }).map(Math.fround),
    seed: fc.nat(),
    fourD: fc.boolean(),
  })
  .map(({ scaled, slope, intercept, seed, fourD, ...made }) => {
    const [low, high] = RANGES[made.type];
    const data = Array.from({ length: product(made.size) }, (_, i) => {
      const at = ((i * 2654435761 + seed) % 1009) / 1008;
      const value = low + at * (high - low);
      return made.type === "float32"
        ? Math.fround(value)
        : made.type === "float64"
          ? value
          : Math.round(value);
    });
    const file: MadeNifti = { ...made, data, ...(scaled && { slope, intercept }) };
    if (fourD) file.size = [...made.size, 1];
    const dtype: DType = scaled
      ? "float32"
      : made.type === "int64" || made.type === "uint64"
        ? "float64"
        : made.type;
    const samples = allocate(dtype, data.length);
    samples.set(data.map((v) => (scaled ? v * slope + intercept : v)));
    const whole: Raster = { data: samples, shape: [...made.size.toReversed(), 1] };
    return { file, whole, dtype };
  });

describe("a NIfTI file", () => {
  test("gives any region of any type, byte order, size, scale and packing", async () => {
    await fc.assert(
      fc.asyncProperty(
        volume,
        fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat(), fc.nat(), fc.nat(), fc.nat()), { maxLength: 6 }),
        fc.constantFrom(1, 100, 2 ** 20),
        async ({ file, whole, dtype }, places, cacheBytes) => {
          const image = await open(makeNifti(file), { cacheBytes });
          expect([image.axes, image.dtype, image.levels[0]!.shape]).toEqual([
            "zyx",
            dtype,
            whole.shape.slice(0, 3),
          ]);
          // In any order: what lies before is inflated anew.
          for (const place of places) {
            const origin = [0, 1, 2].map((a) => place[a]! % whole.shape[a]!);
            const size = [0, 1, 2].map((a) => place[3 + a]! % (whole.shape[a]! - origin[a]! + 1));
            const region = await image.readRegion(0, { origin, size });
            expect(region).toEqual(crop(whole, { origin, size }));
          }
          await image.close();
        },
      ),
      { numRuns: 150 },
    );
  });

  const grid = { type: "uint8", size: [3, 4, 5], data: new Uint8Array(60) } as const;
  const rows = [
    [-2, 0, 0, 90],
    [0, 2, 0, -126],
    [0, 0, 2.5, -72],
  ];

  test("prefers the sform to the qform, and the qform to sizes alone", async () => {
    const sform = { code: 1, rows };
    const qform = { code: 1, quaternion: [0, 1, 0], offset: [10, 20, 30] };
    const pixdim = [-1, 1, 2, 3, 1, 1, 1, 1];
    const both = await open(makeNifti({ ...grid, sform, qform, pixdim }));
    expect(both.affine).toEqual([...rows, [0, 0, 0, 1]]);
    expect(both.spacing).toEqual({ values: [2.5, 2, 2], unit: "millimeter" });
    // Half a turn about y, and pixdim[0] = -1 turns z back.
    const q = await open(makeNifti({ ...grid, qform, pixdim }));
    expect(q.affine!.map((row) => row.map((v) => v + 0))).toEqual([
      [-1, 0, 0, 10],
      [0, 2, 0, 20],
      [0, 0, 3, 30],
      [0, 0, 0, 1],
    ]);
    const sizes = await open(makeNifti({ ...grid, pixdim }));
    expect(sizes.affine).toEqual([
      [-1, 0, 0, 1],
      [0, 2, 0, -3],
      [0, 0, 3, -6],
      [0, 0, 0, 1],
    ]);
    expect(sizes.details?.orientationFrom).toBe("pixdim");
  });

  test("has lengths in millimetres, for any unit", async () => {
    const micrometres = await open(makeNifti({ ...grid, sform: { code: 1, rows }, units: 3 }));
    expect(micrometres.spacing!.values[0]).toBeCloseTo(0.0025, 9);
    expect(micrometres.affine![0]![3]).toBeCloseTo(0.09, 9);
  });

  test.each([
    [0, 1, 1],
    [0, 0, 0],
    [Number.NaN, 2, 2],
    [1, Number.POSITIVE_INFINITY, 1],
  ])("has no spacing if its header states none (%d, %d, %d)", async (...zooms) => {
    for (const qform of [undefined, { code: 1, quaternion: [0, 0, 0], offset: [0, 0, 0] }]) {
      const image = await open(makeNifti({ ...grid, qform, pixdim: [1, ...zooms, 0, 0, 0, 0] }));
      expect([image.spacing, image.affine, image.orientation]).toEqual([undefined, undefined, undefined]);
      expect(image.warnings!.join()).toMatch(/states no pixel size along [ijk]/);
      // The sform has sizes of its own.
      const placed = await open(
        makeNifti({ ...grid, qform, pixdim: [1, ...zooms, 0, 0, 0, 0], sform: { code: 1, rows } }),
      );
      expect([placed.spacing!.values, placed.warnings]).toEqual([[2.5, 2, 2], []]);
    }
  });

  test("takes a pixel size of 0 along a single sample as 1", async () => {
    const flat = { ...grid, size: [3, 20, 1] };
    const image = await open(makeNifti({ ...flat, pixdim: [1, 2, 3, 0, 0, 0, 0, 0] }));
    expect([image.spacing!.values, image.warnings]).toEqual([[1, 3, 2], []]);
  });

  test("ignores the sign of pixel sizes, like nibabel, and says so", async () => {
    const qform = { code: 1, quaternion: [0, 0, 0], offset: [1, 2, 3] };
    const image = await open(makeNifti({ ...grid, qform, pixdim: [1, -2, 2, -3, 1, 1, 1, 1] }));
    expect([image.orientation, image.affine!.map((row) => row.map((v) => v + 0))]).toEqual([
      "RAS",
      [
        [2, 0, 0, 1],
        [0, 2, 0, 2],
        [0, 0, 3, 3],
        [0, 0, 0, 1],
      ],
    ]);
    expect(image.warnings!.join()).toMatch(/pixel sizes are negative/);
    const sizes = await open(makeNifti({ ...grid, pixdim: [1, -1, 2, 3, 1, 1, 1, 1] }));
    expect(sizes.affine![0]).toEqual([-1, 0, 0, 1]);
  });

  test.each<[string, number[][]]>([
    ["of zeros", [0, 0, 0].map(() => [0, 0, 0, 0])],
    ["that is flat", [rows[0]!, rows[1]!, rows[1]!]],
    ["that holds no number", [[Number.NaN, 0, 0, 0], rows[1]!, rows[2]!]],
  ])("uses the qform when the sform is one %s, and says so", async (_, degenerate) => {
    const sform = { code: 2, rows: degenerate };
    const qform = { code: 1, quaternion: [0, 0, 0], offset: [10, 20, 30] };
    const pixdim = [1, 1, 2, 3, 1, 1, 1, 1];
    const q = await open(makeNifti({ ...grid, sform, qform, pixdim }));
    expect([q.orientation, q.details?.orientationFrom, q.spacing!.values]).toEqual([
      "RAS",
      "qform",
      [3, 2, 1],
    ]);
    expect(q.warnings).toEqual(["its sform is singular and is ignored; its qform is used"]);
    const sizes = await open(makeNifti({ ...grid, sform, pixdim }));
    expect([sizes.orientation, sizes.spacing!.values]).toEqual([undefined, [3, 2, 1]]);
    expect(sizes.warnings).toHaveLength(1);
  });

  test.each([1, 2] as const)("of four dimensions (version %d) gives the chosen volume", async (version) => {
    const series: MadeNifti = {
      version,
      type: "int16",
      size: [2, 3, 2, 3],
      data: Int16Array.from({ length: 36 }, (_, i) => i),
      sform: { code: 1, rows },
    };
    const etags = new Set<string>();
    for (const gzip of [false, true]) {
      const store = new MemoryStore({ "scan.nii": makeNifti({ ...series, gzip }) });
      for (const time of [1, 2, 3]) {
        const image = await openImage(store, "scan.nii", { time });
        const { data } = await image.readRegion(0, { origin: [0, 0, 0], size: [2, 3, 2] });
        expect([...data]).toEqual(Array.from({ length: 12 }, (_, i) => 12 * (time - 1) + i));
        expect(image.details!.time).toBe(`volume ${time} of 3`);
        etags.add(image.etag);
        // What is written beside it is one volume.
        const header = parseNiftiHeader(await image.headers!.read(0), "header");
        expect([header.times, header.size]).toEqual([1, [2, 3, 2]]);
      }
      await expect(openImage(store, "scan.nii", { time: 4 })).rejects.toThrow(
        /3 volumes, and number 4 is wanted/,
      );
      await expect(openImage(store, "scan.nii", { time: 0 })).rejects.toThrow(RangeError);
      await expect(openImage(store, "scan.nii")).rejects.toThrow(
        /choose one by its number \(--time 1 to 3\)/,
      );
    }
    expect(etags.size).toBe(3);
    const one = new MemoryStore({ "scan.nii": makeNifti({ ...grid }) });
    await expect(openImage(one, "scan.nii", { time: 2 })).rejects.toThrow(/holds one volume, and number 2/);
    const png = new MemoryStore({
      "a.png": new Uint8Array(await readFile(new URL("fixtures/gray16.png", import.meta.url))),
    });
    await expect(openImage(png, "a.png", { time: 1 })).rejects.toThrow(/not a series of volumes: .*--time/);
    expect((await openImage(one, "scan.nii", { time: 1 })).etag).toBe(
      (await openImage(one, "scan.nii")).etag,
    );
  });

  test("gives its header as stored", async () => {
    const bytes = makeNifti({ ...grid, version: 2 });
    const image = await open(bytes);
    expect(await image.headers!.read(0)).toEqual(bytes.subarray(0, 540));
  });

  test("keeps its position in the patient when the user gives the plane's pixel size", async () => {
    const image = await openImage(
      new MemoryStore({ "scan.nii": makeNifti({ ...grid, sform: { code: 1, rows } }) }),
      "scan.nii",
      { mpp: 500 },
    );
    expect(image.affine).toEqual([
      [-0.5, 0, 0, 90],
      [0, 0.5, 0, -126],
      [0, 0, 2.5, -72],
      [0, 0, 0, 1],
    ]);
    expect(image.spacing!.values).toEqual([2500, 500, 500]);
  });
});

describe("gzip", () => {
  const size = [64, 64, 40] as const;
  const data = Uint8Array.from({ length: product(size) }, (_, i) => (i * 7) >> 3);
  const bytes = makeNifti({ type: "uint8", size, data, gzip: true });
  const slice = (z: number) => ({ origin: [z, 0, 0], size: [1, 64, 64] });

  test("is inflated once for a pass block by block, however the plane is cut", async () => {
    const image = await open(bytes, { cacheBytes: 16 * 64 * 64 });
    const opened = image.bytesRead;
    for (let z = 0; z < 40; z += 8) {
      for (const y of [0, 32]) {
        for (const x of [0, 32]) {
          const origin = [Math.max(0, z - 4), y, x];
          await image.readRegion(0, { origin, size: [12 - (z === 0 ? 4 : 0), 32, 32] });
        }
      }
    }
    expect(image.bytesRead - opened).toBeLessThanOrEqual(bytes.length);
    await image.close();
  });

  test("is not inflated again for every slice along another axis", async () => {
    const image = await open(bytes, { cacheBytes: 4 * 64 * 64 });
    const opened = image.bytesRead;
    for (let y = 0; y < 64; y++) {
      const region = await image.readRegion(0, { origin: [0, y, 0], size: [40, 1, 64] });
      expect(region.data[64 * 39]).toBe(data[39 * 4096 + 64 * y]);
    }
    expect(image.bytesRead - opened).toBeLessThanOrEqual(9 * bytes.length);
    await image.close();
  });

  test("may have several members, and bytes behind the samples do not matter", async () => {
    const plain = makeNifti({ type: "uint8", size, data });
    const { gzipSync } = await import("node:zlib");
    const half = plain.length >> 1;
    const members = Buffer.concat([gzipSync(plain.subarray(0, half)), gzipSync(plain.subarray(half))]);
    const image = await open(new Uint8Array(members));
    expect((await image.readRegion(0, slice(39))).data).toEqual(data.subarray(39 * 4096));
    // Padding, and what a transfer left: gzip and Python pass over it.
    for (const junk of [new Uint8Array(1), new Uint8Array(700), Buffer.from("--boundary--\r\n".repeat(9))]) {
      for (const whole of [bytes, members]) {
        const padded = await open(new Uint8Array(Buffer.concat([whole, junk])));
        for (const z of [0, 39, 20])
          expect((await padded.readRegion(0, slice(z))).data).toEqual(
            data.subarray(z * 4096, (z + 1) * 4096),
          );
        await padded.close();
      }
    }
    const lacking = Buffer.concat([gzipSync(plain.subarray(0, half)), new Uint8Array(600)]);
    const short = (await open(new Uint8Array(lacking))).readRegion(0, slice(39));
    await expect(short).rejects.toThrow(/is cut short: it holds fewer slices than its header states/);
    const longer = await open(new Uint8Array(gzipSync(Buffer.concat([plain, new Uint8Array(1e6)]))));
    expect((await longer.readRegion(0, slice(39))).data).toEqual(data.subarray(39 * 4096));
  });

  test("continues after an aborted read", async () => {
    const image = await open(bytes);
    const controller = new AbortController();
    const given = image.readRegion(0, slice(30), { signal: controller.signal });
    controller.abort();
    await expect(given).rejects.toThrow();
    expect((await image.readRegion(0, slice(3))).data).toEqual(data.subarray(3 * 4096, 4 * 4096));
  });

  test("that is cut short fails where it ends, not before", async () => {
    const image = await open(bytes.subarray(0, bytes.length - 200));
    expect((await image.readRegion(0, slice(0))).data).toEqual(data.subarray(0, 4096));
    const last = image.readRegion(0, slice(39));
    await expect(last).rejects.toThrow(ImageFormatError);
    await expect(last).rejects.toThrow(/scan\.nii is cut short/);
  });

  test("of another format is rejected", async () => {
    const { gzipSync } = await import("node:zlib");
    await expect(open(new Uint8Array(gzipSync("hello".repeat(200))))).rejects.toThrow(
      /gzip archive of something other than NIfTI/,
    );
  });
});

describe("an invalid NIfTI header", () => {
  const valid: MadeNifti = { type: "int16", size: [4, 4, 4], data: new Int16Array(64) };
  const edited = (edit: (view: DataView) => void) => {
    const bytes = makeNifti(valid);
    edit(new DataView(bytes.buffer));
    return bytes;
  };

  test.each<[string, Uint8Array, RegExp]>([
    [
      "more than the file has",
      makeNifti(valid).subarray(0, 400),
      /cut short or damaged: its header states 4 × 4 × 4/,
    ],
    [
      "more than a gzip file can hold",
      makeNifti({ ...valid, size: [30000, 30000, 30000], gzip: true }),
      /more than the file can hold/,
    ],
    ["no side", makeNifti({ ...valid, size: [4, 0, 4] }), /states a size of 4 × 0 × 4/],
    ["a negative side", makeNifti({ ...valid, size: [4, -4, 4] }), /states a size of 4 × -4 × 4/],
    ["nine dimensions", edited((v) => v.setInt16(40, 9, true)), /states 9 dimensions/],
    ["several times", makeNifti({ ...valid, size: [4, 4, 2, 2] }), /a series of 2 volumes/],
    ["several values", makeNifti({ ...valid, size: [4, 4, 2, 1, 2] }), /several values a sample/],
    ["complex numbers", edited((v) => v.setInt16(70, 32, true)), /complex samples/],
    ["colours", edited((v) => v.setInt16(70, 128, true)), /RGB samples/],
    ["an unknown type", edited((v) => v.setInt16(70, 77, true)), /sample type 77/],
    [
      "other bits than the type has",
      edited((v) => v.setInt16(72, 8, true)),
      /8 bits for samples of type int16/,
    ],
    [
      "samples inside the header",
      edited((v) => v.setFloat32(108, 100, true)),
      /begin at byte 100, inside the header/,
    ],
    ["samples at a broken place", edited((v) => v.setFloat32(108, Number.NaN, true)), /begin at byte NaN/],
    ["a pair of files", edited((v) => v.setInt32(344, 0x0031696e, true)), /one half of a NIfTI pair/],
    ["Analyze", edited((v) => v.setInt32(344, 0, true)), /an Analyze file/],
    [
      "an orientation that is none",
      makeNifti({ ...valid, qform: { code: 1, quaternion: [1, 1, 1], offset: [0, 0, 0] } }),
      /is not a rotation/,
    ],
    [
      "a scale that is none",
      makeNifti({ ...valid, slope: 2, intercept: Number.NaN }),
      /scales by an invalid number/,
    ],
    ["64 bits too many", new Uint8Array(0), /./],
  ])("%s", async (name, bytes, pattern) => {
    if (name === "64 bits too many") {
      const wide = makeNifti({ type: "int64", size: [1, 1, 1], data: [2 ** 60] });
      const image = await open(wide);
      await expect(image.readRegion(0, { origin: [0, 0, 0], size: [1, 1, 1] })).rejects.toThrow(
        /scan\.nii cannot be read: a 64-bit sample/,
      );
      return;
    }
    const opening = open(bytes);
    await expect(opening).rejects.toThrow(ImageFormatError);
    await expect(opening).rejects.toThrow(pattern);
    await expect(opening).rejects.toThrow(/^scan\.nii [^\n]*$/);
  });

  test("slices over the limit", async () => {
    await expect(open(makeNifti(valid), { tileBytes: 31 })).rejects.toThrow(
      /slices of 4 × 4 samples, over the limit/,
    );
  });

  test("with any flipped bytes is read or rejected in one sentence", async () => {
    const files = [
      makeNifti(valid),
      makeNifti({ ...valid, version: 2, gzip: true }),
      makeNifti({ ...valid, gzip: true }),
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...files),
        fc.array(fc.tuple(fc.nat(700), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        fc.option(fc.nat(700), { nil: undefined }),
        async (file, flips, cut) => {
          const bytes = file.slice(0, cut ?? file.length);
          for (const [at, value] of flips) bytes[at % bytes.length] = value;
          try {
            const image = await open(bytes, { regionBytes: 2 ** 20 });
            const { shape } = image.levels[0]!;
            await image.readRegion(0, { origin: [0, 0, 0], size: shape.map((n) => Math.min(n, 64)) });
            await image.close();
          } catch (error) {
            expect(error).toBeInstanceOf(ImageFormatError);
            expect((error as Error).message).toMatch(/^scan\.nii [^\n]*$/);
          }
        },
      ),
      { numRuns: 400 },
    );
  });
});
