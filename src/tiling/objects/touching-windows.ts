import { type WindowGrid, windowCount } from "../grid/window-grid.ts";
import { WindowSet } from "../grid/window-set.ts";
import type { Rings } from "./rasterize-polygons.ts";

/** Where the windows of a grid lie in the image of the polygons, slow to fast (y, x). */
export interface GridPlace {
  /** Origin of the grid's region in the level. */
  origin: readonly number[];
  levelShape: readonly number[];
  /** Units of the polygons per sample of the level. */
  downsample: readonly number[];
}

/**
 * The windows that share an area with a polygon, exactly: a raster of a large slide would lose thin polygons or add windows.
 * Windows at the border of the level own what the level does not cover, because its size is rounded down.
 * @param polygons of rings without crossings
 */
export function touchingWindows(
  grid: WindowGrid,
  { origin, levelShape, downsample }: GridPlace,
  polygons: Iterable<Rings>,
): WindowSet {
  const [rows, columns] = [0, 1].map((axis) =>
    grid.starts[axis]!.map((start) => {
      const from = start + origin[axis]!;
      const to = from + grid.window[axis]!;
      return {
        from: from <= 0 ? Number.NEGATIVE_INFINITY : from * downsample[axis]!,
        to: to >= levelShape[axis]! ? Number.POSITIVE_INFINITY : to * downsample[axis]!,
      };
    }),
  ) as [Span[], Span[]];
  const touching = new WindowSet(windowCount(grid));
  for (const rings of polygons) {
    const edges = edgesOf(rings);
    const top = edges.reduce((least, { y0 }) => Math.min(least, y0), Number.POSITIVE_INFINITY);
    const bottom = edges.reduce((most, { y1 }) => Math.max(most, y1), Number.NEGATIVE_INFINITY);
    for (let row = 0; row < rows.length; row++) {
      const band = rows[row]!;
      if (band.to <= top || band.from >= bottom) continue;
      for (const { from, to } of shadow(edges, band)) {
        // The columns are sorted, so those that the interval touches follow each other.
        const first = firstWhere(columns, (column) => column.to > from);
        for (let column = first; column < columns.length && columns[column]!.from < to; column++)
          touching.add(row * columns.length + column);
      }
    }
  }
  return touching;
}

interface Span {
  from: number;
  to: number;
}

/** An edge from its upper end to its lower. */
interface Edge {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

function edgesOf(rings: Rings): Edge[] {
  return rings.flatMap((ring) => {
    const edges: Edge[] = [];
    for (let i = 0; i + 1 < ring.length; i += 2) {
      const next = (i + 2) % ring.length;
      const [xa, ya, xb, yb] = [ring[i]!, ring[i + 1]!, ring[next]!, ring[next + 1]!];
      edges.push(ya <= yb ? { x0: xa, y0: ya, x1: xb, y1: yb } : { x0: xb, y0: yb, x1: xa, y1: ya });
    }
    return edges;
  });
}

/**
 * The x coordinates that a polygon has within a band of y: those of its edges there, and what lies between them at the
 * top and at the bottom of the band. Joined, and from left to right.
 */
function shadow(edges: readonly Edge[], { from, to }: Span): Span[] {
  const spans: Span[] = [];
  const top: number[] = [];
  const bottom: number[] = [];
  for (const { x0, y0, x1, y1 } of edges) {
    if (y1 < from || y0 > to) continue;
    const at = (y: number) => (y === y0 ? x0 : y === y1 ? x1 : x0 + ((y - y0) / (y1 - y0)) * (x1 - x0));
    const [high, low] = [Math.max(y0, from), Math.min(y1, to)];
    if (high < low || (y0 === y1 && from < y0 && y0 < to)) {
      const [a, b] = y0 === y1 ? [x0, x1] : [at(high), at(low)];
      spans.push({ from: Math.min(a, b), to: Math.max(a, b) });
    }
    // Just below the top of the band, and just above its bottom.
    if (y0 <= from && from < y1) top.push(at(from));
    if (y0 < to && to <= y1) bottom.push(at(to));
  }
  for (const crossings of [top, bottom]) {
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2)
      spans.push({ from: crossings[i]!, to: crossings[i + 1]! });
  }
  spans.sort((a, b) => a.from - b.from);
  const joined: Span[] = [];
  for (const span of spans) {
    const last = joined.at(-1);
    if (last && span.from <= last.to) last.to = Math.max(last.to, span.to);
    else joined.push({ ...span });
  }
  return joined;
}

/** The first index for which a condition holds that holds for all after it. */
function firstWhere<T>(sorted: readonly T[], holds: (value: T) => boolean): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(sorted[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}
