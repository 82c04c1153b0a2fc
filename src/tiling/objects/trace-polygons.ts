/** `x, y` of each corner, flat; the last corner joins the first. Collinear corners do not occur. */
export type Ring = readonly number[];

/** An exterior ring and the holes in it. */
export type Polygon = readonly [exterior: Ring, ...holes: Ring[]];

/**
 * Traces the outline of a set of pixels along pixel edges: pixel `(x, y)` covers `[x, x + 1) × [y, y + 1)`.
 *
 * `runs` is `[n, 3]` of `y, x0, x1` in raster order, runs of a row not touching (`ObjectRuns.runs`). Pixels that touch
 * by an edge share a polygon; those that touch only at a corner are in separate polygons, so the result is one
 * polygon per 4-connected part and always valid (OGC Simple Features): rings neither cross nor touch themselves, and
 * parts meet at most in points.
 *
 * Exteriors are counter-clockwise and holes clockwise in coordinates, as RFC 7946 requires: the signed (shoelace) area of
 * an exterior is positive. On a screen, where y points down, exteriors therefore look clockwise.
 * The sum of signed areas is exactly the number of pixels.
 */
export function tracePolygons(runs: Int32Array): Polygon[] {
  const count = runs.length / 3;
  if (count === 1) return [[rectangle(runs)]];
  const links = linkEdges(runs);
  const { next, part, visited } = links;
  const exteriors: (Ring | undefined)[] = [];
  const holes: Ring[][] = [];
  for (let p = 0; p < links.parts; p++) holes.push([]);
  const corners: number[] = [];
  for (let e = 0; e < 2 * count; e++) {
    if (visited[e] === 1) continue;
    corners.length = 0;
    for (let from = e; visited[from] === 0; from = next[from]!) {
      visited[from] = 1;
      const to = next[from]!;
      const x = edgeX(runs, from);
      const toX = edgeX(runs, to);
      // A right edge runs down and ends below its row; a left edge runs up.
      const y = runs[3 * (from >> 1)]! + (from & 1);
      if (x !== toX) corners.push(x, y, toX, y);
    }
    const own = part[e >> 1]!;
    for (const ring of links.pinched ? splitAtRepeats(corners) : [corners.slice()]) {
      if (signedArea(ring) > 0) exteriors[own] = ring;
      else holes[own]!.push(ring);
    }
  }
  return holes.map((inner, p) => [exteriors[p]!, ...inner]);
}

/** Area by the shoelace formula; positive for counter-clockwise coordinates. */
export function signedArea(ring: ArrayLike<number>): number {
  let twice = 0;
  let x0 = ring[ring.length - 2]!;
  let y0 = ring[ring.length - 1]!;
  for (let i = 0; i < ring.length; i += 2) {
    const x = ring[i]!;
    const y = ring[i + 1]!;
    twice += x0 * y - x * y0;
    x0 = x;
    y0 = y;
  }
  return twice / 2;
}

function rectangle(runs: Int32Array): Ring {
  const [y, x0, x1] = runs as unknown as [number, number, number];
  return [x0, y, x1, y, x1, y + 1, x0, y + 1];
}

/** Edge `2i` is the left side of run `i` (upwards), `2i + 1` its right side (downwards). */
function edgeX(runs: Int32Array, edge: number): number {
  return runs[3 * (edge >> 1) + 1 + (edge & 1)]!;
}

interface Links {
  /** The vertical edge that follows each vertical edge along its ring. */
  next: Int32Array;
  /** 4-connected part of each run, numbered in raster order. */
  part: Int32Array;
  /** Flags by vertical edge, initially zero. */
  visited: Uint8Array;
  parts: number;
  /** Whether two pixels touch at a corner only. */
  pinched: boolean;
}

/**
 * Buffers of `tracePolygons`, reused by each call: allocating typed arrays for each of a million objects would cost more
 * than tracing them.
 */
let scratch = {
  next: new Int32Array(512),
  part: new Int32Array(256),
  visited: new Uint8Array(512),
  parent: new Int32Array(256),
};

function scratchFor(count: number): typeof scratch {
  if (scratch.part.length < count) {
    const size = 2 * count;
    scratch = {
      next: new Int32Array(2 * size),
      part: new Int32Array(size),
      visited: new Uint8Array(2 * size),
      parent: new Int32Array(size),
    };
  }
  scratch.visited.fill(0, 0, 2 * count);
  for (let i = 0; i < count; i++) scratch.parent[i] = i;
  return scratch;
}

function linkEdges(runs: Int32Array): Links {
  const count = runs.length / 3;
  const { next, part, visited, parent } = scratchFor(count);
  const links: Links = { next, part, visited, parts: 0, pinched: false };
  let above = 0;
  let row = 0;
  while (row < count) {
    const y = runs[3 * row]!;
    let rowEnd = row + 1;
    while (rowEnd < count && runs[3 * rowEnd] === y) rowEnd++;
    if (row > above && runs[3 * above]! !== y - 1) {
      linkLine(runs, links, above, row, row, row);
      above = row;
    }
    linkLine(runs, links, above, row, row, rowEnd);
    joinOverlapping(runs, parent, above, row, rowEnd);
    above = row;
    row = rowEnd;
  }
  linkLine(runs, links, above, count, count, count);
  for (let i = 0; i < count; i++) {
    const root = findRoot(parent, i);
    links.part[i] = root === i ? links.parts++ : links.part[root]!;
  }
  return links;
}

/**
 * Links the vertical edges that meet on the line between runs `[a0, a1)` above and `[b0, b1)` below. Where exactly one
 * side is covered there is a horizontal edge, which runs right along the top of pixels and left along their bottom.
 * Where two pixels touch at a corner, each keeps its own corner.
 */
function linkLine(runs: Int32Array, links: Links, a0: number, a1: number, b0: number, b1: number): void {
  const next = links.next;
  let a = 2 * a0;
  let b = 2 * b0;
  const aEnd = 2 * a1;
  const bEnd = 2 * b1;
  let inAbove = false;
  let inBelow = false;
  let open = -1;
  while (a < aEnd || b < bEnd) {
    const ax = a < aEnd ? edgeX(runs, a) : Number.POSITIVE_INFINITY;
    const bx = b < bEnd ? edgeX(runs, b) : Number.POSITIVE_INFINITY;
    if (ax === bx) {
      if (inAbove === inBelow) {
        if (inAbove) next[a] = b;
        else next[b] = a;
      } else {
        links.pinched = true;
        if (inAbove) {
          next[a] = open;
          open = b;
        } else {
          next[open] = b;
          open = a;
        }
      }
      inAbove = !inAbove;
      inBelow = !inBelow;
      a++;
      b++;
      continue;
    }
    const event = ax < bx ? a : b;
    if (open < 0) open = event;
    else {
      if (inAbove) next[event] = open;
      else next[open] = event;
      open = -1;
    }
    if (ax < bx) {
      inAbove = !inAbove;
      a++;
    } else {
      inBelow = !inBelow;
      b++;
    }
  }
}

/** Joins runs of two rows that share an edge; the smaller index is the root, so roots come first in raster order. */
function joinOverlapping(
  runs: Int32Array,
  parent: Int32Array,
  above: number,
  row: number,
  rowEnd: number,
): void {
  let a = above;
  let b = row;
  while (a < row && b < rowEnd) {
    const aEnd = runs[3 * a + 2]!;
    const bEnd = runs[3 * b + 2]!;
    if (Math.max(runs[3 * a + 1]!, runs[3 * b + 1]!) < Math.min(aEnd, bEnd)) {
      const ra = findRoot(parent, a);
      const rb = findRoot(parent, b);
      if (ra < rb) parent[rb] = ra;
      else parent[ra] = rb;
    }
    if (aEnd < bEnd) a++;
    else b++;
  }
}

function findRoot(parent: Int32Array, i: number): number {
  let root = i;
  while (parent[root] !== root) {
    parent[root] = parent[parent[root]!]!;
    root = parent[root]!;
  }
  return root;
}

/**
 * Splits a ring at corners that it passes twice, where enclosed background touches the outside (or two holes touch). The
 * resulting loops are simple.
 */
function splitAtRepeats(corners: readonly number[]): Ring[] {
  const rings: Ring[] = [];
  const stack: number[] = [];
  const placeOf = new Map<number, number>();
  for (let i = 0; i < corners.length; i += 2) {
    const x = corners[i]!;
    const y = corners[i + 1]!;
    const key = y * 2 ** 26 + x;
    const place = placeOf.get(key);
    if (place !== undefined) {
      rings.push(stack.slice(place));
      for (let k = place; k < stack.length; k += 2) placeOf.delete(stack[k + 1]! * 2 ** 26 + stack[k]!);
      stack.length = place;
    }
    placeOf.set(key, stack.length);
    stack.push(x, y);
  }
  rings.push(stack);
  return rings;
}
