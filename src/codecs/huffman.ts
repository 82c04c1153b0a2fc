/**
 * Lengths of an optimal prefix code in which no symbol takes more than `limit` bits: the package-merge algorithm
 * (Larmore and Hirschberg, 1990). A symbol that never occurs has length 0; the only symbol has length 1.
 *
 * Written by hand: part of the compressor in label-deflate.ts.
 */
export function codeLengths(counts: ArrayLike<number>, limit: number): Uint8Array {
  const lengths = new Uint8Array(counts.length);
  const symbols: number[] = [];
  for (let s = 0; s < counts.length; s++) if (counts[s]! > 0) symbols.push(s);
  symbols.sort((a, b) => counts[a]! - counts[b]! || a - b);
  if (symbols.length === 1) lengths[symbols[0]!] = 1;
  if (symbols.length < 2) return lengths;
  // Each level lists the symbols and the pairs of the level before, by weight. What is chosen from the last level is
  // chosen in those below.
  const levels: boolean[][] = [];
  let weights: number[] = [];
  for (let level = 0; level < limit; level++) {
    const merged: number[] = [];
    const isSymbol: boolean[] = [];
    for (let s = 0, p = 0; s < symbols.length || p + 1 < weights.length; ) {
      const symbol = s < symbols.length ? counts[symbols[s]!]! : Number.POSITIVE_INFINITY;
      const pair = p + 1 < weights.length ? weights[p]! + weights[p + 1]! : Number.POSITIVE_INFINITY;
      isSymbol.push(symbol <= pair);
      merged.push(Math.min(symbol, pair));
      if (symbol <= pair) s++;
      else p += 2;
    }
    levels.push(isSymbol);
    weights = merged;
  }
  for (let level = limit - 1, take = 2 * symbols.length - 2; level >= 0; level--) {
    let chosen = 0;
    for (let i = 0; i < take; i++) if (levels[level]![i]) lengths[symbols[chosen++]!]!++;
    take = 2 * (take - chosen);
  }
  return lengths;
}

/** Canonical codes for these lengths (RFC 1951, 3.2.2), with reversed bits, as DEFLATE sends them. */
export function canonicalCodes(lengths: Uint8Array): Uint16Array {
  const next = new Uint16Array(17);
  for (const length of lengths) if (length > 0) next[length + 1]!++;
  for (let length = 1; length < 17; length++) next[length] = (next[length]! + next[length - 1]!) << 1;
  return Uint16Array.from(lengths, (length) => (length === 0 ? 0 : reversed(next[length]!++, length)));
}

function reversed(code: number, length: number): number {
  let out = 0;
  for (let bit = 0; bit < length; bit++) out |= ((code >> bit) & 1) << (length - 1 - bit);
  return out;
}
