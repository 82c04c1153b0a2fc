/**
 * Four bytes a word, for loops over planes of bytes; undefined where they do not lie so. Which byte comes first is the
 * machine's affair: whoever goes through them lane by lane writes them back in the same places.
 */
export function byteWords(bytes: Uint8Array, plane: number): Uint32Array | undefined {
  if (plane % 4 !== 0 || bytes.byteOffset % 4 !== 0) return undefined;
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
}

/** Bytes 0 and 2 of a word in lanes of 16 bits; those of `word >>> 8` are the others. */
export const LANES = 0x00ff00ff;
/** 1 in both lanes. */
export const ONES = 0x00010001;
