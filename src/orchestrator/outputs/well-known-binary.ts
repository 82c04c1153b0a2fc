import type { Polygon, Ring } from "../../tiling/objects/trace-polygons.ts";
import type { Placement } from "./placement.ts";

const POLYGON = 3;
const MULTI_POLYGON = 6;
const LITTLE_ENDIAN = 1;

/**
 * Outlines as well-known binary (OGC Simple Features, 06-103r4 section 8), in level-0 pixels: a Polygon, or a
 * MultiPolygon of several parts.
 *
 * Written by hand: fifty lines, and libraries start from GeoJSON objects.
 */
export function encodeOutline(
  polygons: readonly Polygon[],
  { origin, downsample }: Placement,
): Uint8Array<ArrayBuffer> {
  const isMulti = polygons.length > 1;
  const ringBytes = (ring: Ring) => 4 + 8 * (ring.length + 2);
  const polygonBytes = (rings: Polygon) => rings.reduce((bytes, ring) => bytes + ringBytes(ring), 9);
  const length = polygons.reduce((bytes, rings) => bytes + polygonBytes(rings), isMulti ? 9 : 0);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  let at = 0;
  const head = (type: number, count: number) => {
    view.setUint8(at, LITTLE_ENDIAN);
    view.setUint32(at + 1, type, true);
    view.setUint32(at + 5, count, true);
    at += 9;
  };
  const corner = (ring: Ring, i: number) => {
    view.setFloat64(at, origin.x + ring[i]! * downsample.x, true);
    view.setFloat64(at + 8, origin.y + ring[i + 1]! * downsample.y, true);
    at += 16;
  };
  if (isMulti) head(MULTI_POLYGON, polygons.length);
  for (const rings of polygons) {
    head(POLYGON, rings.length);
    for (const ring of rings) {
      view.setUint32(at, ring.length / 2 + 1, true);
      at += 4;
      for (let i = 0; i < ring.length; i += 2) corner(ring, i);
      // A ring ends where it begins.
      corner(ring, 0);
    }
  }
  return bytes;
}
