import type { Ring } from "./polygons.ts";

/**
 * Drops corners that lie within `tolerance` samples of the outline without them (Douglas and Peucker 1973).
 * Keeps at least three corners. The result may touch its neighbours or, for ragged rings, itself: measurements are
 * always taken from the unsimplified outline.
 */
export function simplifyRing(ring: Ring, tolerance: number): Ring {
  const corners = ring.length / 2;
  if (tolerance <= 0 || corners <= 3) return ring;
  const keep = new Uint8Array(corners + 1);
  // Two fixed ends, far apart: the first corner and the one furthest from it.
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
  return out.length >= 6 ? Int32Array.from(out) : ring;
}

/** The corner strictly between `from` and `to` furthest from their chord, or -1 when all are within `tolerance`. */
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
