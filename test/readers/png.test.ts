import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { openImage } from "../../src/readers/open-image.ts";
import { decodePng } from "../../src/readers/raster/png-decode.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { type MadePng, makePng } from "../builders/make-png.ts";

const DEPTHS = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };
const SAMPLES = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

const made = fc.constantFrom(0, 2, 3, 4, 6).chain((colorType) =>
  fc.record({
    colorType: fc.constant(colorType as MadePng["colorType"]),
    depth: fc.constantFrom(...DEPTHS[colorType as MadePng["colorType"]]),
    width: fc.integer({ min: 1, max: 19 }),
    height: fc.integer({ min: 1, max: 19 }),
    interlaced: fc.boolean(),
    shift: fc.nat(4),
    noise: fc.infiniteStream(fc.nat(65535)),
  }),
);

describe("decodePng", () => {
  test("every colour type, depth, filter and interlacing is decoded exactly", () => {
    fc.assert(
      fc.property(made, ({ noise, shift, ...about }) => {
        const { colorType, depth, width, height } = about;
        const count = SAMPLES[colorType];
        const samples = Array.from({ length: width * height * count }, () => noise.next().value % 2 ** depth);
        const palette = Array.from({ length: 3 * 2 ** depth }, () => noise.next().value & 255);
        const bytes = makePng(
          { ...about, filter: (row) => (row + shift) % 5, ...(colorType === 3 && { palette }) },
          samples,
        );
        const { data, shape } = decodePng(bytes);
        const channels = colorType === 0 || colorType === 4 ? 1 : 3;
        expect(shape).toEqual([height, width, channels]);
        const wanted: number[] = [];
        for (let p = 0; p < width * height; p++) {
          for (let c = 0; c < channels; c++) {
            if (colorType === 3) wanted.push(palette[3 * samples[p]! + c]!);
            else wanted.push(samples[p * count + c]! * (depth < 8 ? 255 / (2 ** depth - 1) : 1));
          }
        }
        expect(Array.from(data)).toEqual(wanted);
      }),
      { seed: 5, numRuns: 300 },
    );
  });

  const plain = { width: 3, height: 2, depth: 8, colorType: 2, interlaced: false, filter: () => 0 } as const;
  const rgb = Array.from({ length: 18 }, (_, i) => 10 * i);

  test("a suggested palette changes nothing", () => {
    const before = [{ type: "sPLT", data: [65, 0, 8, 1, 2, 3, 4, 5, 6] }];
    const { data } = decodePng(makePng({ ...plain, palette: [1, 2, 3], before }, rgb));
    expect(Array.from(data)).toEqual(rgb);
  });

  test("damage is named", () => {
    const bytes = makePng(plain, rgb);
    expect(() => decodePng(bytes.subarray(0, 60))).toThrow(/cannot be unpacked|ends after 0 rows/);
    expect(() => decodePng(makePng({ ...plain, filter: () => 7 }, rgb))).toThrow(
      "PNG filter 7 does not exist",
    );
    const indexed = { ...plain, colorType: 3 } as const;
    expect(() => decodePng(makePng(indexed, [0, 0, 0, 0, 0, 0]))).toThrow("its palette is missing");
    expect(() => decodePng(makePng({ ...indexed, palette: [1, 2, 3] }, [0, 1, 0, 0, 0, 0]))).toThrow(
      "colour 1 of a palette of 1",
    );
  });

  test("an orientation other than the stored one is reported", async () => {
    const exif = [0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, 1, 18, 0, 3, 0, 0, 0, 1, 0, 3, 0, 0, 0, 0, 0, 0];
    const bytes = makePng({ ...plain, before: [{ type: "eXIf", data: exif }] }, rgb);
    const image = await openImage(new MemoryStore({ "a.png": bytes }), "a.png");
    expect(image.details?.orientation).toMatch(/turned by 180° \(3\)/);
  });
});
