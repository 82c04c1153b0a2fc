import { joinBytes } from "../../storage/join-bytes.ts";
import { cleanScan } from "./clean-scan.ts";
import {
  adobeMarker,
  EOI,
  isFrame,
  type JpegHeader,
  mcuSize,
  parseJpegHeader,
  SOS,
  segments,
} from "./stream.ts";

const DHT = 0xc4;
const DAC = 0xcc;
const DQT = 0xdb;
const DRI = 0xdd;

/**
 * Removes what libjpeg warns of and skips: damaged application segments, bytes between segments, and bytes in front
 * of restart markers and of the end. The decoder's wrapper treats every warning as a failure, so this runs on a
 * stream that it has rejected.
 *
 * Written by hand: no library edits a JPEG stream without decoding it.
 * @returns undefined when there is nothing to remove: then the picture itself is damaged
 */
export function repairJpeg(stream: Uint8Array): Uint8Array | undefined {
  const header = parseJpegHeader(stream);
  const parts: Uint8Array[] = [Uint8Array.of(0xff, 0xd8)];
  if (header.components.length === 3) parts.push(adobeMarker(isYcbcr(header) ? 1 : 0));
  for (const { marker, at, end } of segments(stream)) {
    const needed = isFrame(marker) || [DHT, DAC, DQT, DRI, SOS].includes(marker);
    if (needed) parts.push(stream.subarray(at, end));
    if (marker === SOS) break;
  }
  // Progressive streams have several scans: they stay as they are.
  const clean = header.frame === 0xc0 || header.frame === 0xc1 ? cleanScan(stream, header) : undefined;
  if (clean === undefined) parts.push(stream.subarray(header.scanDataOffset));
  else parts.push(...clean, Uint8Array.of(0xff, EOI));
  const repaired = joinBytes(parts);
  return repaired.length === stream.length ? undefined : repaired;
}

/**
 * Whether a sequential picture has all restart markers and its end. Then only stretches between markers are damaged,
 * and libjpeg continues behind each.
 */
export function hasAllRestarts(stream: Uint8Array, header: JpegHeader): boolean {
  const { width, height, restartInterval, frame, scanDataOffset } = header;
  if (restartInterval === 0 || (frame !== 0xc0 && frame !== 0xc1)) return false;
  const [mcuHeight, mcuWidth] = mcuSize(header);
  const mcus = Math.ceil(width / mcuWidth) * Math.ceil(height / mcuHeight);
  let left = Math.ceil(mcus / restartInterval) - 1;
  for (let at = scanDataOffset, next = 0; at + 1 < stream.length; at++) {
    at = stream.indexOf(0xff, at);
    if (at < 0) return false;
    const marker = stream[at + 1]!;
    if (marker === 0xd0 + next && left > 0) {
      next = (next + 1) % 8;
      left--;
    } else if (marker === EOI) return left === 0;
    else if (marker !== 0 && marker !== 0xff) return false;
  }
  return false;
}

/** libjpeg's rules (jdapimin.c): JFIF allows only YCbCr, Adobe states the colour, else the component ids decide. */
function isYcbcr({ jfif, adobeTransform, components }: JpegHeader): boolean {
  if (jfif) return true;
  if (adobeTransform !== undefined) return adobeTransform !== 0;
  return String.fromCharCode(...components.map(({ id }) => id)) !== "RGB";
}
