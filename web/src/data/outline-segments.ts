import type { ObjectOutlines } from "./object-messages.ts";

const POLYGON = 3;
const MULTI_POLYGON = 6;

/** Calls `edge` for each edge of a Polygon or MultiPolygon in little-endian well-known binary. */
function eachEdge(wkb: Uint8Array, edge: (x0: number, y0: number, x1: number, y1: number) => void): void {
  const view = new DataView(wkb.buffer, wkb.byteOffset, wkb.byteLength);
  let at = 0;
  const head = (): { type: number; count: number } => {
    if (view.getUint8(at) !== 1) throw new Error("an outline is not little-endian");
    const found = { type: view.getUint32(at + 1, true), count: view.getUint32(at + 5, true) };
    at += 9;
    return found;
  };
  const rings = (count: number) => {
    for (let r = 0; r < count; r++) {
      const points = view.getUint32(at, true);
      at += 4;
      if (points * 16 > wkb.byteLength - at) throw new Error("an outline is cut short");
      let x0 = view.getFloat64(at, true);
      let y0 = view.getFloat64(at + 8, true);
      for (let p = 1; p < points; p++) {
        const x1 = view.getFloat64(at + 16 * p, true);
        const y1 = view.getFloat64(at + 16 * p + 8, true);
        edge(x0, y0, x1, y1);
        x0 = x1;
        y0 = y1;
      }
      at += 16 * points;
    }
  };
  const { type, count } = head();
  if (type === POLYGON) rings(count);
  else if (type === MULTI_POLYGON) for (let p = 0; p < count; p++) rings(head().count);
  else throw new Error(`an outline has the geometry type ${type}`);
}

/** Outlines as segments for the graphics card, relative to an origin, so that 32-bit floats are exact enough. */
export function toSegments(
  outlines: readonly Uint8Array[],
  originX: number,
  originY: number,
): ObjectOutlines {
  const first = new Uint32Array(outlines.length + 1);
  // An edge takes 16 bytes of its ring.
  const most = outlines.reduce((sum, wkb) => sum + Math.ceil(wkb.length / 16), 0);
  const segments = new Float32Array(5 * most);
  let count = 0;
  outlines.forEach((wkb, index) => {
    first[index] = count;
    eachEdge(wkb, (x0, y0, x1, y1) => {
      segments.set([x0 - originX, y0 - originY, x1 - originX, y1 - originY, index], 5 * count++);
    });
  });
  first[outlines.length] = count;
  return { segments: segments.slice(0, 5 * count), first };
}

/** Whether a position lies inside an object: an odd number of its edges, holes included, lie to the right. */
export function isInsideOutline(
  { segments, first }: ObjectOutlines,
  index: number,
  x: number,
  y: number,
): boolean {
  let inside = false;
  for (let s = first[index]!; s < first[index + 1]!; s++) {
    const y0 = segments[5 * s + 1]!;
    const y1 = segments[5 * s + 3]!;
    if (y0 > y === y1 > y) continue;
    const x0 = segments[5 * s]!;
    const x1 = segments[5 * s + 2]!;
    if (x < x0 + ((y - y0) / (y1 - y0)) * (x1 - x0)) inside = !inside;
  }
  return inside;
}
