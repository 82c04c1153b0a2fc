import { copyMatch } from "./copy-match.ts";

/** Distances up to here take 13 bits; longer ones are stored in two more bytes. */
const NEAR_DISTANCE = 8191;

/**
 * Fills `output` from one stream of BloscLZ, after c-blosc's `blosclz_decompress`:
 * https://github.com/Blosc/c-blosc/blob/main/blosc/blosclz.c
 *
 * Written by hand: only Blosc uses this format, see blosc.ts.
 * @throws {Error} when the stream is damaged, cut short, or holds another number of bytes
 */
export function decodeBloscLz(input: Uint8Array, output: Uint8Array): void {
  const end = input.length;
  const limit = output.length;
  let at = 0;
  let to = 0;

  function next(): number {
    if (at >= end) throw damaged();
    return input[at++]!;
  }

  // The first instruction is always a run of literals.
  let control = next() & 31;
  while (true) {
    if (control >= 32) {
      let length = (control >> 5) - 1;
      if (length === 6) {
        let more: number;
        do {
          more = next();
          length += more;
        } while (more === 255);
      }
      const high = (control & 31) << 8;
      const low = next();
      let distance = high + low + 1;
      if (low === 255 && high === 31 << 8) distance = (next() << 8) + next() + NEAR_DISTANCE + 1;
      length += 3;
      if (distance > to || length > limit - to) throw damaged();
      copyMatch(output, to, distance, length);
      to += length;
    } else {
      const literals = control + 1;
      if (literals > end - at || literals > limit - to) throw damaged();
      for (let i = 0; i < literals; i++) output[to + i] = input[at + i]!;
      at += literals;
      to += literals;
    }
    if (at >= end) break;
    control = input[at++]!;
  }
  if (to !== limit) throw damaged();
}

function damaged(): Error {
  return new Error("its BloscLZ data is damaged or cut short");
}
