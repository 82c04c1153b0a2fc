import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { deflateSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeBlockJpeg } from "../builders/make-jpeg.ts";
import { makeTiff } from "../builders/make-tiff.ts";
import { pattern } from "../builders/pattern.ts";

// Slow: each case decodes a picture of 70 megabytes in a process of its own.
const SIDE = 4864;
const DECODED = SIDE * SIDE * 3;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "tilewright-peak-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** One strip of even grey, packed. */
function tiff(side: number, compression: number, packed: Uint8Array): Uint8Array {
  const long = (value: number) => ({ type: 4, values: [value] });
  return makeTiff([
    {
      image: pattern("uint8", [1, 1, 3]),
      pack: () => packed,
      override: {
        256: long(side),
        257: long(side),
        259: { type: 3, values: [compression] },
        278: long(side),
      },
    },
  ]);
}

/** Runs of 128 of the same byte. */
const packBits = (side: number) => {
  const runs = Math.ceil((side * side * 3) / 128);
  return Uint8Array.from({ length: 2 * runs }, (_, i) => (i % 2 === 0 ? 129 : 80));
};

/** RGB with alpha, of rows that are all the same. */
function png(side: number): Uint8Array {
  const chunk = (type: string, data: Uint8Array) => {
    const out = Buffer.alloc(12 + data.length);
    out.writeUInt32BE(data.length);
    out.write(type, 4, "latin1");
    out.set(data, 8);
    return out;
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side);
  header.writeUInt32BE(side, 4);
  header.set([8, 6], 8);
  const magic = Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]);
  const rows = deflateSync(new Uint8Array(side * (1 + 4 * side)), { level: 1 });
  return Buffer.concat([magic, chunk("IHDR", header), chunk("IDAT", rows), chunk("IEND", new Uint8Array(0))]);
}

/** Blocks without differences are bits of 0: five for each DC and each end of block. */
function jpeg(side: number): Uint8Array {
  const small = makeBlockJpeg({ width: 8, height: 8, components: 3 }, () => 128);
  const frame = small.findIndex((b, i) => b === 0xff && small[i + 1] === 0xc0);
  const view = new DataView(small.buffer);
  view.setUint16(frame + 5, side);
  view.setUint16(frame + 7, side);
  const scan = small.findIndex((b, i) => b === 0xff && small[i + 1] === 0xda);
  const head = small.subarray(0, scan + 2 + view.getUint16(scan + 2));
  const body = new Uint8Array(Math.ceil(((side / 8) ** 2 * 30) / 8));
  return Buffer.concat([head, body, Uint8Array.of(0xff, 0xd9)]);
}

const deflated = (side: number) => deflateSync(new Uint8Array(side * side * 3), { level: 1 });

describe("a decompression bomb takes little more memory than the limit", () => {
  // Beside the picture there is what is garbage and not yet collected; the JPEG codec holds one more.
  test.each<[string, (side: number) => Uint8Array, number]>([
    ["PackBits", (side) => tiff(side, 32773, packBits(side)), 1.5],
    ["Deflate", (side) => tiff(side, 8, deflated(side)), 1.5],
    ["PNG", png, 1.8],
    ["JPEG", jpeg, 2.5],
    ["JPEG in TIFF", (side) => tiff(side, 7, jpeg(side)), 2.5],
  ])("%s", { timeout: 300_000 }, async (name, make, times) => {
    await writeFile(path.join(folder, `${name}.small`), make(64));
    const large = make(SIDE);
    expect(large.length).toBeLessThan(4 << 20);
    await writeFile(path.join(folder, `${name}.large`), large);
    // On a loaded machine garbage may wait longer for its collector: the least of three is what is needed.
    let kibibytes = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 3; i++) {
      const { stdout } = await promisify(execFile)(process.execPath, [
        path.join(import.meta.dirname, "peak-child.ts"),
        ...[folder, `${name}.small`, `${name}.large`],
      ]);
      kibibytes = Math.min(kibibytes, JSON.parse(stdout).kibibytes);
    }
    expect(kibibytes * 1024).toBeGreaterThan(0.9 * DECODED);
    expect(kibibytes * 1024).toBeLessThan(times * DECODED + (48 << 20));
  });
});
