import type { Raster } from "../grid/raster.ts";

/** Rings of x, y, x, y …, with the even-odd rule: a point inside an odd number of rings is inside, so holes are rings too. */
export type Rings = readonly (readonly number[])[];

/**
 * Rasterizes polygons to a mask `[height, width]` of 0 and 1. A sample is set if its centre is inside a polygon or an edge
 * passes through it, so that polygons thinner than a sample are not lost.
 * @param scale samples of the mask per unit of the polygons, along x and y
 */
export function rasterizePolygons(
  polygons: Iterable<Rings>,
  [height, width]: readonly [number, number],
  scale: { x: number; y: number },
): Raster<Uint8Array> {
  const data = new Uint8Array(height * width);
  for (const rings of polygons) {
    // Visits only the rows that a polygon spans: there may be hundreds of thousands of small polygons.
    const [first, end] = findRows(rings, height, scale.y);
    const crossings: number[][] = Array.from({ length: end - first }, () => []);
    for (const ring of rings) {
      for (let i = 0; i + 3 < ring.length + 2; i += 2) {
        const [x0, y0] = [ring[i]! * scale.x, ring[i + 1]! * scale.y];
        const next = (i + 2) % ring.length;
        const [x1, y1] = [ring[next]! * scale.x, ring[next + 1]! * scale.y];
        addCrossings(crossings, first, x0, y0, x1, y1);
        markEdge(data, width, height, x0, y0, x1, y1);
      }
    }
    for (let y = first; y < end; y++) {
      const row = crossings[y - first]!.sort((a, b) => a - b);
      for (let i = 0; i + 1 < row.length; i += 2) {
        const from = Math.max(0, Math.ceil(row[i]! - 0.5));
        const to = Math.min(width, Math.ceil(row[i + 1]! - 0.5));
        if (from < to) data.fill(1, y * width + from, y * width + to);
      }
    }
  }
  return { data, shape: [height, width] };
}

/** The range of rows whose centres lie between the top and the bottom of a polygon. */
function findRows(rings: Rings, height: number, scale: number): [number, number] {
  let top = Number.POSITIVE_INFINITY;
  let bottom = Number.NEGATIVE_INFINITY;
  for (const ring of rings) {
    for (let i = 1; i < ring.length; i += 2) {
      top = Math.min(top, ring[i]! * scale);
      bottom = Math.max(bottom, ring[i]! * scale);
    }
  }
  const first = Math.min(height, Math.max(0, Math.ceil(top - 0.5)));
  return [first, Math.max(first, Math.min(height, Math.ceil(bottom - 0.5)))];
}

/** The x coordinates at which an edge crosses the centres of rows; half-open, so that a corner counts once. */
function addCrossings(
  rows: number[][],
  firstRow: number,
  x0: number,
  y0: number,
  x1: number,
  y1: number,
): void {
  const [top, bottom] = y0 < y1 ? [y0, y1] : [y1, y0];
  const first = Math.max(firstRow, Math.ceil(top - 0.5));
  const end = Math.min(firstRow + rows.length, Math.ceil(bottom - 0.5));
  for (let y = first; y < end; y++) rows[y - firstRow]!.push(x0 + ((y + 0.5 - y0) / (y1 - y0)) * (x1 - x0));
}

/** Sets the samples that an edge passes through. */
function markEdge(
  data: Uint8Array,
  width: number,
  height: number,
  x0: number,
  y0: number,
  x1: number,
  y1: number,
): void {
  const clipped = clip(x0, y0, x1, y1, width, height);
  if (clipped === undefined) return;
  const [ax, ay, bx, by] = clipped;
  const steps = Math.max(1, Math.ceil(2 * Math.max(Math.abs(bx - ax), Math.abs(by - ay))));
  for (let i = 0; i <= steps; i++) {
    const x = Math.min(width - 1, Math.floor(ax + ((bx - ax) * i) / steps));
    const y = Math.min(height - 1, Math.floor(ay + ((by - ay) * i) / steps));
    data[y * width + x] = 1;
  }
}

/** The part of an edge inside the mask (Liang and Barsky, 1984). */
function clip(
  x0: number,
  y0: number,
  x1: number,
  y1: number,
  width: number,
  height: number,
): [number, number, number, number] | undefined {
  const [dx, dy] = [x1 - x0, y1 - y0];
  let from = 0;
  let to = 1;
  for (const [p, q] of [
    [-dx, x0],
    [dx, width - x0],
    [-dy, y0],
    [dy, height - y0],
  ] as const) {
    if (p === 0) {
      if (q < 0) return undefined;
      continue;
    }
    const t = q / p;
    if (p < 0) from = Math.max(from, t);
    else to = Math.min(to, t);
  }
  return from <= to ? [x0 + from * dx, y0 + from * dy, x0 + to * dx, y0 + to * dy] : undefined;
}
