import { ImageFormatError } from "../image/errors.ts";

const CLEAR = 256;
const END = 257;
const FIRST = 258;
const MAX_BITS = 12;

/**
 * TIFF's LZW (TIFF 6.0, section 13: most significant bit first, code width grown one code early), or that of libtiff
 * before 1991: least significant bit first, the width grown when it is needed. Every stream begins with the code
 * that clears the table, which tells the two apart, as in libtiff.
 *
 * Written by hand: geotiff's decoder collects bytes in plain arrays, is twenty times slower, and has no bound.
 * @param expected bytes the tile must unpack to; decoding stops there
 */
export function decodeLzw(input: Uint8Array, expected: number): Uint8Array {
  const old = input[0] === 0 && input.length > 1 && (input[1]! & 1) === 1;
  const early = old ? 0 : 1;
  const out = new Uint8Array(expected);
  // Each code is a range of the output: where it was first written, and its length.
  const start = new Int32Array(1 << MAX_BITS);
  const length = new Int32Array(1 << MAX_BITS);
  let next = FIRST;
  let bits = 9;
  let buffer = 0;
  let held = 0;
  let at = 0;
  let written = 0;
  let previous = -1;
  let previousStart = 0;
  let previousLength = 0;

  while (written < expected) {
    while (held < bits) {
      if (at >= input.length) return out.subarray(0, written);
      buffer = old ? buffer | (input[at++]! << held) : ((buffer << 8) | input[at++]!) & 0xffffff;
      held += 8;
    }
    const code = (old ? buffer : buffer >> (held - bits)) & ((1 << bits) - 1);
    if (old) buffer >>= bits;
    held -= bits;
    if (code === END) break;
    if (code === CLEAR) {
      next = FIRST;
      bits = 9;
      previous = -1;
      continue;
    }
    const from = written;
    if (code < 256) {
      out[written++] = code;
    } else if (code < next && code >= FIRST) {
      written = copy(out, start[code]!, length[code]!, written);
    } else if (code === next && previous >= 0) {
      // The one code that may be used before it is complete: the previous range, followed by its first byte.
      written = copy(out, previousStart, previousLength + 1, written);
    } else {
      throw new ImageFormatError(`an LZW tile is damaged: code ${code} of ${next} was never defined`);
    }
    if (previous >= 0 && next < 1 << MAX_BITS) {
      // The previous range and the first byte of this one are already adjacent in the output.
      start[next] = previousStart;
      length[next] = previousLength + 1;
      next++;
      if (next + early >= 1 << bits && bits < MAX_BITS) bits++;
    }
    previous = code;
    previousStart = from;
    previousLength = written - from;
  }
  return written === expected ? out : out.subarray(0, written);
}

/** Copies byte by byte, since source and target may overlap. Stops at the end of `out`. */
function copy(out: Uint8Array, from: number, count: number, to: number): number {
  const end = Math.min(to + count, out.length);
  while (to < end) out[to++] = out[from++]!;
  return to;
}
