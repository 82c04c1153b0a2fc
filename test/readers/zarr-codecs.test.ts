import fc from "fast-check";
import Blosc from "numcodecs/blosc";
import LZ4 from "numcodecs/lz4";
import Zstd from "numcodecs/zstd";
import { describe, expect, test } from "vitest";
import { decodeBlosc } from "../../src/codecs/blosc.ts";
import { decodeBloscLz } from "../../src/codecs/blosclz.ts";
import { decodeLz4Block } from "../../src/codecs/lz4.ts";
import { loadZstd } from "../../src/codecs/zstd.ts";

/** Bytes as images have them: runs, slopes and noise in turns. */
const samples = fc
  .array(fc.tuple(fc.constantFrom("run", "slope", "noise"), fc.nat(255), fc.integer({ min: 1, max: 900 })), {
    maxLength: 12,
  })
  .map((parts) => {
    let state = 1;
    const noise = () => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return state >>> 16;
    };
    return Uint8Array.from(
      parts.flatMap(([kind, value, length]) =>
        Array.from({ length }, (_, i) => (kind === "run" ? value : kind === "slope" ? value + i : noise())),
      ),
    );
  });

const COMPRESSORS = ["blosclz", "lz4", "lz4hc", "zlib", "zstd"] as const;
const blosc = fc.record({
  cname: fc.constantFrom(...COMPRESSORS),
  clevel: fc.constantFrom(0, 1, 5, 9),
  shuffle: fc.constantFrom(0, 1, 2),
  blocksize: fc.constantFrom(0, 256, 1024, 4096),
});

const encodeBlosc = (bytes: Uint8Array, config: Parameters<typeof Blosc.fromConfig>[0]) =>
  Promise.resolve(Blosc.fromConfig(config).encode(bytes));
const lz4Of = async (bytes: Uint8Array) => (await LZ4.fromConfig({}).encode(bytes)).subarray(4);

describe("data of c-blosc, liblz4 and libzstd is unpacked exactly", () => {
  test("blosc", async () => {
    await fc.assert(
      fc.asyncProperty(samples, blosc, async (bytes, config) => {
        const packed = await encodeBlosc(bytes, config);
        expect(await decodeBlosc(packed, bytes.length)).toEqual(bytes);
      }),
      { numRuns: 300 },
    );
  });

  test("lz4", async () => {
    await fc.assert(
      fc.asyncProperty(samples, async (bytes) => {
        const output = new Uint8Array(bytes.length);
        decodeLz4Block(await lz4Of(bytes), output);
        expect(output).toEqual(bytes);
      }),
      { numRuns: 300 },
    );
  });

  test("zstd, whole and in two frames", async () => {
    const unzstd = await loadZstd();
    await fc.assert(
      fc.asyncProperty(samples, fc.constantFrom(1, 3, 19), async (bytes, level) => {
        const packed = await Zstd.fromConfig({ level }).encode(bytes);
        expect(unzstd(packed, bytes.length)).toEqual(bytes);
        expect(unzstd(packed, bytes.length + 1000)).toEqual(bytes);
        const twice = Uint8Array.of(...packed, ...packed);
        expect(unzstd(twice, 2 * bytes.length)).toEqual(Uint8Array.of(...bytes, ...bytes));
      }),
    );
  });
});

describe("damaged data is rejected", () => {
  const BYTES = Uint8Array.from({ length: 3000 }, (_, i) => (i % 700 < 300 ? i >> 3 : (i * i) >> 4));

  test.each(COMPRESSORS)("blosc with %s, cut anywhere", async (cname) => {
    const packed = await encodeBlosc(BYTES, { cname, clevel: 5, shuffle: 0, blocksize: 1024 });
    for (let length = 0; length < packed.length; length += 7) {
      await expect(decodeBlosc(packed.subarray(0, length), BYTES.length)).rejects.toThrow(
        /its Blosc data is damaged or cut short/,
      );
      // As above, and its header says so.
      const shorter = packed.slice(0, length);
      if (length < 16) continue;
      new DataView(shorter.buffer).setUint32(12, length, true);
      await expect(decodeBlosc(shorter, BYTES.length), `${length}`).rejects.toThrow(/is damaged/);
    }
  });

  test("lz4, blosclz and zstd, cut anywhere", async () => {
    const lz4 = await lz4Of(BYTES);
    for (let length = 0; length < lz4.length; length++) {
      const output = new Uint8Array(BYTES.length);
      expect(() => decodeLz4Block(lz4.subarray(0, length), output), `${length}`).toThrow(
        /LZ4 data is damaged/,
      );
    }
    const inBlosc = await encodeBlosc(BYTES, { cname: "blosclz", clevel: 9, shuffle: 0, blocksize: 0 });
    // Of samples of four bytes, as numcodecs has them, a block is four streams: this is the first.
    const stream = inBlosc.subarray(24, 24 + new DataView(inBlosc.buffer).getUint32(20, true));
    const output = new Uint8Array(BYTES.length / 4);
    decodeBloscLz(stream, output);
    expect(output).toEqual(BYTES.subarray(0, output.length));
    for (let length = 0; length < stream.length; length++) {
      expect(() => decodeBloscLz(stream.subarray(0, length), output), `${length}`).toThrow(/BloscLZ data/);
    }
    const zstd = await Zstd.fromConfig({ level: 3 }).encode(BYTES);
    const unzstd = await loadZstd();
    for (let length = 1; length < zstd.length; length++) {
      expect(() => unzstd(zstd.subarray(0, length), BYTES.length), `${length}`).toThrow(/Zstandard data/);
    }
  });

  test("a flipped bit gives an error or other samples, never more of them and never another error", async () => {
    await fc.assert(
      fc.asyncProperty(samples, blosc, fc.nat(), fc.nat(7), async (bytes, config, at, bit) => {
        const packed = (await encodeBlosc(bytes, config)).slice();
        packed[at % packed.length]! ^= 1 << bit;
        const unpacked = await decodeBlosc(packed, bytes.length).catch((error) => error);
        if (!(unpacked instanceof Uint8Array)) expect(unpacked.message).toMatch(/^its .* data /);
        else expect(unpacked.length).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 500 },
    );
  });

  test("a wrong checksum of Zstandard", async () => {
    const unzstd = await loadZstd();
    // `numcodecs.Zstd(level=3, checksum=True).encode(b"tile" * 40)`
    const packed = Uint8Array.from(atob("KLUv/SSgXQAAIHRpbGUBAJkpRwTHDBh2"), (c) => c.charCodeAt(0));
    const whole = new TextEncoder().encode("tile".repeat(40));
    expect(unzstd(packed, 160)).toEqual(whole);
    packed[packed.length - 1]! ^= 1;
    expect(() => unzstd(packed, 160)).toThrow(/Zstandard data is damaged/);
  });
});

describe("no more is allocated than a chunk needs", () => {
  const BOMB = new Uint8Array(1 << 20);

  test.each(COMPRESSORS)("blosc with %s", async (cname) => {
    const packed = (await encodeBlosc(BOMB, { cname, clevel: 9, shuffle: 0, blocksize: 0 })).slice();
    await expect(decodeBlosc(packed, BOMB.length - 1)).rejects.toThrow(/states more than the 1048575 bytes/);
    // It states little and holds much.
    new DataView(packed.buffer).setUint32(4, 4096, true);
    new DataView(packed.buffer).setUint32(8, 4096, true);
    await expect(decodeBlosc(packed, BOMB.length)).rejects.toThrow(/its .* data /);
  });

  test("lz4 and zstd", async () => {
    const lz4 = await lz4Of(BOMB);
    expect(() => decodeLz4Block(lz4, new Uint8Array(4096))).toThrow(/LZ4 data is damaged/);
    const unzstd = await loadZstd();
    const zstd = await Zstd.fromConfig({ level: 3 }).encode(BOMB);
    expect(() => unzstd(zstd, 4096)).toThrow(/states more than the 4096 bytes/);
    // A frame that states nothing: a window, and one block of a repeated byte (RFC 8878 section 3.1.1.2).
    const silent = Uint8Array.of(
      0x28,
      0xb5,
      0x2f,
      0xfd,
      0,
      0x58,
      0x03,
      0x00,
      0x08,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
    );
    expect(() => unzstd(silent, 4096)).toThrow(/Zstandard data/);
  });

  test("after a large chunk, whose heap is dropped", async () => {
    const big = new Uint8Array(12 << 20).fill(7);
    const packed = await Zstd.fromConfig({ level: 1 }).encode(big);
    const before = await loadZstd();
    expect(before(packed, big.length).length).toBe(big.length);
    expect(Buffer.compare((await loadZstd())(packed, big.length), big)).toBe(0);
  });
});

test.each([
  ["of Blosc 2", [5, 1, 0x21, 1], /of format version 5, and 2 is read/],
  ["in Snappy", [2, 1, 0x40, 1], /compressed with Snappy/],
  ["in what nobody knows", [2, 1, 0xe0, 1], /in an unknown way \(7\)/],
  ["with samples of no bytes", [2, 1, 0x21, 0], /damaged or cut short/],
])("a buffer %s is distinguished from a damaged one", async (_, head, pattern) => {
  const bytes = new Uint8Array(64);
  bytes.set(head);
  const view = new DataView(bytes.buffer);
  view.setUint32(4, 32, true);
  view.setUint32(8, 32, true);
  view.setUint32(12, 64, true);
  await expect(decodeBlosc(bytes, 1000)).rejects.toThrow(pattern);
});
