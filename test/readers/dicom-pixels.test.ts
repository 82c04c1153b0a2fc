import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ImageFormatError } from "../../src/image/errors.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { type Elements, encodeRle, type MadeDicom, makeDicom, SYNTAX } from "../builders/make-dicom.ts";
import { type MadeHtj2k, makeHtj2k } from "../builders/make-htj2k.ts";
import { makeBlockJpeg, makeLosslessJpeg } from "../builders/make-jpeg.ts";

interface Pixels {
  rows: number;
  columns: number;
  samples?: number;
  photometric?: string;
  allocated?: number;
  stored?: number;
  high?: number;
  signed?: boolean;
  planar?: boolean;
  extra?: Elements;
}

function picture(
  { rows, columns, samples = 1, photometric = "MONOCHROME2", allocated = 8, ...p }: Pixels,
  pixels: MadeDicom["pixels"],
  syntax?: string,
): Uint8Array {
  const stored = p.stored ?? allocated;
  return makeDicom({
    syntax,
    elements: {
      524384: ["CS", "OT"],
      2621442: ["US", samples],
      2621444: ["CS", photometric],
      2621446: ["US", p.planar ? 1 : 0],
      2621456: ["US", rows],
      2621457: ["US", columns],
      2621696: ["US", allocated],
      2621697: ["US", stored],
      2621698: ["US", p.high ?? stored - 1],
      2621699: ["US", p.signed ? 1 : 0],
      ...p.extra,
    },
    pixels,
  });
}

async function read(bytes: Uint8Array) {
  const image = await openImage(new MemoryStore({ "a.dcm": bytes }), "a.dcm");
  const size = image.levels[0]!.shape;
  return { image, ...(await image.readRegion(0, { origin: size.map(() => 0), size })) };
}

describe("samples of a DICOM file", () => {
  test("keep their stored bits and sign, wherever these lie in a word", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(8, 16, 32),
        fc.nat(),
        fc.nat(),
        fc.boolean(),
        fc.boolean(),
        fc.array(fc.nat(2 ** 31), { minLength: 6, maxLength: 6 }),
        async (allocated, a, b, signed, rle, values) => {
          const stored = 1 + (a % allocated);
          const high = stored - 1 + (b % (allocated - stored + 1));
          const mask = stored === 32 ? 0xffffffff : 2 ** stored - 1;
          const wanted = values.map((v) => {
            const low = (v & mask) >>> 0;
            return signed && low >= 2 ** (stored - 1) ? low - 2 ** stored : low;
          });
          const bytes = new Uint8Array((values.length * allocated) / 8);
          const view = new DataView(bytes.buffer);
          for (const [i, v] of wanted.entries()) {
            // The other bits hold anything.
            const shifted = BigInt.asUintN(32, BigInt(v) << BigInt(high + 1 - stored));
            const noise = ~(BigInt(mask) << BigInt(high + 1 - stored)) & BigInt(values[(i + 1) % 6]!);
            const word = Number(
              BigInt.asUintN(allocated, (shifted & (BigInt(mask) << BigInt(high + 1 - stored))) | noise),
            );
            if (allocated === 8) view.setUint8(i, word);
            else if (allocated === 16) view.setUint16(2 * i, word, true);
            else view.setUint32(4 * i, word, true);
          }
          const format = { rows: 2, columns: 3, allocated, stored, high, signed };
          const file = rle
            ? picture(format, { frames: [[encodeRle(bytes, allocated / 8, 1)]], table: "none" }, SYNTAX.rle)
            : picture(format, bytes);
          const { data, image } = await read(file);
          expect(image.dtype).toBe(`${signed ? "int" : "uint"}${allocated}`);
          expect([...data]).toEqual(wanted);
        },
      ),
      { numRuns: 150 },
    );
  });

  test("are inverted where the file has them grow to black", async () => {
    const grey = { rows: 1, columns: 4, photometric: "MONOCHROME1" };
    expect([...(await read(picture(grey, Uint8Array.of(0, 1, 200, 255)))).data]).toEqual([255, 254, 55, 0]);
    const twelve = { ...grey, columns: 2, allocated: 16, stored: 12 };
    expect([...(await read(picture(twelve, Uint8Array.of(0, 0, 255, 15)))).data]).toEqual([4095, 0]);
    // A quantity is no grey to be turned.
    const scaled = { ...grey, extra: { 2625618: ["DS", [0]], 2625619: ["DS", [2]] } as Elements };
    expect([...(await read(picture(scaled, Uint8Array.of(0, 1, 2, 3)))).data]).toEqual([0, 2, 4, 6]);
  });

  const colours = Uint8Array.of(10, 20, 30, 40, 50, 60, 70, 80, 90, 200, 210, 220);
  const rgb = { rows: 2, columns: 2, samples: 3, photometric: "RGB" };

  test("are interleaved for any storage order", async () => {
    const planes = Uint8Array.from({ length: 12 }, (_, i) => colours[(i % 4) * 3 + Math.floor(i / 4)]!);
    expect([...(await read(picture({ ...rgb, planar: true }, planes))).data]).toEqual([...colours]);
    const rle = { frames: [[encodeRle(colours, 1, 3)]], table: "basic" } as const;
    expect([...(await read(picture(rgb, rle, SYNTAX.rle))).data]).toEqual([...colours]);
    expect([...(await read(picture({ ...rgb, planar: true }, rle, SYNTAX.rle))).data]).toEqual([...colours]);
  });

  test("are RGB, also from luminance and chroma", async () => {
    const ybr = Uint8Array.of(81, 90, 240, 145, 54, 34, 41, 240, 110, 128, 128, 128);
    const { data, image } = await read(picture({ ...rgb, photometric: "YBR_FULL" }, ybr));
    expect(image.channels.map((c) => c.name)).toEqual(["red", "green", "blue"]);
    const wanted = [81 + 1.402 * 112, 81 - 0.344136 * -38 - 0.714136 * 112, 81 + 1.772 * -38];
    for (const [c, value] of wanted.entries()) expect(Math.abs(data[c]! - value)).toBeLessThan(1);
    expect([...data.slice(9)]).toEqual([128, 128, 128]);
    // Two pixels, one colour.
    const half = picture(
      { ...rgb, photometric: "YBR_FULL_422" },
      Uint8Array.of(100, 200, 128, 128, 50, 60, 128, 128),
    );
    expect([...(await read(half)).data]).toEqual([100, 100, 100, 200, 200, 200, 50, 50, 50, 60, 60, 60]);
  });
});

const lossless = fc
  .record({
    width: fc.integer({ min: 1, max: 9 }),
    height: fc.integer({ min: 1, max: 9 }),
    components: fc.constantFrom(1 as const, 3 as const),
    bits: fc.integer({ min: 2, max: 16 }),
    predictor: fc.integer({ min: 1, max: 7 }),
    restartRows: fc.constantFrom(0, 0, 1, 2),
    /** Rows from here on are flat: the shortest codes, of which a byte holds several. */
    flatFrom: fc.integer({ min: 0, max: 9 }),
    signed: fc.boolean(),
    seed: fc.nat(),
  })
  .map((made) => (made.components === 3 ? { ...made, bits: 8, signed: false } : made));

describe("lossless JPEG", () => {
  test("gives the same picture with each predictor, to the last sample", async () => {
    await fc.assert(
      fc.asyncProperty(lossless, async ({ flatFrom, seed, signed, ...made }) => {
        const { width, height, components, bits } = made;
        const samples = Array.from({ length: width * height * components }, (_, i) =>
          Math.floor(i / (width * components)) >= flatFrom
            ? 2 ** (bits - 1)
            : ((i + 1) * 2654435761 + seed) % 2 ** bits,
        );
        const frame = makeLosslessJpeg({ ...made, pointTransform: 0 }, samples);
        const file = picture(
          {
            rows: height,
            columns: width,
            samples: components,
            photometric: components === 3 ? "RGB" : "MONOCHROME2",
            allocated: bits <= 8 ? 8 : 16,
            stored: bits,
            signed,
          },
          { frames: [[frame]], table: "none" },
          SYNTAX.lossless,
        );
        const wanted = samples.map((v) => (signed && v >= 2 ** (bits - 1) ? v - 2 ** bits : v));
        expect([...(await read(file)).data]).toEqual(wanted);
      }),
      { numRuns: 150 },
    );
  });

  const crafted = new URL(
    "../../../shared/cases/readers/02b-crafted-jpeg-lossless-lastpixel.dcm",
    import.meta.url,
  );
  test.skipIf(!existsSync(crafted))("of libjpeg-turbo is complete to the last sample", async () => {
    expect((await read(new Uint8Array(await readFile(crafted)))).data.at(-1)).toBe(2048);
  });
});

describe("high-throughput JPEG 2000", () => {
  const HTJ2K = "1.2.840.10008.1.2.4.201";
  const size = { width: 21, height: 17 };
  const file = (made: MadeHtj2k, frame: Uint8Array) =>
    picture(
      {
        rows: 17,
        columns: 21,
        samples: made.components,
        photometric: made.components === 3 ? "YBR_RCT" : "MONOCHROME2",
        allocated: made.bits > 8 ? 16 : 8,
        stored: made.bits,
        signed: made.signed,
      },
      { frames: [[frame]], table: "none" },
      HTJ2K,
    );

  test.each([
    { ...size, components: 1, bits: 8, signed: false },
    { ...size, components: 1, bits: 12, signed: false },
    { ...size, components: 1, bits: 16, signed: false },
    { ...size, components: 1, bits: 16, signed: true },
    { ...size, components: 3, bits: 8, signed: false },
  ])(
    "of $components × $bits bits (signed: $signed) is exact, and rejected when it is cut short",
    async (made) => {
      const low = made.signed ? -(2 ** (made.bits - 1)) : 0;
      const samples = Array.from(
        { length: 21 * 17 * made.components },
        (_, i) => low + ((i * 2654435761) % 2 ** made.bits),
      );
      const frame = await makeHtj2k(made, samples);
      expect([...(await read(file(made, frame))).data]).toEqual(samples);
      for (const broken of [frame.slice(0, -40), frame.slice(0, 60), new Uint8Array(60)])
        await expect(read(file(made, broken))).rejects.toThrow(
          /^a\.dcm cannot be read: a (frame of high|JPEG 2000)/,
        );
      // Its tiles would be more than there are pixels for.
      const tiny = frame.slice();
      const siz = tiny.findIndex((b, i) => b === 0xff && tiny[i + 1] === 0x51) + 4;
      new DataView(tiny.buffer).setUint32(siz + 18, 0, false);
      await expect(read(file(made, tiny))).rejects.toThrow(/damaged or cut short/);
      expect([...(await read(file(made, frame))).data]).toEqual(samples);
    },
  );

  test("with losses is as near as the quantizer's step", async () => {
    const made = { ...size, components: 1, bits: 8, signed: false };
    const samples = Array.from({ length: 21 * 17 }, (_, i) => Math.round(127 + 90 * Math.sin(i / 9)));
    const frame = await makeHtj2k(made, samples, 0.004);
    const { data } = await read(file(made, frame));
    const errors = [...data].map((value, i) => Math.abs(value - samples[i]!));
    expect(Math.max(...errors)).toBeGreaterThan(0);
    expect(Math.max(...errors)).toBeLessThanOrEqual(3);
  });
});

describe("JPEG of 12 bits", () => {
  const EXTENDED = "1.2.840.10008.1.2.4.51";
  const twelve = (rows: number, columns: number, frame: Uint8Array) =>
    picture({ rows, columns, allocated: 16, stored: 12 }, { frames: [[frame]], table: "none" }, EXTENDED);

  test.each([0, 1, 3])("is read block by block, with restart markers every %i", async (restart) => {
    const [width, height] = [20, 13];
    const value = (x: number, y: number) => (x * 1309 + y * 2311) % 4096;
    const frame = makeBlockJpeg({ width, height, components: 1, restart, bits: 12 }, value);
    const wanted = Array.from({ length: width * height }, (_, i) =>
      value((i % width) >> 3, Math.floor(i / width) >> 3),
    );
    expect([...(await read(twelve(height, width, frame))).data]).toEqual(wanted);
  });

  test("that is cut short, or coded in another way, is rejected", async () => {
    const frame = makeBlockJpeg({ width: 64, height: 64, components: 1, bits: 12 }, (x) => x * 500);
    await expect(read(twelve(64, 64, frame.slice(0, -60)))).rejects.toThrow(
      /of 12 bits is damaged or cut short/,
    );
    const progressive = frame.slice();
    progressive[progressive.findIndex((b, i) => b === 0xff && frame[i + 1] === 0xc1) + 1] = 0xc2;
    await expect(read(twelve(64, 64, progressive))).rejects.toThrow(
      /12 bits in a coding that is not supported/,
    );
  });

  const root = new URL("../../../shared/data/dicom/pydicom/", import.meta.url);
  test.skipIf(!existsSync(root))("of real files matches libjpeg to one grey level", async () => {
    const { data } = await read(new Uint8Array(await readFile(new URL("JPGExtended.dcm", root))));
    const values = [...data];
    // pylibjpeg's sum and maximum.
    const sum = values.reduce((a, b) => a + b, 0);
    expect(Math.abs(sum - 3770427) / data.length).toBeLessThan(0.05);
    expect(Math.abs(values.reduce((a, b) => Math.max(a, b), 0) - 264)).toBeLessThanOrEqual(1);
    // Its scan header is wrong, and other readers fail on it.
    expect((await read(new Uint8Array(await readFile(new URL("JPEG-lossy.dcm", root))))).data).toEqual(data);
  });
});

describe("a palette", () => {
  const words = (values: readonly number[], little: boolean) =>
    Uint8Array.from(values.flatMap((v) => (little ? [v & 255, v >> 8] : [v >> 8, v & 255])));
  const red = [1, 20, 255, 7];
  const green = [2, 30, 0, 8];
  const blue = [3, 40, 128, 9];
  const packed = (values: readonly number[], little: boolean) =>
    words([values[0]! + 256 * values[1]!, values[2]! + 256 * values[3]!], little);

  test.each<[string, number, (values: readonly number[], little: boolean) => Uint8Array]>([
    [
      "16 bits",
      16,
      (values, little) =>
        words(
          values.map((v) => v * 257),
          little,
        ),
    ],
    ["8 bits in words", 8, words],
    ["8 bits in words said to be 16", 16, words],
    ["8 bits, two in a word", 8, packed],
  ])("of %s gives RGB; values beyond its ends get the colour there", async (_, bits, encode) => {
    for (const syntax of [SYNTAX.explicit, SYNTAX.implicit, SYNTAX.bigEndian, SYNTAX.rle]) {
      const little = syntax !== SYNTAX.bigEndian;
      const descriptor = ["US", [4, 10, bits]] as const;
      // Of 8 bits said to be 16 none is above 255.
      const shown = (values: readonly number[]) =>
        [10, 9, 0, 11, 12, 13, 14, 99].map((v) => values[Math.max(0, Math.min(3, v - 10))]!);
      const values = Uint8Array.of(10, 9, 0, 11, 12, 13, 14, 99);
      const file = picture(
        {
          rows: 2,
          columns: 4,
          photometric: "PALETTE COLOR",
          extra: {
            2625793: descriptor,
            2625794: descriptor,
            2625795: descriptor,
            2626049: ["OW", encode(red, little)],
            2626050: ["OW", encode(green, little)],
            2626051: ["OW", encode(blue, little)],
            2625618: ["DS", [5]],
            2625619: ["DS", [2]],
          },
        },
        syntax === SYNTAX.rle ? { frames: [[encodeRle(values, 1, 1)]], table: "none" } : values,
        syntax,
      );
      const { data, image } = await read(file);
      expect([image.dtype, image.channels.length, image.details!.colors]).toEqual([
        "uint8",
        3,
        "4 of a palette",
      ]);
      const wanted = [red, green, blue].map(shown);
      expect([...data]).toEqual(wanted[0]!.flatMap((_, i) => wanted.map((channel) => channel[i]!)));
    }
  });
});

describe("a coded frame that is damaged", () => {
  const root = new URL("../../../shared/data/dicom/pydicom/", import.meta.url);
  const real = [
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
  ];
  const files = existsSync(root) ? real.map((name) => new URL(name, root)) : [];
  if (files.length === 0) console.warn("damaged DICOM frames of other codecs than RLE are not tested");

  test("is read or rejected in one sentence, and the next frame is correct", async () => {
    const rle = picture(
      { rows: 16, columns: 16 },
      { frames: [[encodeRle(new Uint8Array(256), 1, 1)]], table: "none" },
      SYNTAX.rle,
    );
    const made = {
      width: 16,
      height: 16,
      components: 1,
      bits: 8,
      predictor: 2,
      pointTransform: 0,
      restartRows: 0,
    };
    const jpeg = makeLosslessJpeg(
      made,
      Array.from({ length: 256 }, (_, i) => (i * 37) % 256),
    );
    const all = [
      rle,
      picture({ rows: 16, columns: 16 }, { frames: [[jpeg]], table: "none" }, SYNTAX.lossless),
      ...(await Promise.all(files.map(async (file) => new Uint8Array(await readFile(file))))),
    ];
    const whole = await Promise.all(all.map(async (bytes) => (await read(bytes)).data));
    await fc.assert(
      fc.asyncProperty(
        fc.nat(all.length - 1),
        fc.array(fc.tuple(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.nat(255)), {
          minLength: 1,
          maxLength: 5,
        }),
        async (i, flips) => {
          const bytes = all[i]!.slice();
          // In the frame: what precedes it is tried elsewhere.
          const from = Math.max(0, bytes.length - whole[i]!.length) >> 1;
          for (const [at, value] of flips) bytes[from + Math.floor(at * (bytes.length - from))] = value;
          try {
            await read(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(ImageFormatError);
            expect((error as Error).message).toMatch(/^a\.dcm[^\n]*$/);
          }
        },
      ),
      { numRuns: 250 },
    );
    for (const [i, bytes] of all.entries()) expect((await read(bytes)).data).toEqual(whole[i]);
  });

  test.skipIf(!existsSync(root))("of JPEG-LS does not affect later frames", async () => {
    const bytes = new Uint8Array(await readFile(new URL("MR_small_jpeg_ls_lossless.dcm", root)));
    const whole = (await read(bytes)).data;
    const from = bytes.findIndex((b, i) => b === 0xff && bytes[i + 1] === 0xd8 && bytes[i + 2] === 0xff);
    let state = 7;
    const next = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    // CharLS traps on some of these, and after some traps on all.
    for (let i = 0; i < 700; i++) {
      const broken = bytes.slice();
      for (let n = 0; n <= next(4); n++) broken[from + next(next(2) ? 60 : bytes.length - from)] = next(256);
      await read(broken).catch((error) => expect(error).toBeInstanceOf(ImageFormatError));
    }
    expect((await read(bytes)).data).toEqual(whole);
  });

  test("allocates no more than its header announces", async () => {
    // A JPEG-LS frame of 60 000 pixels square, and a JPEG 2000 one.
    const jls = Uint8Array.of(
      0xff,
      0xd8,
      0xff,
      0xf7,
      0,
      11,
      8,
      0xea,
      0x60,
      0xea,
      0x60,
      1,
      1,
      0x11,
      0,
      0xff,
      0xd9,
    );
    const file = picture({ rows: 8, columns: 8 }, { frames: [[jls]], table: "none" }, SYNTAX.jpegLs);
    await expect(read(file)).rejects.toThrow(
      "a.dcm cannot be read: a frame holds 60000 × 60000 pixels where its header announces 8 × 8",
    );
    const short = picture(
      { rows: 8, columns: 8 },
      { frames: [[new Uint8Array(70)]], table: "none" },
      SYNTAX.rle,
    );
    await expect(read(short)).rejects.toThrow(/an RLE frame has 0 segments where its header announces 1/);
  });
});

describe("a file without a preamble", () => {
  const values = Uint8Array.from({ length: 12 }, (_, i) => i * 3);
  const whole = (syntax: string) => {
    const pixels =
      syntax === SYNTAX.rle ? { frames: [[encodeRle(values, 1, 1)]], table: "none" as const } : values;
    return picture({ rows: 3, columns: 4, extra: { 524294: ["CS", "A\\B"] } }, pixels, syntax);
  };

  test.each([SYNTAX.explicit, SYNTAX.implicit, SYNTAX.bigEndian, SYNTAX.rle])(
    "is read when its first element identifies DICOM (%s)",
    async (syntax) => {
      const bytes = whole(syntax);
      // With its own group, and without it where nothing is coded.
      const bodies = [bytes.subarray(132)];
      const at = 132 + 12 + 8 + (bytes[132 + 12 + 6] ?? 0);
      if (syntax !== SYNTAX.rle) bodies.push(bytes.subarray(at));
      for (const body of bodies) {
        const { image, data } = await read(body.slice());
        expect([image.format, [...data]]).toEqual(["DICOM image", [...values]]);
        const folder = new MemoryStore({ "scan/0": body.slice(), "scan/notes": new Uint8Array(900).fill(8) });
        expect((await openImage(folder, "scan")).levels[0]!.shape).toEqual([3, 4]);
      }
    },
  );

  test("without a transfer syntax and with coded frames is rejected with that reason", async () => {
    const bytes = whole(SYNTAX.rle);
    const at = 132 + 12 + 8 + bytes[132 + 12 + 6]!;
    await expect(read(bytes.slice(at))).rejects.toThrow(/does not state how its frames are coded/);
  });

  test("of another format is not taken for DICOM", async () => {
    for (const text of ["\b\0 notes of a person", "\u0002\0\u0010\0 more", "\b\0\b\0"]) {
      const bytes = new TextEncoder().encode(text.padEnd(600, " and so on"));
      await expect(read(bytes)).rejects.toThrow(/is not an image that can be read/);
    }
  });

  const real = new URL("../../../shared/cases/readers/24-JLSL_RGB_ILV0.dcm", import.meta.url);
  test.skipIf(!existsSync(real))("of pydicom's is read", async () => {
    const { image } = await read(new Uint8Array(await readFile(real)));
    expect([image.levels[0]!.shape, image.channels.length]).toEqual([[256, 256], 3]);
  });
});

test.each([
  ["1.2.840.10008.1.2.4.106", /stored as MPEG-4 video, which is not supported; export its frames/],
  ["1.2.840.10008.1.2.4.107", /stored as HEVC video/],
  ["1.2.840.10008.1.2.4.110", /stored as JPEG XL/],
  ["1.2.840.10008.1.2.4.60", /stored as hierarchical JPEG/],
  ["1.2.840.10008.1.2.4.58", /stored as arithmetic-coded lossless JPEG/],
  ["1.2.840.10008.1.2.4.95", /stored as a reference to a JPIP server/],
  ["1.2.840.10008.1.2.8.1", /stored as deflated frames/],
  ["1.2.840.113619.5.2", /stored as GE's private big-endian/],
  ["1.2.3.4", /stored as the transfer syntax 1\.2\.3\.4, which is not supported/],
  ["constructor", /stored as an unknown encoding/],
])("the unsupported transfer syntax %s is named", async (uid, sentence) => {
  const file = picture({ rows: 1, columns: 1 }, { frames: [[new Uint8Array(8)]], table: "none" }, uid);
  await expect(read(file)).rejects.toThrow(sentence);
});
