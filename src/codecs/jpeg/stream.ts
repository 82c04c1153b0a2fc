import { ImageFormatError } from "../../image/errors.ts";
import { exifOrientation } from "../../image/orientation.ts";
import { joinBytes } from "../../storage/join-bytes.ts";

/**
 * What the markers of a JPEG stream state, up to the first scan.
 *
 * Written by hand: decoders give no offsets of segments, and slides need streams rewritten: shared tables put in, sizes
 * patched, colour stated.
 */
export interface JpegHeader {
  width: number;
  height: number;
  bitsPerSample: number;
  components: { id: number; horizontal: number; vertical: number }[];
  /** Start-of-frame kind: 0xc0 baseline, 0xc1 extended, 0xc2 progressive. */
  frame: number;
  /** MCUs between restart markers; 0 when there are none. */
  restartInterval: number;
  jfif: boolean;
  /** Colour transform of the Adobe marker: 0 none, 1 YCbCr, 2 YCCK; undefined without the marker. */
  adobeTransform: number | undefined;
  /** Samples per inch or centimetre of the JFIF marker. */
  density: { unit: "inch" | "cm"; x: number; y: number } | undefined;
  /** EXIF orientation: 1 as stored, up to 8. */
  orientation: number | undefined;
  /** Offset of the frame marker's segment (its 0xff). */
  frameOffset: number;
  /** Offset of the entropy-coded data, just behind the scan header. */
  scanDataOffset: number;
}

const SOI = 0xd8;
export const EOI = 0xd9;
export const SOS = 0xda;
const DRI = 0xdd;
const APP0 = 0xe0;
const APP1 = 0xe1;
const APP14 = 0xee;

/** A marker with its segment: `[at, end)` from its 0xff on. */
interface Segment {
  marker: number;
  at: number;
  end: number;
}

/**
 * Iterates over the segments of a stream and skips scan data. Like libjpeg, it skips bytes that are not a marker. It
 * stops at the end marker, or at an incomplete segment.
 */
export function* segments(bytes: Uint8Array): Generator<Segment> {
  let at = 2;
  while (at + 4 <= bytes.length) {
    at = bytes.indexOf(0xff, at);
    if (at < 0 || at + 4 > bytes.length) return;
    const marker = bytes[at + 1]!;
    // Fill bytes; stuffed zeros, restart markers and TEM have no segment.
    if (marker === 0xff || marker <= 1 || (marker >= 0xd0 && marker <= SOI)) {
      at += marker === 0xff ? 1 : 2;
      continue;
    }
    if (marker === EOI) return;
    const length = bytes[at + 2]! * 256 + bytes[at + 3]!;
    const end = at + 2 + length;
    if (length < 2 || end > bytes.length) return;
    yield { marker, at, end };
    at = end;
  }
}

/**
 * Parses markers up to the first scan. `bytes` may end anywhere behind the scan header.
 * @throws {ImageFormatError} when the scan header is missing
 */
export function parseJpegHeader(bytes: Uint8Array): JpegHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 4 || bytes[0] !== 0xff || bytes[1] !== SOI) {
    throw new ImageFormatError("JPEG data does not begin with a JPEG marker");
  }
  const header: JpegHeader = {
    width: 0,
    height: 0,
    bitsPerSample: 0,
    components: [],
    frame: 0,
    restartInterval: 0,
    jfif: false,
    adobeTransform: undefined,
    density: undefined,
    orientation: undefined,
    frameOffset: -1,
    scanDataOffset: -1,
  };
  for (const { marker, at, end } of segments(bytes)) {
    const body = at + 4;
    const length = end - at - 2;
    if (marker === SOS) {
      if (header.frameOffset < 0) break;
      header.scanDataOffset = end;
      return header;
    }
    if (isFrame(marker)) {
      if (length < 8) break;
      header.frame = marker;
      header.frameOffset = at;
      header.bitsPerSample = bytes[body]!;
      header.height = view.getUint16(body + 1);
      header.width = view.getUint16(body + 3);
      const count = bytes[body + 5]!;
      if (length < 8 + 3 * count) break;
      header.components = Array.from({ length: count }, (_, i) => {
        const c = body + 6 + 3 * i;
        return { id: bytes[c]!, horizontal: bytes[c + 1]! >> 4, vertical: bytes[c + 1]! & 15 };
      });
    } else if (marker === DRI && length >= 4) {
      header.restartInterval = view.getUint16(body);
    } else if (marker === APP0 && length >= 14 && ascii(bytes, body, 5) === "JFIF\0") {
      header.jfif = true;
      const unit = bytes[body + 7];
      if (unit === 1 || unit === 2) {
        header.density = {
          unit: unit === 1 ? "inch" : "cm",
          x: view.getUint16(body + 8),
          y: view.getUint16(body + 10),
        };
      }
    } else if (marker === APP1 && ascii(bytes, body, 6) === "Exif\0\0") {
      header.orientation ??= exifOrientation(bytes.subarray(body + 6, end));
    } else if (marker === APP14 && length >= 14 && ascii(bytes, body, 5) === "Adobe") {
      header.adobeTransform = bytes[body + 11]!;
    }
  }
  throw new ImageFormatError("JPEG data is damaged: its header ends before the image data begins");
}

export function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

function ascii(bytes: Uint8Array, offset: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(offset, offset + length));
}

/** Samples per MCU side, `[y, x]`. A single component is coded in plain 8 × 8 blocks whatever its factors say. */
export function mcuSize(header: JpegHeader): [number, number] {
  if (header.components.length === 1) return [8, 8];
  let h = 1;
  let v = 1;
  for (const c of header.components) {
    h = Math.max(h, c.horizontal);
    v = Math.max(v, c.vertical);
  }
  return [8 * v, 8 * h];
}

/** Coding of the three components, when the container knows better than the stream. */
export type JpegColor = "rgb" | "ycbcr";

/**
 * Completes a stream so that any decoder reads it: inserts a TIFF's shared tables, writes the colour that the tags
 * state as an Adobe marker, and appends a missing end marker (which libjpeg reports as damage).
 *
 * Without an Adobe marker the decoder guesses from component ids: libjpeg takes ids 0, 1, 2 for YCbCr, while Aperio
 * means RGB by them. A JFIF marker wins over the tags, since JFIF allows only YCbCr: Bio-Formats writes such tiles
 * under "RGB". libtiff and tifffile do the same.
 * @param color undefined leaves the colour to the stream
 */
export function completeJpeg(stream: Uint8Array, tables?: Uint8Array, color?: JpegColor): Uint8Array {
  const header = parseJpegHeader(stream);
  const transform = color === "rgb" ? 0 : 1;
  const stated = color === undefined || header.jfif || header.adobeTransform === transform;
  const marker = stated || header.components.length !== 3 ? EMPTY : adobeMarker(transform);
  const shared = tables ? tableSegments(tables) : EMPTY;
  const ending = stream.at(-2) === 0xff && stream.at(-1) === EOI ? EMPTY : Uint8Array.of(0xff, EOI);
  if (marker.length + shared.length + ending.length === 0) return stream;
  return joinBytes([
    stream.subarray(0, 2),
    shared,
    stream.subarray(2, header.frameOffset),
    // Behind any Adobe marker of the stream: the last one counts.
    marker,
    stream.subarray(header.frameOffset),
    ending,
  ]);
}

const EMPTY = new Uint8Array(0);

export function adobeMarker(transform: 0 | 1): Uint8Array {
  // "Adobe", version 100, flags 0, 0, transform
  return Uint8Array.of(0xff, APP14, 0, 14, 0x41, 0x64, 0x6f, 0x62, 0x65, 0, 100, 0, 0, 0, 0, transform);
}

/** A tables-only stream without its start and end markers. */
function tableSegments(tables: Uint8Array): Uint8Array {
  const from = tables[0] === 0xff && tables[1] === SOI ? 2 : 0;
  const ends = tables.at(-2) === 0xff && tables.at(-1) === EOI;
  return tables.subarray(from, tables.length - (ends ? 2 : 0));
}
