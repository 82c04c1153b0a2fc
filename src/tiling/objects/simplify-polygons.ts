import { type Polygon, type Ring, signedArea } from "./trace-polygons.ts";

/** Limit of corners for simplification: the check for crossings is quadratic. */
const MOST_CORNERS_CHECKED = 4000;

/**
 * Simplifies the exterior and each hole by the algorithm of Douglas and Peucker (1973) with `tolerance` in samples; a hole
 * that would collapse keeps its outline. A polygon that would cross or touch itself is returned unchanged, so the result
 * is always valid. Neighbours with a shared edge may overlap by up to the tolerance: measurements use the original
 * outlines.
 */
export function simplifyPolygon(polygon: Polygon, tolerance: number): Polygon {
  if (!(tolerance > 0)) return polygon;
  const simple = polygon.map((ring) => simplifyRing(ring, tolerance)) as unknown as Polygon;
  const corners = simple.reduce((n, ring) => n + ring.length / 2, 0);
  if (corners > MOST_CORNERS_CHECKED || touchesItself(simple)) return polygon;
  return simple;
}

/** Keeps at least three corners and the direction of the ring. */
export function simplifyRing(ring: Ring, tolerance: number): Ring {
  const corners = ring.length / 2;
  if (corners <= 4) return ring;
  const keep = new Uint8Array(corners + 1);
  // Two fixed corners: the first one and the one furthest from it.
  let far = 0;
  let furthest = -1;
  for (let i = 1; i < corners; i++) {
    const d = (ring[2 * i]! - ring[0]!) ** 2 + (ring[2 * i + 1]! - ring[1]!) ** 2;
    if (d > furthest) {
      furthest = d;
      far = i;
    }
  }
  keep[0] = 1;
  keep[far] = 1;
  keep[corners] = 1;
  const spans = [0, far, far, corners];
  while (spans.length > 0) {
    const to = spans.pop()!;
    const from = spans.pop()!;
    const split = furthestFromChord(ring, from, to, tolerance);
    if (split < 0) continue;
    keep[split] = 1;
    spans.push(from, split, split, to);
  }
  const out: number[] = [];
  for (let i = 0; i < corners; i++) if (keep[i] === 1) out.push(ring[2 * i]!, ring[2 * i + 1]!);
  return signedArea(out) * signedArea(ring) > 0 ? out : ring;
}

/** The corner strictly between `from` and `to` furthest from their chord, or -1 if all are within `tolerance`. */
function furthestFromChord(ring: Ring, from: number, to: number, tolerance: number): number {
  const corners = ring.length / 2;
  const x0 = ring[2 * from]!;
  const y0 = ring[2 * from + 1]!;
  const dx = ring[2 * (to % corners)]! - x0;
  const dy = ring[2 * (to % corners) + 1]! - y0;
  const length = dx * dx + dy * dy;
  let best = tolerance * tolerance;
  let at = -1;
  for (let i = from + 1; i < to; i++) {
    const px = ring[2 * i]! - x0;
    const py = ring[2 * i + 1]! - y0;
    const t = length === 0 ? 0 : Math.min(1, Math.max(0, (px * dx + py * dy) / length));
    const d = (px - t * dx) ** 2 + (py - t * dy) ** 2;
    if (d > best) {
      best = d;
      at = i;
    }
  }
  return at;
}

/**
 * Whether two edges meet other than at a shared corner, or a hole lies outside of its exterior (entirely, if nothing
 * crosses).
 */
function touchesItself(polygon: Polygon): boolean {
  const edges: number[] = [];
  const toRing: number[] = [];
  polygon.forEach((ring, r) => {
    for (let i = 0; i < ring.length; i += 2) {
      const j = (i + 2) % ring.length;
      edges.push(ring[i]!, ring[i + 1]!, ring[j]!, ring[j + 1]!);
      toRing.push(r);
    }
  });
  const count = toRing.length;
  for (let a = 0; a < count; a++) {
    for (let b = a + 1; b < count; b++) {
      const [ax, ay, bx, by] = [edges[4 * a]!, edges[4 * a + 1]!, edges[4 * a + 2]!, edges[4 * a + 3]!];
      const [cx, cy, dx, dy] = [edges[4 * b]!, edges[4 * b + 1]!, edges[4 * b + 2]!, edges[4 * b + 3]!];
      const sharesEnd = toRing[a] === toRing[b] && ((bx === cx && by === cy) || (ax === dx && ay === dy));
      if (!sharesEnd) {
        if (edgesMeet(ax, ay, bx, by, cx, cy, dx, dy)) return true;
        continue;
      }
      // Neighbours in a ring may only share that corner: not fold back onto each other.
      const cross = (bx - ax) * (dy - cy) - (by - ay) * (dx - cx);
      const dot = (bx - ax) * (dx - cx) + (by - ay) * (dy - cy);
      if (cross === 0 && dot < 0) return true;
    }
  }
  const [exterior, ...holes] = polygon;
  return holes.some((hole) => !contains(exterior, hole[0]!, hole[1]!));
}

function side(ax: number, ay: number, bx: number, by: number, px: number, py: number): number {
  return Math.sign((bx - ax) * (py - ay) - (by - ay) * (px - ax));
}

function edgesMeet(
  ax: number,
  ay: number,
  bx: number,
  by: number,
  cx: number,
  cy: number,
  dx: number,
  dy: number,
): boolean {
  if (Math.max(ax, bx) < Math.min(cx, dx) || Math.max(cx, dx) < Math.min(ax, bx)) return false;
  if (Math.max(ay, by) < Math.min(cy, dy) || Math.max(cy, dy) < Math.min(ay, by)) return false;
  return (
    side(ax, ay, bx, by, cx, cy) * side(ax, ay, bx, by, dx, dy) <= 0 &&
    side(cx, cy, dx, dy, ax, ay) * side(cx, cy, dx, dy, bx, by) <= 0
  );
}

/** Even-odd rule, for points that lie on no edge. */
function contains(ring: Ring, x: number, y: number): boolean {
  let inside = false;
  for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
    const yi = ring[i + 1]!;
    const yj = ring[j + 1]!;
    if (yi > y !== yj > y && x < ((ring[j]! - ring[i]!) * (y - yi)) / (yj - yi) + ring[i]!) inside = !inside;
  }
  return inside;
}
