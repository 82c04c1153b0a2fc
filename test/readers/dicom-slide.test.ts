import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ImageFormatError } from "../../src/image/errors.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { type DType, product, type Raster } from "../../src/tiling/grid/raster.ts";
import { type Elements, encodeRle, makeDicom, SYNTAX } from "../builders/make-dicom.ts";
import { crop, pattern } from "../builders/pattern.ts";

const PATIENT = "Jane^Quux^Secret";

interface MadeLevel {
  image: Raster;
  tile: readonly [number, number];
  /** Frames in another order and not all of them, with their places. */
  sparse?: readonly number[];
  coding?: "native" | "basic" | "extended" | "none";
  /** Of a coded frame. */
  fragments?: number;
  type?: string;
  series?: string;
  extra?: Elements;
  undefinedLengths?: boolean;
}

function makeLevel(made: MadeLevel): Uint8Array {
  const { image, coding = "native" } = made;
  const [height, width, samples] = image.shape as [number, number, number];
  const [tileHeight, tileWidth] = made.tile;
  const across = Math.ceil(width / tileWidth);
  const down = Math.ceil(height / tileHeight);
  const bytesPerSample = image.data.BYTES_PER_ELEMENT;
  const order = made.sparse ?? Array.from({ length: across * down }, (_, i) => i);
  const frames = order.map((tile) => {
    const [ty, tx] = [Math.floor(tile / across), tile % across];
    const out = new (image.data.constructor as typeof Uint8Array)(tileHeight * tileWidth * samples);
    for (let y = 0; y < tileHeight; y++) {
      for (let x = 0; x < tileWidth; x++) {
        const [iy, ix] = [ty * tileHeight + y, tx * tileWidth + x];
        if (iy >= height || ix >= width) continue;
        for (let c = 0; c < samples; c++)
          out[(y * tileWidth + x) * samples + c] = image.data[(iy * width + ix) * samples + c]!;
      }
    }
    return new Uint8Array(out.buffer);
  });
  const native = new Uint8Array(frames.reduce((n, f) => n + f.length, 0));
  for (const [i, frame] of frames.entries()) native.set(frame, i * frame.length);
  const bits = 8 * bytesPerSample;
  return makeDicom({
    syntax: coding === "native" ? SYNTAX.explicit : SYNTAX.rle,
    undefinedLengths: made.undefinedLengths,
    elements: {
      524296: ["CS", `ORIGINAL\\PRIMARY\\${made.type ?? "VOLUME"}\\NONE`],
      524310: ["UI", "1.2.840.10008.5.1.4.1.1.77.1.6"],
      524384: ["CS", "SM"],
      1048592: ["PN", PATIENT],
      2097166: ["UI", made.series ?? "1.2.3.4"],
      2134801: ["CS", made.sparse ? "TILED_SPARSE" : "TILED_FULL"],
      2621442: ["US", samples],
      2621444: ["CS", samples === 3 ? "RGB" : "MONOCHROME2"],
      2621446: ["US", 0],
      2621448: ["IS", String(frames.length)],
      2621456: ["US", tileHeight],
      2621457: ["US", tileWidth],
      2621696: ["US", bits],
      2621697: ["US", bits],
      2621698: ["US", bits - 1],
      2621699: ["US", 0],
      4718598: ["UL", width],
      4718599: ["UL", height],
      4718853: ["SQ", [{ 4718866: ["DS", [20]] }]],
      4719362: ["UL", 1],
      1375769129: ["SQ", [{ 2658576: ["SQ", [{ 2621488: ["DS", [0.0005, 0.00025]] }]] }]],
      ...(made.sparse && {
        1375769136: [
          "SQ",
          order.map((tile) => ({
            4719130: [
              "SQ",
              [
                {
                  4196170: ["DS", [0]],
                  4719134: ["SL", (tile % across) * tileWidth + 1],
                  4719135: ["SL", Math.floor(tile / across) * tileHeight + 1],
                },
              ],
            ],
          })),
        ],
      }),
      ...made.extra,
    } as Elements,
    pixels:
      coding === "native"
        ? native
        : {
            frames: frames.map((f) => split(encodeRle(f, bytesPerSample, samples), made.fragments ?? 1)),
            table: coding,
          },
  });
}

/** Fragments of even length, which only the last need not be. */
function split(bytes: Uint8Array, parts: number): Uint8Array[] {
  const size = 2 * Math.ceil(bytes.length / parts / 2);
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  );
}

const open = (objects: Record<string, Uint8Array>) => openImage(new MemoryStore(objects), "slide");

async function refusal(opening: Promise<unknown>): Promise<string> {
  const error = await opening.then(
    () => undefined,
    (e) => e,
  );
  expect(error).toBeInstanceOf(ImageFormatError);
  expect(error.message).toMatch(/^slide[^\n]*$/);
  expect(error.message).not.toMatch(/secret|quux/i);
  return error.message;
}

const level = fc.record({
  height: fc.integer({ min: 1, max: 40 }),
  width: fc.integer({ min: 1, max: 40 }),
  tile: fc.tuple(fc.integer({ min: 2, max: 16 }), fc.integer({ min: 2, max: 16 })),
  samples: fc.constantFrom(1, 3),
  deep: fc.boolean(),
  coding: fc.constantFrom("native", "basic", "extended", "none") as fc.Arbitrary<MadeLevel["coding"]>,
  sparse: fc.boolean(),
  order: fc.infiniteStream(fc.nat(99)),
  fragments: fc.integer({ min: 1, max: 3 }),
  undefinedLengths: fc.boolean(),
});

describe("a DICOM slide", () => {
  test("gives any region for any tiles, order, coding and tables", async () => {
    await fc.assert(
      fc.asyncProperty(level, fc.array(fc.nat(99), { minLength: 4, maxLength: 12 }), async (made, places) => {
        const { height, width, tile, samples } = made;
        const dtype: DType = made.deep && samples === 1 ? "uint16" : "uint8";
        const whole = pattern(dtype, [height, width, samples]);
        const count = Math.ceil(height / tile[0]) * Math.ceil(width / tile[1]);
        const dice = [...made.order.take(count)];
        const kept = dice.map((_, i) => i).filter((i) => i === 0 || dice[i]! >= 20);
        const sparse = made.sparse ? kept.sort((a, b) => dice[a]! - dice[b]!) : undefined;
        // Without a table, several fragments of what has no beginning of its own cannot be told apart.
        const fragments = made.coding === "none" ? 1 : made.fragments;
        const bytes = makeLevel({ ...made, image: whole, sparse, fragments });
        if (sparse) {
          const across = Math.ceil(width / tile[1]);
          for (let i = 0; i < whole.data.length; i++) {
            const pixel = Math.floor(i / samples);
            const at =
              Math.floor(Math.floor(pixel / width) / tile[0]) * across +
              Math.floor((pixel % width) / tile[1]);
            if (!sparse.includes(at)) whole.data[i] = samples === 3 ? 255 : 0;
          }
        }
        const image = await open({ slide: bytes });
        expect([image.axes, image.dtype, image.levels[0]!.shape]).toEqual(["yx", dtype, [height, width]]);
        expect(image.spacing).toEqual({ values: [0.5, 0.25], unit: "micrometer" });
        for (let i = 0; i + 3 < places.length; i += 4) {
          const origin = [places[i]! % height, places[i + 1]! % width];
          const size = [
            places[i + 2]! % (height - origin[0]! + 1),
            places[i + 3]! % (width - origin[1]! + 1),
          ];
          expect(await image.readRegion(0, { origin, size })).toEqual(crop(whole, { origin, size }));
        }
      }),
      { numRuns: 150 },
    );
  });

  const base = pattern("uint8", [40, 60, 3]);
  const half = pattern("uint8", [20, 30, 3]);
  const tile = [16, 16] as const;

  test("has the levels of its files, without label, macro and thumbnail", async () => {
    const image = await open({
      "slide/a": makeLevel({ image: half, tile }),
      "slide/b": makeLevel({ image: base, tile, coding: "none" }),
      "slide/c": makeLevel({ image: pattern("uint8", [8, 8, 3]), tile: [8, 8], type: "LABEL" }),
      "slide/d": makeLevel({ image: pattern("uint8", [8, 9, 3]), tile: [8, 8], type: "THUMBNAIL" }),
    });
    expect(image.levels.map(({ shape, downsample }) => [...shape, ...downsample])).toEqual([
      [40, 60, 1, 1],
      [20, 30, 2, 2],
    ]);
    const rect = { origin: [3, 5], size: [15, 20] };
    expect(await image.readRegion(0, rect)).toEqual(crop(base, rect));
    expect(await image.readRegion(1, rect)).toEqual(crop(half, rect));
    expect([image.objectivePower, image.headers!.count]).toEqual([20, 2]);
    expect((await image.headers!.read(1)).length).toBeLessThan(2000);
  });

  test("reads the frames that it needs, and little more", async () => {
    const big = pattern("uint8", [640, 640, 3]);
    const bytes = makeLevel({ image: big, tile: [64, 64] });
    const image = await open({ slide: bytes });
    const opened = image.bytesRead;
    // Not of the first bytes, which opening reads.
    await image.readRegion(0, { origin: [320, 64], size: [64, 64] });
    expect(image.bytesRead - opened).toBe(64 * 64 * 3);
    expect(opened).toBeLessThan(80_000);
  });

  test("takes its pixel size from its extent if nothing else states it", async () => {
    const extra = {
      1375769129: ["SQ", []],
      4718593: ["FL", 0.06],
      4718594: ["FL", 0.02],
    } as unknown as Elements;
    const image = await open({ slide: makeLevel({ image: base, tile, extra }) });
    expect(image.spacing!.values.map((v) => Number(v.toFixed(6)))).toEqual([0.5, 1]);
  });

  test.each<[string, Record<string, Uint8Array>, RegExp]>([
    [
      "too few tiles",
      { slide: makeLevel({ image: base, tile, extra: { 4718598: ["UL", 600] } }) },
      /12 tiles where a slide of 600 × 40 pixels needs 114/,
    ],
    [
      "optical paths",
      { slide: makeLevel({ image: base, tile, extra: { 4719362: ["UL", 2] } }) },
      /2 optical paths/,
    ],
    [
      "focal planes",
      { slide: makeLevel({ image: base, tile, extra: { 4719363: ["UL", 3] } }) },
      /3 focal planes/,
    ],
    [
      "parts",
      { slide: makeLevel({ image: base, tile, extra: { 2134369: ["UI", "1.2"] } }) },
      /stored in several files/,
    ],
    [
      "a tile off the grid",
      { slide: makeLevel({ image: base, tile: [16, 16], sparse: [0, 1], extra: { 2621457: ["US", 15] } }) },
      /lies at column 17, row 1, off the grid of 15 × 16|cut short/,
    ],
    [
      "two tiles at one place",
      { slide: makeLevel({ image: base, tile, sparse: [0, 3, 0] }) },
      /two of its tiles lie at column 1, row 1/,
    ],
    [
      "levels of two slides",
      {
        "slide/a": makeLevel({ image: base, tile }),
        "slide/b": makeLevel({ image: pattern("uint8", [40, 30, 3]), tile }),
      },
      /sizes that are not those of one pyramid/,
    ],
    [
      "levels of different samples",
      {
        "slide/a": makeLevel({ image: base, tile }),
        "slide/b": makeLevel({ image: pattern("uint8", [20, 30, 1]), tile }),
      },
      /levels differ in their samples/,
    ],
    [
      "slides of two series",
      {
        "slide/a": makeLevel({ image: base, tile }),
        "slide/b": makeLevel({ image: half, tile, series: "1.9" }),
      },
      /2 DICOM series: 1 \(SM, a slide of one level of 60 × 40\), 2/,
    ],
    [
      "nothing but a label",
      { slide: makeLevel({ image: half, tile, type: "LABEL" }) },
      /the label, overview or thumbnail of a slide/,
    ],
    [
      "no frames behind its header",
      { slide: makeLevel({ image: base, tile }).subarray(0, 3000) },
      /cut short/,
    ],
    [
      "a grid beyond reason",
      {
        slide: makeLevel({
          image: base,
          tile,
          sparse: [0],
          extra: { 4718598: ["UL", 2 ** 30], 4718599: ["UL", 2 ** 30] },
        }),
      },
      /tiles is over the limit/,
    ],
  ])("is rejected with %s", async (_, objects, reason) => {
    expect(await refusal(open(objects))).toMatch(reason);
  });

  test("with any flipped bytes is read or rejected in one sentence", async () => {
    const files = [
      makeLevel({ image: base, tile }),
      makeLevel({ image: base, tile, coding: "basic", fragments: 2 }),
      makeLevel({ image: base, tile, coding: "extended" }),
      makeLevel({ image: base, tile, coding: "none", sparse: [3, 0, 7], undefinedLengths: true }),
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...files),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        fc.boolean(),
        async (file, flips, head) => {
          const bytes = file.slice();
          const length = head ? Math.min(1400, bytes.length - 132) : bytes.length - 132;
          for (const [at, value] of flips) bytes[132 + (at % length)] = value;
          try {
            const image = await openImage(new MemoryStore({ slide: bytes }), "slide", {
              limits: { tileBytes: 2 ** 20, regionBytes: 2 ** 22 },
            });
            const { shape } = image.levels[0]!;
            await image.readRegion(0, {
              origin: shape.map(() => 0),
              size: shape.map((n) => Math.min(n, 64)),
            });
            expect(product(shape)).toBeGreaterThan(0);
          } catch (error) {
            expect(error).toBeInstanceOf(ImageFormatError);
            expect((error as Error).message).toMatch(/^slide[^\n]*$/);
            expect((error as Error).message).not.toMatch(/secret|quux/i);
          }
        },
      ),
      { numRuns: 400 },
    );
  });
});
