/**
 * Finds two edges of a closed ring that cross or touch away from their common corner.
 * @param ring x, y, x, y …; the first point may be repeated at the end
 * @returns a point where they meet; undefined for a simple ring
 */
export function findCrossing(ring: readonly number[]): { x: number; y: number } | undefined {
  const corners: [number, number][] = [];
  for (let i = 0; i + 1 < ring.length; i += 2) {
    const [x, y] = [ring[i]!, ring[i + 1]!];
    const last = corners.at(-1);
    if (last?.[0] !== x || last[1] !== y) corners.push([x, y]);
  }
  const [first, last] = [corners[0], corners.at(-1)];
  if (corners.length > 1 && first![0] === last![0] && first![1] === last![1]) corners.pop();
  const n = corners.length;
  const edges = corners.map((from, i) => {
    const to = corners[(i + 1) % n]!;
    const [left, right] = from[0] < to[0] ? [from[0], to[0]] : [to[0], from[0]];
    const [top, bottom] = from[1] < to[1] ? [from[1], to[1]] : [to[1], from[1]];
    return { i, from, to, left, right, top, bottom };
  });
  // From left to right, so that only edges that share some x are compared.
  edges.sort((a, b) => a.left - b.left);
  const active: typeof edges = [];
  for (const edge of edges) {
    let kept = 0;
    for (const other of active) {
      // In place: copies would take longer than the comparisons.
      if (other.right < edge.left) continue;
      active[kept++] = other;
      if (other.bottom < edge.top || other.top > edge.bottom) continue;
      const gap = Math.abs(edge.i - other.i);
      const areNeighbours = gap === 1 || gap === n - 1;
      const point = areNeighbours ? foldPoint(edge, other) : meetingPoint(edge, other);
      if (point) return { x: point[0], y: point[1] };
    }
    active.length = kept;
    active.push(edge);
  }
  return undefined;
}

interface Edge {
  from: [number, number];
  to: [number, number];
}

/** Twice the area of a triangle; its sign is the side of `c`. */
function turn(a: [number, number], b: [number, number], c: [number, number]): number {
  return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
}

function isBetween(a: [number, number], b: [number, number], point: [number, number]): boolean {
  return (
    Math.min(a[0], b[0]) <= point[0] &&
    point[0] <= Math.max(a[0], b[0]) &&
    Math.min(a[1], b[1]) <= point[1] &&
    point[1] <= Math.max(a[1], b[1])
  );
}

function meetingPoint(a: Edge, b: Edge): [number, number] | undefined {
  const [b0, b1] = [turn(a.from, a.to, b.from), turn(a.from, a.to, b.to)];
  const [a0, a1] = [turn(b.from, b.to, a.from), turn(b.from, b.to, a.to)];
  if (Math.sign(b0) * Math.sign(b1) < 0 && Math.sign(a0) * Math.sign(a1) < 0) {
    const part = b0 / (b0 - b1);
    return [b.from[0] + part * (b.to[0] - b.from[0]), b.from[1] + part * (b.to[1] - b.from[1])];
  }
  if (b0 === 0 && isBetween(a.from, a.to, b.from)) return b.from;
  if (b1 === 0 && isBetween(a.from, a.to, b.to)) return b.to;
  if (a0 === 0 && isBetween(b.from, b.to, a.from)) return a.from;
  if (a1 === 0 && isBetween(b.from, b.to, a.to)) return a.to;
  return undefined;
}

/** Neighbouring edges meet elsewhere than in their corner only if one folds back over the other. */
function foldPoint(a: Edge, b: Edge): [number, number] | undefined {
  const [corner, p, q] =
    a.to[0] === b.from[0] && a.to[1] === b.from[1] ? [a.to, a.from, b.to] : [a.from, a.to, b.from];
  if (turn(corner, p, q) !== 0) return undefined;
  const along = (p[0] - corner[0]) * (q[0] - corner[0]) + (p[1] - corner[1]) * (q[1] - corner[1]);
  return along > 0 ? corner : undefined;
}
