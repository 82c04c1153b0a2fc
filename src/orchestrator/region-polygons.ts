import * as z from "zod";
import { findCrossing } from "../tiling/objects/find-crossing.ts";
import type { Rings } from "../tiling/objects/rasterize-polygons.ts";

/**
 * Limits of the polygons of a region. They travel inside a job's request and its records. Drawn outlines have far fewer corners;
 * detailed ones are for `--mask`.
 */
export const MAX_REGION_POLYGONS = 1000;
export const MAX_REGION_CORNERS = 10_000;

/** Polygons as in a MultiPolygon of GeoJSON: an exterior ring and its holes, each corner `[x, y]` in level-0 pixels. */
export type RegionPolygons = readonly (readonly (readonly (readonly [x: number, y: number])[])[])[];

const coordinate = z.number().min(-1e9).max(1e9);
const ring = z
  .array(z.tuple([coordinate, coordinate]).readonly())
  .max(MAX_REGION_CORNERS)
  .readonly();
const polygon = z.array(ring).min(1).max(MAX_REGION_CORNERS).readonly();

export const regionPolygonsSchema = z
  .array(polygon)
  .min(1)
  .max(MAX_REGION_POLYGONS)
  .readonly()
  .superRefine((polygons, context) => {
    const message = findPolygonProblem(polygons);
    if (message !== undefined) context.addIssue({ code: "custom", message });
  });

/** Why the polygons cannot be a region, as the end of an error message; undefined for valid polygons. */
export function findPolygonProblem(polygons: RegionPolygons): string | undefined {
  if (polygons.length > MAX_REGION_POLYGONS)
    return `there are ${polygons.length} polygons, the limit is ${MAX_REGION_POLYGONS}: leave some out, or use them as a mask on the command line`;
  const corners = polygons.reduce((n, rings) => n + rings.reduce((m, one) => m + one.length, 0), 0);
  if (corners > MAX_REGION_CORNERS)
    return `the polygons have ${corners} corners, the limit is ${MAX_REGION_CORNERS}: simplify their outlines, or use them as a mask on the command line`;
  for (const [i, rings] of polygons.entries()) {
    for (const one of rings) {
      const flat = one.flat();
      const crossing = findCrossing(flat);
      if (crossing)
        return `polygon ${i + 1} crosses itself at ${Math.round(crossing.x)}, ${Math.round(crossing.y)}: draw it again without a crossing`;
      if (doubleArea(flat) === 0) return `polygon ${i + 1} encloses no area: draw it again`;
    }
  }
  return undefined;
}

function doubleArea(ring: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i + 1 < ring.length; i += 2) {
    const next = (i + 2) % ring.length;
    sum += ring[i]! * ring[next + 1]! - ring[next]! * ring[i + 1]!;
  }
  return sum;
}

/** Rings of x, y, x, y … of each polygon. */
export function toRings(polygons: RegionPolygons): Rings[] {
  return polygons.map((rings) => rings.map((one) => one.flat()));
}

/** The polygons of rings. A last corner that repeats the first is left out, so that equal regions are equal settings. */
export function fromRings(polygons: readonly Rings[]): RegionPolygons {
  return polygons.map((rings) =>
    rings
      .filter((ring) => ring.length > 0)
      .map((ring) => {
        const n = ring.length;
        const isClosed = n > 2 && ring[0] === ring[n - 2] && ring[1] === ring[n - 1];
        const corners = (isClosed ? n - 2 : n) / 2;
        return Array.from({ length: corners }, (_, i) => [ring[2 * i]!, ring[2 * i + 1]!] as const);
      }),
  );
}

/** The whole-pixel rectangle around polygons: x, y, width, height. */
export function boxAround(polygons: RegionPolygons): readonly [number, number, number, number] {
  let [left, top] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  let [right, bottom] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const [x, y] of polygons.flat(2)) {
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  const [x, y] = [Math.floor(left), Math.floor(top)];
  return [x, y, Math.ceil(right) - x, Math.ceil(bottom) - y];
}
