import { describe, expect, test } from "vitest";
import { openImage } from "../../src/readers/open-image.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import type { DType, Raster } from "../../src/tiling/grid/raster.ts";
import { type MadePage, makeTiff } from "../builders/make-tiff.ts";
import { pattern } from "../builders/pattern.ts";

async function read(page: MadePage, littleEndian = true) {
  const store = new MemoryStore({ "made.tif": makeTiff([page], { littleEndian }) });
  const image = await openImage(store, "made.tif");
  const size = image.levels[0]!.shape;
  return { image, ...(await image.readRegion(0, { origin: [0, 0], size })) };
}
const short = (...values: number[]) => ({ type: 3, values });
const reversed = (bytes: Uint8Array) =>
  bytes.map((b) => Number.parseInt(b.toString(2).padStart(8, "0").split("").reverse().join(""), 2));

describe("reversed bits of each byte (FillOrder 2)", () => {
  test.each([
    { dtype: "uint8", compression: "none" },
    { dtype: "uint16", compression: "none" },
    { dtype: "uint8", compression: "deflate" },
  ] as const)("%o", async ({ dtype, compression }) => {
    const image = pattern(dtype, [20, 30, 3]);
    const { data } = await read({ image, compression, pack: reversed, override: { 266: short(2) } });
    expect(data).toEqual(image.data);
  });
});

describe("white as 0", () => {
  test.each<[DType, number]>([
    ["uint8", 255],
    ["uint16", 65535],
    ["uint32", 2 ** 32 - 1],
  ])("%s is inverted at %d", async (dtype, max) => {
    const image = pattern(dtype, [8, 9, 1]);
    const { data } = await read({ image, photometric: 0 }, false);
    const wanted = image.data.slice();
    for (let i = 0; i < wanted.length; i++) wanted[i] = max - wanted[i]!;
    expect(data).toEqual(wanted);
  });
});

test.each(["int16", "float32", "float64"] as const)(
  "white as 0 of %s: black is undefined, so values stay as stored, and a warning says so",
  async (dtype) => {
    const image = pattern(dtype, [8, 9, 1]);
    const { data, image: opened } = await read({ image, photometric: 0 });
    expect(data).toEqual(image.data);
    expect(opened.details?.values).toMatch(/^white is 0/);
  },
);

/** Every sample's lowest bits, rows at whole bytes, most significant bit first. */
function packBits(image: Raster, bits: number): Uint8Array {
  const [height, width, samples] = image.shape as [number, number, number];
  const stride = Math.ceil((width * samples * bits) / 8);
  const out = new Uint8Array(stride * height);
  image.data.forEach((value, i) => {
    const row = Math.floor(i / (width * samples));
    const first = (i % (width * samples)) * bits;
    for (let b = 0; b < bits; b++) {
      const at = first + b;
      const bit = Math.floor(value / 2 ** (bits - 1 - b)) % 2;
      out[row * stride + (at >> 3)]! |= bit << (7 - (at & 7));
    }
  });
  return out;
}

describe("samples of other widths", () => {
  test.each([1, 2, 4, 6, 10, 12, 14, 24])("%i bits, packed", async (bits) => {
    const dtype = bits < 8 ? "uint8" : bits < 16 ? "uint16" : "uint32";
    const image = pattern(dtype, [7, 13, 1]);
    image.data.forEach((value, i) => {
      image.data[i] = (value * 37) % 2 ** bits;
    });
    const { data, image: opened } = await read({
      image,
      pack: () => packBits(image, bits),
      override: { 258: short(bits), 279: undefined },
    });
    expect(opened.dtype).toBe(dtype);
    // Fewer than 8 are a picture, whose white stays white.
    const factor = bits < 8 ? 255 / (2 ** bits - 1) : 1;
    expect(Array.from(data)).toEqual(Array.from(image.data, (v) => Math.round(v * factor)));
  });

  test("1 bit is the default, and white may be 0", async () => {
    const image = pattern("uint8", [5, 9, 1]);
    for (let i = 0; i < image.data.length; i++) image.data[i] = i % 3 === 0 ? 1 : 0;
    const { data } = await read({
      image,
      photometric: 0,
      pack: () => packBits(image, 1),
      override: { 258: undefined, 339: undefined },
    });
    expect(Array.from(data)).toEqual(Array.from(image.data, (v) => (v ? 0 : 255)));
  });

  test.each([true, false])("64-bit labels, little-endian %s", async (littleEndian) => {
    const values = [0, 1, 7, 2 ** 40 + 3];
    const wide = (list: readonly (number | bigint)[]) => {
      const view = new DataView(new ArrayBuffer(8 * list.length));
      list.forEach((v, i) => {
        view.setBigUint64(8 * i, BigInt(v), littleEndian);
      });
      return new Uint8Array(view.buffer);
    };
    const image = pattern("uint8", [2, 2, 1]);
    const page = (list: readonly (number | bigint)[]) => ({
      image,
      pack: () => wide(list),
      override: { 258: short(64), 279: undefined },
    });
    const { data, image: opened } = await read(page(values), littleEndian);
    expect([opened.dtype, Array.from(data)]).toEqual(["float64", values]);
    await expect(read(page([0, 1, 2, 2n ** 60n]), littleEndian)).rejects.toThrow(
      /a 64-bit sample is beyond 9007199254740991/,
    );
  });

  test("half floats", async () => {
    const halves = [0x0000, 0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00];
    const image: Raster = { data: Uint16Array.from(halves), shape: [2, 3, 1] };
    const { data, image: opened } = await read({ image, override: { 339: short(3) } });
    expect(opened.dtype).toBe("float32");
    expect(Array.from(data)).toEqual([0, 1, -2, 65504, 2 ** -24, Number.POSITIVE_INFINITY]);
  });
});

describe("tiles that the file omits have GDAL's no-data value", () => {
  test.each<[DType, string, number]>([
    ["uint16", "65535", 65535],
    ["int16", "-9999", -9999],
    ["float32", "nan", Number.NaN],
    // What the type cannot hold is none of its values.
    ["uint8", "-9999", 0],
    ["uint8", "not a number", 0],
  ])("%s %s", async (dtype, noData, value) => {
    const image = pattern(dtype, [16, 32, 1]);
    const bytes = makeTiff([{ image, tile: [16, 16], override: { 42113: noData } }]);
    const view = new DataView(bytes.buffer);
    const first = view.getUint32(4, true);
    for (let i = 0; i < view.getUint16(first, true); i++) {
      const at = first + 2 + 12 * i;
      const tag = view.getUint16(at, true);
      if (tag === 324 || tag === 325) view.setUint32(view.getUint32(at + 8, true) + 4, 0, true);
    }
    const opened = await openImage(new MemoryStore({ "made.tif": bytes }), "made.tif");
    const { data } = await opened.readRegion(0, { origin: [0, 0], size: [1, 32] });
    expect(data[0]).toBe(image.data[0]);
    expect(Array.from(data.subarray(16))).toEqual(new Array(16).fill(value));
  });
});

describe("colour maps", () => {
  const indices = (dtype: "uint8" | "uint16", entries: number): Raster => {
    const image = pattern(dtype, [9, 11, 1]);
    for (let i = 0; i < image.data.length; i++) image.data[i] = (i * 7) % entries;
    return image;
  };
  const map = (entries: number, color: (c: number, i: number) => number) => ({
    type: 3,
    values: [0, 1, 2].flatMap((c) => Array.from({ length: entries }, (_, i) => color(c, i))),
  });
  const odd = (c: number, i: number) => [i, 255 - i, i ^ 85][c]! & 255;

  test.each([
    ["16-bit colours", 257],
    ["8-bit colours in 16-bit form", 1],
  ])("of 8 bits with %s", async (_, factor) => {
    const image = indices("uint8", 256);
    const override = { 320: map(256, (c, i) => odd(c, i) * factor) };
    const { data, image: opened } = await read({ image, photometric: 3, override });
    expect([opened.dtype, opened.channels.length]).toEqual(["uint8", 3]);
    expect(Array.from(data)).toEqual(Array.from(image.data).flatMap((i) => [0, 1, 2].map((c) => odd(c, i))));
  });

  test("of 16 bits: the declared type is that of the result", async () => {
    const image = indices("uint16", 65536);
    const override = { 320: map(65536, (c, i) => (i * (c + 1) * 977) & 0xffff) };
    const { data, image: opened } = await read({ image, photometric: 3, override });
    expect([opened.dtype, data.constructor]).toEqual(["uint8", Uint8Array]);
    expect(data[5]).toBe(((image.data[1]! * 3 * 977) & 0xffff) >> 8);
  });

  test("an even ramp from black means a grey image displayed in a colour", async () => {
    const image = indices("uint8", 256);
    const override = { 320: map(256, (c, i) => (c === 1 ? i * 257 : c === 2 ? i * 128 : 0)) };
    const { data, image: opened } = await read({ image, photometric: 3, override });
    expect(opened.channels).toEqual([{ color: "#00ff7f" }]);
    expect(data).toEqual(image.data);
  });

  test("a missing one is reported", async () => {
    await expect(read({ image: indices("uint8", 9), photometric: 3 })).rejects.toThrow(
      "its colour map is missing",
    );
  });
});

describe("tags of old and unusual writers", () => {
  const image = pattern("uint8", [32, 32, 3]);
  const swap = (bytes: Uint8Array, from: number, to: number) => {
    const view = new DataView(bytes.buffer);
    const first = view.getUint32(4, true);
    for (let i = 0; i < view.getUint16(first, true); i++) {
      const at = first + 2 + 12 * i;
      if (view.getUint16(at, true) === from) view.setUint16(at, to, true);
    }
  };
  const open = async (bytes: Uint8Array) => {
    const opened = await openImage(new MemoryStore({ "made.tif": bytes }), "made.tif");
    return (await opened.readRegion(0, { origin: [0, 0], size: [32, 32] })).data;
  };

  test("tiles under the tags of strips", async () => {
    const bytes = makeTiff([{ image, tile: [16, 16], compression: "deflate" }]);
    swap(bytes, 324, 273);
    swap(bytes, 325, 279);
    expect(await open(bytes)).toEqual(image.data);
  });

  test("tags of unknown types, and damage in unused tags", async () => {
    const bytes = makeTiff([{ image, override: { 65000: { type: 99, values: [1, 2, 3] }, 305: "nobody" } }]);
    const view = new DataView(bytes.buffer);
    const first = view.getUint32(4, true);
    for (let i = 0; i < view.getUint16(first, true); i++) {
      const at = first + 2 + 12 * i;
      if (view.getUint16(at, true) === 305) view.setUint32(at + 8, 2 ** 31, true);
    }
    expect(await open(bytes)).toEqual(image.data);
  });

  test("one coded strip without its size", async () => {
    const bytes = makeTiff([{ image, compression: "deflate", override: { 279: undefined } }]);
    expect(await open(bytes)).toEqual(image.data);
  });
});
