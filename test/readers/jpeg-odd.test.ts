import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeAnyJpeg } from "../../src/codecs/decode-jpeg.ts";
import { decodeLosslessJpeg } from "../../src/codecs/jpeg/lossless.ts";
import { completeJpeg } from "../../src/codecs/jpeg/stream.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { makeBlockJpeg, makeLosslessJpeg } from "../builders/make-jpeg.ts";
import { makeTiff } from "../builders/make-tiff.ts";
import { pattern } from "../builders/pattern.ts";

const photo = new Uint8Array(await readFile(new URL("fixtures/photo.jpg", import.meta.url)));

async function read(bytes: Uint8Array) {
  const image = await openImage(new MemoryStore({ "photo.jpg": bytes }), "photo.jpg");
  const size = image.levels[0]!.shape;
  return { image, ...(await image.readRegion(0, { origin: [0, 0], size })) };
}
const expected = (await read(photo)).data;

/** Bytes put in at a place, or in the place of others. */
const put = (at: number, bytes: number[], instead = 0) =>
  Uint8Array.from([...photo.subarray(0, at), ...bytes, ...photo.subarray(at + instead)]);
const jfifEnd = 4 + photo[4]! * 256 + photo[5]!;

describe("JPEGs that libjpeg reads with warnings are read, every pixel", () => {
  const exif = [...new TextEncoder().encode("Exif\0\0II*\0")];
  const adobe = (...rest: number[]) => [
    0xff,
    0xee,
    0,
    7 + rest.length,
    ...new TextEncoder().encode("Adobe"),
    ...rest,
  ];
  const icc = [0xff, 0xe2, 0, 16, ...new TextEncoder().encode("ICC_PROFILE\0"), 9, 2];
  test.each<[string, Uint8Array]>([
    ["bytes between segments", put(jfifEnd, [0, 1, 2, 3])],
    ["0xff among them", put(jfifEnd, [7, 0xff, 0, 8, 0xff, 0xff])],
    ["an EXIF segment cut short", put(jfifEnd, [0xff, 0xe1, 0, 2 + exif.length, ...exif])],
    ["an empty EXIF segment", put(jfifEnd, [0xff, 0xe1, 0, 2])],
    ["an ICC profile out of order", put(jfifEnd, icc)],
    ["an empty ICC profile", put(jfifEnd, icc.slice(0, 2).concat(0, 14, ...icc.slice(4, -2)))],
    ["an Adobe segment cut short", put(jfifEnd, adobe(0, 100))],
    ["an Adobe segment for four components", put(jfifEnd, adobe(0, 100, 0, 0, 0, 0, 2))],
    ["an Adobe segment of an unknown transform", put(jfifEnd, adobe(0, 100, 0, 0, 0, 0, 77))],
    ["a JFIF version to come", put(11, [9, 9], 2)],
    ["zeros in front of the end", put(photo.length - 2, new Array<number>(16).fill(0))],
    ["anything in front of the end", put(photo.length - 2, [1, 2, 3, 0xff, 0, 5])],
    ["no end", photo.slice(0, -2)],
    ["anything behind the end", Uint8Array.from([...photo, 1, 2, 3])],
  ])("%s", async (_, bytes) => {
    expect((await read(bytes)).data).toEqual(expected);
  });

  test("bytes in front of restart markers", async () => {
    const made = { width: 40, height: 24, components: 1, restart: 5 };
    const value = (x: number, y: number) => 20 + 30 * x + 10 * y;
    const clean = await read(makeBlockJpeg(made, value));
    expect([clean.data[0], clean.data[39]]).toEqual([20, 140]);
    const odd = await read(makeBlockJpeg({ ...made, junk: [0, 0, 7, 0xff, 0, 9] }, value));
    expect(odd.data).toEqual(clean.data);
  });

  test("damage between complete restart markers is read around and reported", async () => {
    const made = { width: 40, height: 40, components: 1, restart: 5 };
    const value = (x: number, y: number) => 20 + 30 * x + 10 * y;
    const bytes = makeBlockJpeg(made, value);
    const clean = await read(bytes);
    const first = bytes.findIndex((b, i) => b === 0xff && bytes[i + 1] === 0xd0);
    bytes.fill(0xfe, first - 4, first);
    const { data, image } = await read(bytes);
    expect(image.warnings).toEqual([expect.stringMatching(/^parts of the picture are damaged/)]);
    // What lies behind the next marker is whole.
    expect(data.subarray(8 * 40)).toEqual(clean.data.subarray(8 * 40));
    expect(data).not.toEqual(clean.data);
    // One marker less, and it is not known what is where.
    const lost = Uint8Array.from([...bytes.subarray(0, first), ...bytes.subarray(first + 2)]);
    await expect(read(lost)).rejects.toThrow(/damaged/);
  });

  test("data that ends early is still damage", async () => {
    for (const end of [photo.length - 60, photo.length - 200]) {
      await expect(read(photo.slice(0, end))).rejects.toThrow("photo.jpg is damaged or cut short");
      await expect(read(Uint8Array.from([...photo.subarray(0, end), 0xff, 0xd9]))).rejects.toThrow(/damaged/);
    }
  });
});

test("an orientation other than the stored one is reported, and pixels stay as stored", async () => {
  const tag = [0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0];
  const body = [...new TextEncoder().encode("Exif\0\0II*\0"), 8, 0, 0, 0, 1, 0, ...tag, 0, 0, 0, 0];
  const { image, data } = await read(put(2, [0xff, 0xe1, 0, body.length + 2, ...body]));
  expect(image.details?.orientation).toMatch(/turned by 90° clockwise \(6\)/);
  expect(data).toEqual(expected);
  expect(image.warnings).toEqual([`orientation of the image: ${image.details!.orientation}`]);
  const plain = (await read(photo)).image;
  expect([plain.details, plain.warnings]).toEqual([undefined, []]);
});

describe("JPEG in TIFF", () => {
  test.each([2, 4])("%i components are read as stored", async (components) => {
    const value = (x: number, y: number, c: number) => 10 + 60 * c + 9 * x + 3 * y;
    const jpeg = makeBlockJpeg({ width: 32, height: 16, components }, value);
    const image = pattern("uint8", [16, 32, components]);
    const bytes = makeTiff([
      {
        image,
        tile: [16, 32],
        photometric: components === 4 ? 2 : 1,
        extraSamples: [components === 4 ? 2 : 0],
        pack: () => jpeg,
        override: { 259: { type: 3, values: [7] } },
      },
    ]);
    const opened = await openImage(new MemoryStore({ "made.tif": bytes }), "made.tif");
    const { data, shape } = await opened.readRegion(0, { origin: [0, 0], size: [16, 32] });
    // Alpha is left off.
    const channels = components === 4 ? 3 : 2;
    expect(shape).toEqual([16, 32, channels]);
    const at = (y: number, x: number, c: number) => data[(y * 32 + x) * channels + c];
    for (let c = 0; c < channels; c++) {
      expect(at(0, 0, c)).toBe(value(0, 0, c));
      expect(at(15, 31, c)).toBe(value(3, 1, c));
    }
  });

  test("lossless, of 8 and 16 bits", async () => {
    for (const dtype of ["uint8", "uint16"] as const) {
      const image = pattern(dtype, [16, 32, 1]);
      const bits = dtype === "uint8" ? 8 : 16;
      const about = {
        width: 32,
        height: 16,
        components: 1,
        bits,
        predictor: 4,
        pointTransform: 0,
        restartRows: 0,
      };
      const jpeg = makeLosslessJpeg(about, image.data);
      const bytes = makeTiff([
        { image, tile: [16, 32], pack: () => jpeg, override: { 259: { type: 3, values: [7] } } },
      ]);
      const opened = await openImage(new MemoryStore({ "made.tif": bytes }), "made.tif");
      const read = await opened.readRegion(0, { origin: [0, 0], size: [16, 32] });
      expect(read.data).toEqual(image.data);
    }
  });

  test("12 bits are rejected by name", async () => {
    const jpeg = makeBlockJpeg({ width: 8, height: 8, components: 1 }, () => 9);
    jpeg[jpeg.findIndex((b, i) => b === 0xff && jpeg[i + 1] === 0xc0) + 4] = 12;
    await expect(decodeAnyJpeg(completeJpeg(jpeg))).rejects.toThrow(
      /samples of 12 bits, which is not supported/,
    );
  });
});

describe("lossless JPEG", () => {
  const made = fc.record({
    width: fc.integer({ min: 1, max: 9 }),
    height: fc.integer({ min: 1, max: 9 }),
    components: fc.integer({ min: 1, max: 4 }),
    bits: fc.integer({ min: 2, max: 16 }),
    predictor: fc.integer({ min: 1, max: 7 }),
    pointTransform: fc.integer({ min: 0, max: 1 }),
    restartRows: fc.integer({ min: 0, max: 3 }),
    flat: fc.boolean(),
    noise: fc.infiniteStream(fc.nat(65535)),
  });

  test("every predictor, depth and number of components is decoded exactly", () => {
    fc.assert(
      fc.property(made, ({ noise, flat, ...about }) => {
        const { width, height, components, bits, pointTransform } = about;
        const mask = (2 ** bits - 1) & ~(2 ** pointTransform - 1);
        const first = noise.next().value;
        const samples = Array.from(
          { length: width * height * components },
          () => (flat ? first : noise.next().value) & mask,
        );
        const decoded = decodeLosslessJpeg(makeLosslessJpeg(about, samples));
        expect(Array.from(decoded.data)).toEqual(samples);
      }),
      { seed: 7, numRuns: 300 },
    );
  });

  test("cut short anywhere, it is reported as damaged", () => {
    const about = {
      width: 5,
      height: 4,
      components: 2,
      bits: 12,
      predictor: 5,
      pointTransform: 0,
      restartRows: 2,
    };
    const stream = makeLosslessJpeg(
      about,
      Array.from({ length: 40 }, (_, i) => i * 97),
    );
    for (let end = 4; end < stream.length - 4; end++)
      expect(() => decodeLosslessJpeg(stream.subarray(0, end))).toThrow(/damaged/);
  });
});
