import { unzlibSync } from "fflate";
import { decodeFax, type FaxCoding } from "../../codecs/fax.ts";
import { decodeLzw } from "../../codecs/lzw.ts";
import { loadZstd } from "../../codecs/zstd.ts";
import { ImageFormatError } from "../../image/errors.ts";
import { COMPRESSION } from "./tags.ts";

/** Unpacked bytes of a tile, exactly as many as were expected. */
export interface Unpacked {
  bytes: Uint8Array;
  /** Whether the caller may change them. */
  owned: boolean;
}

export interface UnpackedSize {
  /** Bytes of the tile; a coded last strip may hold `mostBytes`, the rows of a whole strip. */
  expected: number;
  mostBytes: number;
  /** Whether the bits of each byte are reversed (FillOrder 2), in packed data too. */
  reversed: boolean;
  fax?: FaxCoding;
}

/**
 * Decompresses a tile to its samples as stored.
 * @throws {ImageFormatError} when there are fewer bytes
 */
export async function decompress(
  stored: Uint8Array,
  compression: number,
  { expected, mostBytes, reversed, fax }: UnpackedSize,
): Promise<Unpacked> {
  const bytes = reversed ? reverseBits(stored) : stored;
  const raw = fax ? decodeFax(bytes, fax) : await unpack(bytes, compression, expected, mostBytes);
  if (raw.length < expected) {
    throw new ImageFormatError(
      `a tile is damaged: it unpacks to ${raw.length} bytes where the tags announce ${expected}`,
    );
  }
  return {
    bytes: raw.length === expected ? raw : raw.subarray(0, expected),
    owned: reversed || compression !== COMPRESSION.none,
  };
}

async function unpack(
  bytes: Uint8Array,
  compression: number,
  expected: number,
  mostBytes: number,
): Promise<Uint8Array> {
  switch (compression) {
    case COMPRESSION.none:
      return bytes;
    case COMPRESSION.lzw:
      return decodeLzw(bytes, expected);
    case COMPRESSION.packBits:
      return decodePackBits(bytes, expected);
    case COMPRESSION.deflate:
    case COMPRESSION.deflateOld:
      try {
        // Into a buffer of the announced size, so the output cannot grow without bound.
        return unzlibSync(bytes, { out: new Uint8Array(expected) });
      } catch (cause) {
        throw new ImageFormatError("a Deflate tile is damaged or cut short", { cause });
      }
    case COMPRESSION.zstd: {
      const unzstd = await loadZstd();
      try {
        return unzstd(bytes, mostBytes);
      } catch (cause) {
        throw new ImageFormatError("a Zstandard tile is damaged, cut short or too large", { cause });
      }
    }
    default:
      throw new ImageFormatError(`compression ${compression} is not supported`);
  }
}

/**
 * PackBits (TIFF 6.0 section 9). Written by hand: geotiff's decoder collects bytes in plain arrays, at many times the
 * memory.
 */
function decodePackBits(input: Uint8Array, expected: number): Uint8Array {
  const out = new Uint8Array(expected);
  let written = 0;
  for (let at = 0; at < input.length && written < expected; ) {
    const head = (input[at++]! << 24) >> 24;
    if (head === -128) continue;
    if (head < 0) {
      if (at >= input.length) break;
      const end = Math.min(expected, written + 1 - head);
      out.fill(input[at++]!, written, end);
      written = end;
    } else {
      const run = input.subarray(at, at + Math.min(head + 1, expected - written));
      out.set(run, written);
      at += head + 1;
      written += run.length;
    }
  }
  return written === expected ? out : out.subarray(0, written);
}

const REVERSED = Uint8Array.from({ length: 256 }, (_, byte) => {
  let out = 0;
  for (let bit = 0; bit < 8; bit++) out |= ((byte >> bit) & 1) << (7 - bit);
  return out;
});

function reverseBits(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte) => REVERSED[byte]!);
}
