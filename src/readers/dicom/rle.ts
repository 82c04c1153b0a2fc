import { UnsupportedDicomError } from "./errors.ts";

/** Most offsets that a frame can state. */
const HEADER_BYTES = 64;
const MAX_SEGMENTS = 15;

/**
 * Decodes an RLE frame (PS3.5 annex G) to its byte planes: component by component, each with its most significant
 * byte first.
 * @returns `[components × bytes, pixels]`
 */
export function decodeRle(bytes: Uint8Array, planes: number, pixels: number): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEADER_BYTES) throw new UnsupportedDicomError("an RLE frame is cut short");
  const stated = view.getUint32(0, true);
  if (stated !== planes || planes > MAX_SEGMENTS)
    throw new UnsupportedDicomError(
      `an RLE frame has ${stated} segments where its header announces ${planes}`,
    );
  const out = new Uint8Array(planes * pixels);
  for (let s = 0; s < planes; s++) {
    const from = view.getUint32(4 + 4 * s, true);
    const next = s + 1 < planes ? view.getUint32(8 + 4 * s, true) : bytes.length;
    const end = Math.min(next, bytes.length);
    if (from < HEADER_BYTES || from > end)
      throw new UnsupportedDicomError("an RLE frame has segments out of order");
    unpack(bytes, from, end, out, s * pixels, (s + 1) * pixels);
  }
  return out;
}

/** PackBits. */
function unpack(
  bytes: Uint8Array,
  from: number,
  end: number,
  out: Uint8Array,
  to: number,
  toEnd: number,
): void {
  let at = from;
  let filled = to;
  while (filled < toEnd && at < end) {
    const control = bytes[at++]!;
    if (control === 128) continue;
    if (control < 128) {
      const run = Math.min(control + 1, toEnd - filled);
      if (at + run > end) break;
      out.set(bytes.subarray(at, at + run), filled);
      at += control + 1;
      filled += run;
    } else {
      if (at >= end) break;
      const run = Math.min(257 - control, toEnd - filled);
      out.fill(bytes[at++]!, filled, filled + run);
      filled += run;
    }
  }
  if (filled < toEnd)
    throw new UnsupportedDicomError("an RLE frame is damaged: it holds fewer pixels than announced");
}
