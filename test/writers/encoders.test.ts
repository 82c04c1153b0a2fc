import { gunzipSync, inflateSync, crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { decode } from "fast-png";
import { describe, expect, it } from "vitest";
import { crc32 } from "../../src/codecs/checksums.ts";
import { gzipTile, parseGzipTile, zlibTile } from "../../src/writers/base/label-tile.ts";
import { encodePng } from "../../src/writers/png.ts";

describe("encoders", () => {
  it("checksums equal zlib's", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 9000 }), (bytes) => {
        expect(crc32(bytes)).toBe(zlibCrc32(bytes));
        // In two, the second wherever it lies in memory.
        const at = bytes.length >> 1;
        expect(crc32(bytes.subarray(at), crc32(bytes.subarray(0, at)))).toBe(zlibCrc32(bytes));
        // inflateSync checks the Adler-32 that zlibTile wrote.
        expect(Buffer.compare(inflateSync(zlibTile({ data: bytes }, 64)), bytes)).toBe(0);
        expect(Buffer.compare(gunzipSync(gzipTile({ data: bytes }, 64)), bytes)).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  it("a stored tile is read back, and its deflate stream is reused unchanged", () => {
    fc.assert(
      fc.property(fc.uint32Array({ minLength: 64, maxLength: 64 }), (data) => {
        const bytes = gzipTile({ data }, 8);
        const tile = parseGzipTile(bytes, "uint32", 64);
        expect(tile.data).toEqual(data);
        expect(gzipTile(tile, 8)).toEqual(bytes);
        expect(() => parseGzipTile(bytes, "uint32", 63)).toThrow("256 bytes when 252");
        expect(() => parseGzipTile(bytes.subarray(0, bytes.length - 3), "uint32", 64)).toThrow(RangeError);
      }),
      { numRuns: 30 },
    );
  });

  it("a PNG contains the pixels", async () => {
    const pictures = fc
      .tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }))
      .chain(([h, w]) =>
        fc.tuple(fc.constant([h, w, 3]), fc.uint8Array({ minLength: h * w * 3, maxLength: h * w * 3 })),
      );
    await fc.assert(
      fc.asyncProperty(pictures, async ([shape, data]) => {
        const { data: read, width, height, channels } = decode(encodePng({ data, shape }));
        expect([height, width, channels]).toEqual(shape);
        expect(Uint8Array.from(read)).toEqual(data);
      }),
      { numRuns: 40 },
    );
  });
});
