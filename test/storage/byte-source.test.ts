import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ImageFormatError } from "../../src/image/errors.ts";
import { type ByteRange, ByteSource } from "../../src/storage/byte-source.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";

const SIZE = 300_000;
const content = Uint8Array.from({ length: SIZE }, (_, i) => (i * 31 + (i >> 8)) & 255);

/** A source that counts requests. */
async function counting() {
  const store = new MemoryStore({ a: content });
  const ranges: ByteRange[] = [];
  const getRange = store.getRange.bind(store);
  store.getRange = (key, offset, length, options) => {
    ranges.push({ offset, length });
    return getRange(key, offset, length, options);
  };
  return { ranges, source: new ByteSource(store, "a", (await store.head("a"))!) };
}

const rangeIn = fc
  .tuple(fc.nat(SIZE), fc.nat(100_000))
  .map(([offset, length]) => ({ offset, length: Math.min(length, SIZE - offset) }));

describe("ByteSource", () => {
  test("reads the object's bytes, by both methods", async () => {
    const { source } = await counting();
    await fc.assert(
      fc.asyncProperty(fc.array(rangeIn, { maxLength: 6 }), async (ranges) => {
        const expected = ranges.map(({ offset, length }) => content.subarray(offset, offset + length));
        const apart = await source.readRanges(ranges);
        expect(apart.every((b, i) => Buffer.compare(b, expected[i]!) === 0)).toBe(true);
        for (const [i, { offset, length }] of ranges.entries()) {
          expect(Buffer.compare(await source.read(offset, length), expected[i]!)).toBe(0);
        }
      }),
      { numRuns: 40 },
    );
  });

  test("small reads share a block", async () => {
    const { source, ranges } = await counting();
    await source.read(0, 8);
    await source.read(100, 500);
    await source.read(65_000, 100);
    expect(ranges).toEqual([{ offset: 0, length: 65_536 }]);
    expect(source.bytesRead).toBe(65_536);
  });

  test("close ranges share a request, far ones do not, and order is kept", async () => {
    const { source, ranges } = await counting();
    const [late, early, far] = await source.readRanges([
      { offset: 1500, length: 100 },
      { offset: 1000, length: 100 },
      { offset: 200_000, length: 10 },
    ]);
    expect(ranges).toEqual([
      { offset: 1000, length: 600 },
      { offset: 200_000, length: 10 },
    ]);
    expect(late![0]).toBe(content[1500]);
    expect(early![0]).toBe(content[1000]);
    expect(far![0]).toBe(content[200_000]);
  });

  test("a range beyond the end means a damaged file", async () => {
    const { source } = await counting();
    await expect(source.read(SIZE - 5, 10)).rejects.toThrow(ImageFormatError);
    await expect(source.readRanges([{ offset: SIZE, length: 1 }])).rejects.toThrow(
      "a is cut short or damaged: it points to bytes 300000 to 300001 but ends at 300000; copy the file again",
    );
    await expect(source.read(-1, 1)).rejects.toThrow(ImageFormatError);
    expect(await source.readUpTo(SIZE - 5, 10)).toHaveLength(5);
  });
});

describe("ByteSource.readWithin", () => {
  test("reads the wider range once, and nothing else", async () => {
    const { source, ranges } = await counting();
    await fc.assert(
      fc.asyncProperty(rangeIn, fc.nat(2000), fc.nat(2000), async ({ offset, length }, before, after) => {
        const from = Math.max(0, offset - before);
        const around = { offset: from, length: offset - from + length + after };
        const asked = ranges.length;
        const expected = content.subarray(offset, offset + length);
        for (let time = 0; time < 2; time++)
          expect(Buffer.compare(await source.readWithin({ offset, length }, around), expected)).toBe(0);
        for (const range of ranges.slice(asked)) {
          expect(range.offset).toBe(from);
          expect(range.length).toBe(Math.min(around.length, SIZE - from));
        }
        if (around.length <= 65_536) expect(ranges.length - asked).toBeLessThanOrEqual(1);
      }),
      { numRuns: 100 },
    );
  });

  test("ranges inside blocks that were read need no request", async () => {
    const { source, ranges } = await counting();
    await source.read(0, 8);
    await source.readRanges([{ offset: 60_000, length: 5000 }]);
    await source.readWithin({ offset: 10, length: 10 }, { offset: 0, length: 1024 });
    expect(ranges).toHaveLength(1);
  });
});
