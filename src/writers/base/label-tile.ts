import { inflateSync } from "fflate";
import { adler32, crc32 } from "../../codecs/checksums.ts";
import { deflateLabels } from "../../codecs/label-deflate.ts";
import type { LabelTile } from "../../image/label-sink.ts";
import { joinBytes } from "../../storage/join-bytes.ts";

// The three wrappings of one DEFLATE stream. Zarr's `gzip` codec and TIFF's compression 8 (zlib) differ only in
// header and trailer, so a staged Zarr chunk becomes a TIFF tile without being compressed again.

/** As in RFC 1952, without a time: the same labels are the same bytes. */
export const GZIP_HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff);
const GZIP_TRAILER_BYTES = 8;

/** The samples as little-endian bytes; a view on little-endian machines, as all supported are. */
export function tileBytes(data: Uint8Array | Uint32Array): Uint8Array {
  return data instanceof Uint8Array ? data : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Compresses the tile once and caches the result on it. */
function deflateTile(tile: LabelTile, width: number): Uint8Array {
  const { data } = tile;
  const sample = data.BYTES_PER_ELEMENT;
  tile.deflated ??= deflateLabels(tileBytes(data), sample, width * sample);
  return tile.deflated;
}

/** Bytes of a Zarr v3 chunk under the codecs `bytes` (little) and `gzip`. `width`: samples in a row. */
export function gzipTile(tile: LabelTile, width: number): Uint8Array {
  const body = deflateTile(tile, width);
  tile.crc32 ??= crc32(tileBytes(tile.data));
  return joinBytes([GZIP_HEADER, body, gzipTrailer(tile.crc32, tile.data.byteLength)]);
}

/** @param byteLength uncompressed bytes */
export function gzipTrailer(crc: number, byteLength: number): Uint8Array {
  const trailer = new DataView(new ArrayBuffer(GZIP_TRAILER_BYTES));
  trailer.setUint32(0, crc, true);
  trailer.setUint32(4, byteLength % 2 ** 32, true);
  return new Uint8Array(trailer.buffer);
}

/** Bytes of a TIFF tile under compression 8 (Adobe deflate). `width`: samples in a row. */
export function zlibTile(tile: LabelTile, width: number): Uint8Array {
  const body = deflateTile(tile, width);
  const out = new Uint8Array(2 + body.length + 4);
  out[0] = 0x78;
  out[1] = 0x9c;
  out.set(body, 2);
  new DataView(out.buffer).setUint32(out.length - 4, adler32(tileBytes(tile.data)), false);
  return out;
}

/**
 * Parses what `gzipTile` wrote, and nothing else. `length` is the number of samples.
 * @throws {RangeError} when the bytes are not such a chunk, or are damaged
 */
export function parseGzipTile(bytes: Uint8Array, dtype: "uint8" | "uint32", length: number): LabelTile {
  const byteLength = dtype === "uint8" ? length : length * 4;
  const trailerAt = bytes.length - GZIP_TRAILER_BYTES;
  if (trailerAt <= GZIP_HEADER.length || GZIP_HEADER.some((b, i) => i < 9 && bytes[i] !== b)) {
    throw new RangeError(
      `a staged chunk of ${bytes.length} bytes does not begin with the expected gzip header`,
    );
  }
  const trailer = new DataView(bytes.buffer, bytes.byteOffset + trailerAt, GZIP_TRAILER_BYTES);
  const deflated = bytes.subarray(GZIP_HEADER.length, trailerAt);
  if (trailer.getUint32(4, true) !== byteLength) {
    throw new RangeError(
      `a staged chunk holds ${trailer.getUint32(4, true)} bytes when ${byteLength} were expected`,
    );
  }
  const raw = new Uint8Array(byteLength);
  let written: Uint8Array;
  try {
    written = inflateSync(deflated, { out: raw });
  } catch (cause) {
    throw new RangeError("a staged chunk is damaged: its deflate stream does not end", { cause });
  }
  const crc = trailer.getUint32(0, true);
  if (written.length !== byteLength || crc32(raw) !== crc) {
    throw new RangeError("a staged chunk is damaged: its checksum does not match");
  }
  return { data: dtype === "uint8" ? raw : new Uint32Array(raw.buffer), deflated, crc32: crc };
}
