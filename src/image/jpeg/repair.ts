import { joinBytes } from "../../storage/join-bytes.ts";
import { cleanScan } from "./clean-scan.ts";
import { adobeMarker, EOI, isFrame, type JpegHeader, parseJpegHeader, SOS, segments } from "./stream.ts";

const DHT = 0xc4;
const DAC = 0xcc;
const DQT = 0xdb;
const DRI = 0xdd;

/**
 * The same picture without what libjpeg warns of and reads over: applications' segments that are damaged, bytes between
 * segments, and bytes in front of restart markers and of the end. Its wrapper takes any warning for a failure, so this is
 * for a stream that it has refused.
 * @returns undefined where nothing can be left out: what is wrong is the picture then
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
  // Progressive streams go over the picture in several scans: those are left as they are.
  const clean = header.frame === 0xc0 || header.frame === 0xc1 ? cleanScan(stream, header) : undefined;
  if (clean === undefined) parts.push(stream.subarray(header.scanDataOffset));
  else parts.push(...clean, Uint8Array.of(0xff, EOI));
  const repaired = joinBytes(parts);
  return repaired.length === stream.length ? undefined : repaired;
}

/** How libjpeg tells (jdapimin.c): JFIF knows only YCbCr, Adobe says it, else the components' ids. */
function isYcbcr({ jfif, adobeTransform, components }: JpegHeader): boolean {
  if (jfif) return true;
  if (adobeTransform !== undefined) return adobeTransform !== 0;
  return String.fromCharCode(...components.map(({ id }) => id)) !== "RGB";
}
