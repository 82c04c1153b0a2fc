import { Inflate } from "fflate";
import { joinBytes } from "../storage/join-bytes.ts";

/** Stored bytes inflated at a time: a bomb turns them into 16 MB, the most that is held beyond the limit. */
const PIECE_BYTES = 16 * 1024;

/**
 * Inflates raw DEFLATE data of unknown size.
 *
 * Written by hand around fflate, whose one-shot functions have no bound on what they allocate.
 * @throws {RangeError} when it unpacks to more than `maxBytes`, before that much is held twice
 * @throws what fflate throws when it is damaged or cut short
 */
export function inflateBounded(bytes: Uint8Array, maxBytes: number): Uint8Array {
  const pieces: Uint8Array[] = [];
  let total = 0;
  let ended = false;
  const inflate = new Inflate((piece, final) => {
    pieces.push(piece);
    total += piece.length;
    ended = final;
  });
  for (let at = 0; at < bytes.length || at === 0; at += PIECE_BYTES) {
    inflate.push(bytes.subarray(at, at + PIECE_BYTES), at + PIECE_BYTES >= bytes.length);
    if (total > maxBytes) throw new RangeError(`more than ${maxBytes} bytes`);
  }
  if (!ended) throw new Error("unexpected end of Deflate data");
  return joinBytes(pieces);
}

/**
 * Inflates gzip or zlib data with the platform's stream, which verifies the checksum.
 * @throws {Error} when it is damaged, cut short, or holds more than `maxBytes`; little more than that is allocated
 */
export async function inflateStream(
  bytes: Uint8Array,
  format: "gzip" | "deflate",
  maxBytes: number,
): Promise<Uint8Array> {
  const stored = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream();
  const reader = stored.pipeThrough(new DecompressionStream(format)).getReader();
  const pieces: Uint8Array[] = [];
  let total = 0;
  while (true) {
    const { done, value } = await reader.read().catch((cause) => {
      throw new Error(`its ${format} data is damaged or cut short`, { cause });
    });
    if (done) return joinBytes(pieces);
    pieces.push(value);
    total += value.length;
    if (total <= maxBytes) continue;
    await reader.cancel().catch(() => {});
    throw new Error(`its ${format} data holds more than the ${maxBytes} bytes expected`);
  }
}
