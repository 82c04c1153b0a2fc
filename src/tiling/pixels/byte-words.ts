/**
 * Views bytes as words of four, for loops over planes of bytes; undefined if they are not aligned. Independent of
 * endianness: lanes are written back to the places they were read from.
 */
export function byteWords(bytes: Uint8Array, plane: number): Uint32Array | undefined {
  if (plane % 4 !== 0 || bytes.byteOffset % 4 !== 0) return undefined;
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
}

/** Mask of bytes 0 and 2 of a word as lanes of 16 bits; `word >>> 8` gives the other two. */
export const LANES = 0x00ff00ff;
/** 1 in both lanes. */
export const ONES = 0x00010001;
