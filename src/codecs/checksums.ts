/**
 * Sixteen tables of 256 for CRC-32 (RFC 1952 section 8): sixteen bytes a step.
 *
 * Written by hand: `zlib.crc32` is in Node alone, and the label writers run in Workers too.
 */
const CRC_TABLES = crcTables();

function crcTables(): Int32Array {
  const tables = new Int32Array(16 * 256);
  for (let n = 0; n < 256; n++) {
    let c = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
    tables[n] = c;
  }
  for (let at = 256; at < tables.length; at++) {
    const before = tables[at - 256]!;
    tables[at] = tables[before & 255]! ^ (before >>> 8);
  }
  return tables;
}

/** Effect of the four bytes of a word on a CRC when `after` bytes follow; the first byte is the lowest. */
function advance(word: number, after: number): number {
  const t = CRC_TABLES;
  const at = after << 8;
  return (
    t[at + 768 + (word & 255)]! ^
    t[at + 512 + ((word >>> 8) & 255)]! ^
    t[at + 256 + ((word >>> 16) & 255)]! ^
    t[at + (word >>> 24)]!
  );
}

/** CRC-32 as gzip stores it, unsigned. `before`: CRC of the preceding bytes. */
export function crc32(bytes: Uint8Array, before = 0): number {
  const t = CRC_TABLES;
  let c = ~before;
  const oneByOne = (from: number, to: number) => {
    for (let i = from; i < to; i++) c = t[(c ^ bytes[i]!) & 255]! ^ (c >>> 8);
  };
  const aligned = Math.min(bytes.length, -bytes.byteOffset & 3);
  const steps = (bytes.length - aligned) >> 4;
  oneByOne(0, aligned);
  // Reads words in little-endian order, as all supported machines do.
  const words = steps > 0 ? new Int32Array(bytes.buffer, bytes.byteOffset + aligned, 4 * steps) : [];
  for (let i = 0; i < words.length; i += 4) {
    c =
      advance(words[i]! ^ c, 12) ^
      advance(words[i + 1]!, 8) ^
      advance(words[i + 2]!, 4) ^
      advance(words[i + 3]!, 0);
  }
  oneByOne(aligned + 16 * steps, bytes.length);
  return ~c >>> 0;
}

/** Adler-32 as zlib (RFC 1950) stores it, unsigned. */
export function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (let i = 0; i < bytes.length; ) {
    // 5552 is the longest run for which the sums cannot overflow 32 bits.
    const end = Math.min(i + 5552, bytes.length);
    for (; i < end; i++) {
      a += bytes[i]!;
      b += a;
    }
    a %= 65521;
    b %= 65521;
  }
  return ((b << 16) | a) >>> 0;
}
