import { copyMatch } from "./copy-match.ts";

/** Every match is at least this long (LZ4 block format). */
const MIN_MATCH = 4;

/**
 * Fills `output` from one LZ4 block (https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md).
 *
 * Written by hand: the LZ4 packages accept a truncated block and leave zeros for the rest.
 * @throws {Error} when the block is damaged, cut short, or holds another number of bytes
 */
export function decodeLz4Block(input: Uint8Array, output: Uint8Array): void {
  const end = input.length;
  const limit = output.length;
  let at = 0;
  let to = 0;

  function lengthAt(start: number): number {
    let length = start;
    if (start < 15) return length;
    let more: number;
    do {
      if (at >= end) throw damaged();
      more = input[at++]!;
      length += more;
    } while (more === 255);
    return length;
  }

  while (at < end) {
    const token = input[at++]!;
    const literals = lengthAt(token >> 4);
    if (literals > end - at || literals > limit - to) throw damaged();
    if (literals < 16) for (let i = 0; i < literals; i++) output[to + i] = input[at + i]!;
    else output.set(input.subarray(at, at + literals), to);
    at += literals;
    to += literals;
    // The last sequence has no match, and only a full output makes it the last.
    if (at === end) break;
    if (end - at < 2) throw damaged();
    const distance = input[at]! | (input[at + 1]! << 8);
    at += 2;
    const length = lengthAt(token & 15) + MIN_MATCH;
    if (distance === 0 || distance > to || length > limit - to) throw damaged();
    copyMatch(output, to, distance, length);
    to += length;
  }
  if (to !== limit) throw damaged();
}

function damaged(): Error {
  return new Error("its LZ4 data is damaged or cut short");
}
