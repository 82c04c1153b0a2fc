import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeFax, type FaxCoding } from "../../src/codecs/fax.ts";
import {
  BLACK_RUNS,
  type CodeTree,
  codeValue,
  HORIZONTAL,
  PASS,
  ROW_MODES,
  WHITE_RUNS,
} from "../../src/codecs/fax-codes.ts";
import { ImageFormatError } from "../../src/image/errors.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { makeTiff } from "../builders/make-tiff.ts";
import { pattern } from "../builders/pattern.ts";

/** Codes by value; that the values are those of the standard is for Python to tell (`pictures/`). */
function codesOf(tree: CodeTree): Map<number, string> {
  const codes = new Map<number, string>();
  const walk = (node: number, code: string) => {
    for (const bit of [0, 1]) {
      const next = tree[2 * node + bit]!;
      if (next > 0) walk(next, code + bit);
      else if (next < 0) codes.set(codeValue(next), code + bit);
    }
  };
  walk(0, "");
  return codes;
}
const WHITE = codesOf(WHITE_RUNS);
const BLACK = codesOf(BLACK_RUNS);
const MODES = codesOf(ROW_MODES);

function run(length: number, color: number): string {
  const codes = color === 0 ? WHITE : BLACK;
  let out = "";
  let left = length;
  for (; left >= 2624; left -= 2560) out += codes.get(2560);
  if (left >= 64) out += codes.get(left - (left % 64));
  return out + codes.get(left % 64);
}

/** Where the colour changes from that at `from`, which is white in front of the row. */
function nextChange(row: number[], from: number, color: number): number {
  let at = from;
  while (at < row.length && row[at] === color) at++;
  return at;
}

function flat(row: number[]): string {
  let out = "";
  let color = 0;
  for (let at = 0; at < row.length; color ^= 1) {
    const end = nextChange(row, at, color);
    out += run(end - at, color);
    at = end;
  }
  return out;
}

/** ITU-T T.4, section 4.2.1.3.2, word for word. */
function shifted(row: number[], above: number[]): string {
  let out = "";
  let a0 = -1;
  let color = 0;
  while (a0 < row.length) {
    const a1 = nextChange(row, Math.max(a0, 0), color);
    let b1 = a0 + 1;
    const at = (i: number) => (i < 0 ? 0 : above[i]!);
    while (b1 < row.length && !(at(b1) !== at(b1 - 1) && at(b1) !== color)) b1++;
    const b2 = b1 < row.length ? nextChange(above, b1, above[b1]!) : row.length;
    if (b2 < a1) {
      out += MODES.get(PASS);
      a0 = b2;
    } else if (Math.abs(a1 - b1) <= 3) {
      out += MODES.get(a1 - b1);
      a0 = a1;
      color ^= 1;
    } else {
      const a2 = nextChange(row, a1, color ^ 1);
      out += MODES.get(HORIZONTAL)! + run(a1 - Math.max(a0, 0), color) + run(a2 - a1, color ^ 1);
      a0 = a2;
    }
  }
  return out;
}

function encode(rows: number[][], kind: FaxCoding["kind"]): Uint8Array {
  const eol = "000000000001";
  let bits = "";
  let above = rows[0]!.map(() => 0);
  rows.forEach((row, y) => {
    if (kind === "rle") bits += flat(row).padEnd(8 * Math.ceil(flat(row).length / 8), "0");
    if (kind === "t4") bits += (y % 2 === 0 ? "000" : "") + eol + flat(row);
    if (kind === "t4-2d") bits += eol + (y % 3 === 0 ? `1${flat(row)}` : `0${shifted(row, above)}`);
    if (kind === "t6") bits += shifted(row, above);
    above = row;
  });
  if (kind === "t6") bits += eol + eol;
  return Uint8Array.from(bits.match(/.{1,8}/g)!, (byte) => Number.parseInt(byte.padEnd(8, "0"), 2));
}

function packed(rows: number[][]): Uint8Array {
  const text = rows.map((row) => row.join("").padEnd(8 * Math.ceil(row.length / 8), "0")).join("");
  return Uint8Array.from(text.match(/.{8}/g)!, (byte) => Number.parseInt(byte, 2));
}

const KINDS = ["rle", "t4", "t4-2d", "t6"] as const;
/** Rows of runs, many of them like the row above. */
const picture = fc
  .tuple(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 6 }))
  .chain(([width, height]) =>
    fc
      .array(fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 12 }), {
        minLength: height,
        maxLength: height,
      })
      .map((all) =>
        all.map((lengths) => {
          const row = lengths.flatMap((length, i) => new Array<number>(length).fill(i % 2));
          return Array.from({ length: width }, (_, x) => row[x] ?? 0);
        }),
      ),
  );

describe("decodeFax", () => {
  test.each(KINDS)("%s: decodes what was encoded", (kind) => {
    fc.assert(
      fc.property(picture, (rows) => {
        const about = { kind, width: rows[0]!.length, height: rows.length };
        expect(decodeFax(encode(rows, kind), about)).toEqual(packed(rows));
      }),
      { seed: 11, numRuns: 300 },
    );
  });

  test.each(KINDS)("%s: rows of thousands of pixels", (kind) => {
    for (const width of [2559, 2560, 2624, 9000]) {
      const rows = [0, 1, 0].map((color) => new Array<number>(width).fill(color));
      expect(decodeFax(encode(rows, kind), { kind, width, height: 3 })).toEqual(packed(rows));
    }
  });

  test.each(KINDS)("%s: gives rows or an ImageFormatError for any bytes", (kind) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: 1, max: 90 }), (bytes, width) => {
        try {
          expect(decodeFax(bytes, { kind, width, height: 9 }).length).toBeLessThanOrEqual(
            9 * Math.ceil(width / 8),
          );
        } catch (error) {
          expect(error).toBeInstanceOf(ImageFormatError);
        }
      }),
      { seed: 12, numRuns: 500 },
    );
  });
});

test.each([
  [2, "rle"],
  [3, "t4"],
  [4, "t6"],
] as const)("a mask of compression %i is read as black and white", async (compression, kind) => {
  const rows = Array.from({ length: 20 }, (_, y) =>
    Array.from({ length: 30 }, (_, x) => ((x * y) % 7 < 3 ? 1 : 0)),
  );
  const image = pattern("uint8", [20, 30, 1]);
  const bytes = makeTiff([
    {
      image,
      photometric: 0,
      pack: () => encode(rows, kind),
      override: { 258: undefined, 259: { type: 3, values: [compression] } },
    },
  ]);
  const opened = await openImage(new MemoryStore({ "made.tif": bytes }), "made.tif");
  const { data } = await opened.readRegion(0, { origin: [0, 0], size: [20, 30] });
  expect(Array.from(data)).toEqual(rows.flat().map((bit) => (bit ? 0 : 255)));
});
