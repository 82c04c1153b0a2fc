import { ImageFormatError } from "../../image/errors.ts";
import { type JpegHeader, mcuSize } from "./stream.ts";

/**
 * A JPEG of any size as a grid of tiles that can each be decoded alone.
 *
 * Behind every restart marker the decoder starts afresh, so the MCUs between two markers (an interval) are a JPEG of
 * their own once they have a header. When intervals divide each MCU row evenly, the intervals of one column over a
 * few rows form a rectangle: with the size patched in the header, a small ordinary JPEG.
 *
 * Written by hand: no JavaScript library reads a part of a JPEG (OpenSlide does the same for NDPI in C).
 */
export interface RestartGrid {
  /** Samples per tile. */
  tileWidth: number;
  tileHeight: number;
  /** Intervals per MCU row, and MCU rows. */
  intervalsAcross: number;
  mcuRows: number;
  /** MCU rows stacked in one tile. */
  rowsPerTile: number;
  mcuHeight: number;
}

/** Approximate samples per tile: small enough to waste little at a region's border, large enough to decode fast. */
const TILE_SAMPLES = 2 ** 19;

/** The grid of a `width` × `height` image; undefined when its restart markers do not cut rows evenly. */
export function planRestartGrid(header: JpegHeader, width: number, height: number): RestartGrid | undefined {
  const [mcuHeight, mcuWidth] = mcuSize(header);
  const mcusAcross = Math.ceil(width / mcuWidth);
  const interval = header.restartInterval;
  // Progressive streams visit each MCU in several scans.
  const sequential = header.frame === 0xc0 || header.frame === 0xc1;
  if (!sequential || interval === 0 || mcusAcross % interval !== 0) return undefined;
  const tileWidth = interval * mcuWidth;
  const mcuRows = Math.ceil(height / mcuHeight);
  // JPEG has sizes of 16 bits; libjpeg stops at 65500.
  const fitting = Math.floor(65500 / mcuHeight);
  const rowsPerTile = Math.max(
    1,
    Math.min(Math.round(TILE_SAMPLES / (tileWidth * mcuHeight)), mcuRows, fitting),
  );
  if (tileWidth > 65500) return undefined;
  return {
    tileWidth,
    tileHeight: rowsPerTile * mcuHeight,
    intervalsAcross: mcusAcross / interval,
    mcuRows,
    rowsPerTile,
    mcuHeight,
  };
}

/** Indices of the intervals that make up a tile, top to bottom. */
export function tileIntervals(grid: RestartGrid, tileRow: number, column: number): number[] {
  const first = tileRow * grid.rowsPerTile;
  const end = Math.min(first + grid.rowsPerTile, grid.mcuRows);
  return Array.from({ length: end - first }, (_, i) => (first + i) * grid.intervalsAcross + column);
}

/**
 * Assembles a decodable JPEG from the image's header and the intervals of one tile.
 * @param head the image's stream up to the first entropy-coded byte
 * @param intervals entropy-coded bytes, each with or without the marker that ends it
 */
export function stackIntervals(
  head: Uint8Array,
  header: JpegHeader,
  grid: RestartGrid,
  intervals: readonly Uint8Array[],
): Uint8Array {
  const bodies = intervals.map(withoutMarker);
  const total = bodies.reduce((sum, body) => sum + body.length + 2, head.length);
  const out = new Uint8Array(total);
  out.set(head);
  const view = new DataView(out.buffer);
  view.setUint16(header.frameOffset + 5, bodies.length * grid.mcuHeight);
  view.setUint16(header.frameOffset + 7, grid.tileWidth);
  let at = head.length;
  bodies.forEach((body, i) => {
    out.set(body, at);
    at += body.length;
    out[at++] = 0xff;
    // Restart markers count modulo 8; the last interval ends the image.
    out[at++] = i === bodies.length - 1 ? 0xd9 : 0xd0 + (i % 8);
  });
  return out;
}

function withoutMarker(interval: Uint8Array): Uint8Array {
  const last = interval.at(-1) ?? 0;
  const marked = interval.at(-2) === 0xff && ((last >= 0xd0 && last <= 0xd7) || last === 0xd9);
  return marked ? interval.subarray(0, -2) : interval;
}

/**
 * Finds the starts of intervals when no index states them: behind each restart marker.
 * @param read reads bytes of the stream from an offset, at most so many
 * @returns offsets into the stream; the first is `scanDataOffset`
 */
export async function scanRestarts(
  read: (offset: number, length: number) => Promise<Uint8Array>,
  scanDataOffset: number,
  byteLength: number,
  expected: number,
): Promise<Float64Array> {
  const starts = new Float64Array(expected);
  starts[0] = scanDataOffset;
  let found = 1;
  const step = 2 ** 20;
  let previous = 0;
  for (let at = scanDataOffset; at < byteLength && found < expected; at += step) {
    const bytes = await read(at, Math.min(step, byteLength - at));
    for (let i = 0; i < bytes.length && found < expected; i++) {
      const byte = bytes[i]!;
      if (previous === 0xff && byte >= 0xd0 && byte <= 0xd7) starts[found++] = at + i + 1;
      previous = byte;
    }
  }
  if (found < expected) {
    throw new ImageFormatError(`its JPEG data ends after ${found} of ${expected} restart intervals`);
  }
  return starts;
}
