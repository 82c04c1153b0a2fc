import { ImageFormatError } from "../image/errors.ts";
import {
  BLACK_RUNS,
  type CodeTree,
  codeValue,
  HORIZONTAL,
  PASS,
  ROW_MODES,
  WHITE_RUNS,
} from "./fax-codes.ts";

/** Encoding of rows of black and white (TIFF 6.0 sections 10 and 11). */
export interface FaxCoding {
  /** Runs only, rows aligned to bytes; ITU-T T.4 (fax group 3), one or two dimensions; T.6 (group 4). */
  kind: "rle" | "t4" | "t4-2d" | "t6";
  width: number;
  height: number;
}

/**
 * Decodes CCITT fax data (T.4, T.6) to packed rows, one bit for each pixel, white 0.
 *
 * Written by hand: the only maintained decoder is inside a PDF reader.
 * @returns fewer rows than asked for where the data ends early
 * @throws {ImageFormatError} for an invalid code or a row that is too long
 */
export function decodeFax(bytes: Uint8Array, { kind, width, height }: FaxCoding): Uint8Array {
  const stride = Math.ceil(width / 8);
  const out = new Uint8Array(stride * height);
  const bits = new FaxBits(bytes);
  // Positions where the colour changes, white first; the width closes the list.
  let above = Int32Array.of(width, width, width);
  let row = new Int32Array(width + 4);
  for (let y = 0; y < height; y++) {
    if (bits.ended) return out.subarray(0, stride * y);
    let flat = kind === "rle";
    if (kind === "t4" || kind === "t4-2d") {
      const marked = bits.passEndOfLine();
      flat = kind === "t4" || !marked || bits.bit() === 1;
    }
    const changes = flat ? flatRow(bits, row, width) : shiftedRow(bits, row, above, width);
    if (changes < 0) return out.subarray(0, stride * y);
    if (kind === "rle") bits.align();
    paint(out, y * stride * 8, row, changes);
    row.fill(width, changes, changes + 3);
    [above, row] = [row, above.length === row.length ? above : new Int32Array(width + 4)];
  }
  return out;
}

class FaxBits {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get ended(): boolean {
    return this.#at >= 8 * this.#bytes.length;
  }

  /** 0 behind the end; no code consists of zeros only. */
  bit(): number {
    const byte = this.#bytes[this.#at >> 3] ?? 0;
    return (byte >> (7 - (this.#at++ & 7))) & 1;
  }

  align(): void {
    this.#at = (this.#at + 7) & ~7;
  }

  /** Skips eleven zeros or more and a one; false when the next row begins without them. */
  passEndOfLine(): boolean {
    const from = this.#at;
    let zeros = 0;
    while (!this.ended && this.bit() === 0) zeros++;
    if (zeros >= 11) return true;
    this.#at = from;
    return false;
  }

  /** The value of the next code; undefined when there is none. */
  code(tree: CodeTree): number | undefined {
    let node = 0;
    do {
      node = tree[2 * node + this.bit()]!;
      if (node === 0) return undefined;
    } while (node > 0);
    return codeValue(node);
  }

  /** Reads a run: multiples of 64, then the rest. */
  run(tree: CodeTree): number | undefined {
    let total = 0;
    for (;;) {
      const length = this.code(tree);
      if (length === undefined) return undefined;
      total += length;
      if (length < 64) return total;
    }
  }
}

/** Reads alternating runs of white and black. @returns the number of changes, -1 when the data ends */
function flatRow(bits: FaxBits, row: Int32Array, width: number): number {
  let changes = 0;
  for (let at = 0; at < width; ) {
    const run = bits.run(changes % 2 === 0 ? WHITE_RUNS : BLACK_RUNS);
    if (run === undefined) return unknown(bits);
    at = place(row, changes++, at + run, at, width);
  }
  return changes;
}

/** Reads each change relative to those of the row above. @returns the number of changes, -1 when the data ends */
function shiftedRow(bits: FaxBits, row: Int32Array, above: Int32Array, width: number): number {
  let changes = 0;
  let next = 0;
  let at = 0;
  while (at < width) {
    // The next change of the row above from the other colour, behind this position (or at the start of the row).
    next = Math.max(0, next - 2);
    if (next % 2 !== changes % 2) next++;
    while (above[next]! < width && (above[next]! < at || (above[next] === at && (at > 0 || changes > 0))))
      next += 2;
    const mode = bits.code(ROW_MODES);
    if (mode === undefined) return unknown(bits);
    if (mode === PASS) {
      at = above[next]! < width ? above[next + 1]! : width;
      if (at >= width) row[changes++] = width;
    } else if (mode === HORIZONTAL) {
      for (let i = 0; i < 2; i++) {
        const run = bits.run(changes % 2 === 0 ? WHITE_RUNS : BLACK_RUNS);
        if (run === undefined) return unknown(bits);
        at = place(row, changes++, at + run, at, width);
      }
    } else at = place(row, changes++, above[next]! + mode, at, width);
  }
  return changes;
}

function place(row: Int32Array, index: number, to: number, from: number, width: number): number {
  if (to < from || to > width || index > width)
    throw new ImageFormatError(
      `a fax-coded strip is damaged: a row of ${width} pixels has a run up to ${to}`,
    );
  row[index] = to;
  return to;
}

/** Zeros up to the end are padding or the end of data; anything else is an invalid code. */
function unknown(bits: FaxBits): number {
  if (bits.ended) return -1;
  throw new ImageFormatError(
    "a fax-coded strip is damaged, or ends early: it holds a code that does not exist",
  );
}

/** Writes the black runs of a row as packed bits. */
function paint(out: Uint8Array, begin: number, row: Int32Array, changes: number): void {
  for (let i = 0; i + 1 < changes; i += 2) {
    for (let at = begin + row[i]!, end = begin + row[i + 1]!; at < end; ) {
      if ((at & 7) === 0 && at + 8 <= end) {
        out[at >> 3] = 0xff;
        at += 8;
      } else {
        out[at >> 3] = out[at >> 3]! | (0x80 >> (at & 7));
        at++;
      }
    }
  }
}
