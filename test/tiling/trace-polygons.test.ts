import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { measureObject, measurePerimeter } from "../../src/tiling/objects/measure-objects.ts";
import { simplifyPolygon, simplifyRing } from "../../src/tiling/objects/simplify-polygons.ts";
import { type Polygon, signedArea, tracePolygons } from "../../src/tiling/objects/trace-polygons.ts";

/** Runs of the set pixels of rows drawn with `#`. */
function runsOf(rows: readonly string[]): Int32Array {
  const runs: number[] = [];
  rows.forEach((row, y) => {
    for (const match of row.matchAll(/#+/g)) runs.push(y, match.index, match.index + match[0].length);
  });
  return Int32Array.from(runs);
}

const drawings = fc
  .tuple(fc.integer({ min: 1, max: 14 }), fc.integer({ min: 1, max: 14 }))
  .chain(([w, h]) =>
    fc.array(fc.array(fc.constantFrom("#", "#", "."), { minLength: w, maxLength: w }), {
      minLength: h,
      maxLength: h,
    }),
  )
  .map((rows) => rows.map((row) => row.join("")))
  .filter((rows) => rows.some((row) => row.includes("#")));

function inside(polygons: readonly Polygon[], x: number, y: number): boolean {
  let crossings = 0;
  for (const ring of polygons.flat()) {
    for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
      const [xi, yi, xj, yj] = [ring[i]!, ring[i + 1]!, ring[j]!, ring[j + 1]!];
      if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) crossings++;
    }
  }
  return crossings % 2 === 1;
}

describe("polygons", () => {
  it("cover exactly the pixels: the sum of signed areas counts them, each centre is inside", () => {
    fc.assert(
      fc.property(drawings, (rows) => {
        const polygons = tracePolygons(runsOf(rows));
        const area = polygons.flat().reduce((sum, ring) => sum + signedArea(ring), 0);
        expect(area).toBe(rows.join("").replaceAll(".", "").length);
        rows.forEach((row, y) => {
          for (let x = 0; x < row.length; x++) {
            expect(inside(polygons, x + 0.5, y + 0.5)).toBe(row[x] === "#");
          }
        });
      }),
      { numRuns: 300 },
    );
  });

  it("are simple rings: exterior positive, holes negative, no corner twice, no collinear corner", () => {
    fc.assert(
      fc.property(drawings, (rows) => {
        for (const [exterior, ...holes] of tracePolygons(runsOf(rows))) {
          expect(signedArea(exterior)).toBeGreaterThan(0);
          for (const hole of holes) expect(signedArea(hole)).toBeLessThan(0);
          for (const ring of [exterior, ...holes]) {
            const corners = new Set<string>();
            for (let i = 0; i < ring.length; i += 2) {
              corners.add(`${ring[i]},${ring[i + 1]}`);
              const next = (i + 2) % ring.length;
              const afterNext = (i + 4) % ring.length;
              expect(ring[i] === ring[next]).not.toBe(ring[next] === ring[afterNext]);
            }
            expect(corners.size).toBe(ring.length / 2);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    ["a pixel", ["#"], [[1]]],
    ["a hole", ["###", "#.#", "###"], [[9, -1]]],
    ["two pixels that touch at a corner", ["#.", ".#"], [[1], [1]]],
    ["a C whose tips touch at a corner: its inside is a hole", [".##", "#.#", "###"], [[8, -1]]],
    ["two holes that touch at a corner", ["####", "#.##", "##.#", "####"], [[16, -1, -1]]],
    ["an island in a hole", ["#####", "#...#", "#.#.#", "#...#", "#####"], [[25, -9], [1]]],
  ])("%s", (_, rows, areas) => {
    expect(tracePolygons(runsOf(rows)).map((p) => p.map(signedArea))).toEqual(areas);
  });

  it("simplify to fewer corners within the tolerance, never fewer than three", () => {
    const staircase = Array.from({ length: 30 }, (_, y) => "#".repeat(y + 1));
    const [[ring]] = tracePolygons(runsOf(staircase)) as [Polygon];
    const simple = simplifyRing(ring, 1);
    expect(simple.length).toBeLessThan(ring.length / 4);
    expect(simple.length).toBeGreaterThanOrEqual(6);
    expect(simplifyPolygon([ring], 0)[0]).toBe(ring);
  });
});

describe("simplified polygons", () => {
  it("keep direction, stay within the tolerance, and cover almost the same", () => {
    fc.assert(
      fc.property(drawings, fc.constantFrom(0.5, 0.8, 1, 1.5), (rows, tolerance) => {
        for (const polygon of tracePolygons(runsOf(rows))) {
          const simple = simplifyPolygon(polygon, tolerance);
          expect(simple.length).toBe(polygon.length);
          simple.forEach((ring, r) => {
            const original = polygon[r]!;
            expect(Math.sign(signedArea(ring))).toBe(Math.sign(signedArea(original)));
            for (let i = 0; i < original.length; i += 2) {
              expect(distanceTo(ring, original[i]!, original[i + 1]!)).toBeLessThanOrEqual(tolerance + 1e-9);
            }
          });
        }
      }),
      { numRuns: 200 },
    );
  });

  it("stay unchanged if they would cross themselves", () => {
    let kept = 0;
    fc.assert(
      fc.property(drawings, (rows) => {
        for (const polygon of tracePolygons(runsOf(rows))) {
          const rings = polygon.map((ring) => simplifyRing(ring, 2));
          const simple = simplifyPolygon(polygon, 2);
          if (crossings(rings) > 0) {
            expect(simple).toBe(polygon);
            kept++;
          }
          expect(crossings(simple)).toBe(0);
        }
      }),
      { numRuns: 300, seed: 7 },
    );
    expect(kept).toBeGreaterThan(0);
  });
});

/** Pairs of edges that cross in the middle of both. */
function crossings(rings: readonly ArrayLike<number>[]): number {
  const edges = rings.flatMap((ring) =>
    Array.from({ length: ring.length / 2 }, (_, i) => {
      const j = (2 * i + 2) % ring.length;
      return {
        x: ring[2 * i]!,
        y: ring[2 * i + 1]!,
        dx: ring[j]! - ring[2 * i]!,
        dy: ring[j + 1]! - ring[2 * i + 1]!,
      };
    }),
  );
  let count = 0;
  for (const [i, a] of edges.entries()) {
    for (const b of edges.slice(i + 1)) {
      const cross = a.dx * b.dy - a.dy * b.dx;
      const s = ((b.x - a.x) * b.dy - (b.y - a.y) * b.dx) / cross;
      const t = ((b.x - a.x) * a.dy - (b.y - a.y) * a.dx) / cross;
      if (cross !== 0 && s > 0 && s < 1 && t > 0 && t < 1) count++;
    }
  }
  return count;
}

function distanceTo(ring: ArrayLike<number>, x: number, y: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
    const [dx, dy] = [ring[i]! - ring[j]!, ring[i + 1]! - ring[j + 1]!];
    const along = ((x - ring[j]!) * dx + (y - ring[j + 1]!) * dy) / (dx * dx + dy * dy);
    const t = Math.min(1, Math.max(0, along));
    best = Math.min(best, Math.hypot(x - ring[j]! - t * dx, y - ring[j + 1]! - t * dy));
  }
  return best;
}

function disc(radius: number): Int32Array {
  const rows: string[] = [];
  for (let y = -radius; y <= radius; y++) {
    let row = "";
    for (let x = -radius; x <= radius; x++) row += x * x + y * y <= radius * radius ? "#" : ".";
    rows.push(row);
  }
  return runsOf(rows);
}

describe("measurements", () => {
  const measure = (runs: Int32Array, sample = { x: 1, y: 1 }) => {
    let area = 0;
    for (let i = 0; i < runs.length; i += 3) area += runs[i + 2]! - runs[i + 1]!;
    return measureObject({ number: 1, kind: 1, runs, area }, tracePolygons(runs), sample);
  };

  it.each([10, 20, 57])("a disc of radius %i: perimeter within 4 percent, axes within 1", (radius) => {
    const m = measure(disc(radius));
    const r = Math.sqrt(m.areaPx / Math.PI);
    expect(Math.abs(m.perimeter / (2 * Math.PI * r) - 1)).toBeLessThan(0.04);
    expect(m.circularity).toBeGreaterThan(0.93);
    expect(m.majorAxis / (2 * r)).toBeCloseTo(1, 2);
    expect(m.eccentricity).toBeLessThan(0.15);
    expect(m.centroid).toEqual({ x: radius + 0.5, y: radius + 0.5 });
  });

  it("a bar: box, axes and direction, in unequal sample sizes", () => {
    const m = measure(Int32Array.of(5, 10, 22, 6, 10, 22, 7, 10, 22), { x: 0.5, y: 2 });
    expect(m.bounds).toEqual({ x: 10, y: 5, width: 12, height: 3 });
    expect(m.area).toBe(36);
    // A w×h rectangle has second moments w²/12 and h²/12; here it is 6 by 6 units.
    expect(m.majorAxis).toBeCloseTo((4 * 6) / Math.sqrt(12));
    expect(m.eccentricity).toBeCloseTo(0);
  });

  it("moments agree with the sum over pixels", () => {
    fc.assert(
      fc.property(drawings, (rows) => {
        const runs = runsOf(rows);
        const pixels: [number, number][] = [];
        for (let i = 0; i < runs.length; i += 3)
          for (let x = runs[i + 1]!; x < runs[i + 2]!; x++) pixels.push([x + 0.5, runs[i]! + 0.5]);
        const mean = [0, 1].map((a) => pixels.reduce((s, p) => s + p[a]!, 0) / pixels.length);
        const cov = (a: number, b: number) =>
          pixels.reduce((s, p) => s + (p[a]! - mean[a]!) * (p[b]! - mean[b]!), 0) / pixels.length +
          (a === b ? 1 / 12 : 0);
        const m = measure(runs);
        expect(m.centroid.x).toBeCloseTo(mean[0]!, 9);
        expect(m.centroid.y).toBeCloseTo(mean[1]!, 9);
        expect((m.majorAxis / 4) ** 2 + (m.minorAxis / 4) ** 2).toBeCloseTo(cov(0, 0) + cov(1, 1), 8);
        expect((m.majorAxis / 4) ** 2 * (m.minorAxis / 4) ** 2).toBeCloseTo(
          cov(0, 0) * cov(1, 1) - cov(0, 1) ** 2,
          6,
        );
      }),
      { numRuns: 60 },
    );
  });

  it("the perimeter of a square is Kulpa's: exact along its edges but for the factor", () => {
    const side = 100;
    const runs = Int32Array.from(Array.from({ length: side }, (_, y) => [y, 0, side]).flat());
    const raw = 4 * (side - 1) + 4 * Math.SQRT1_2;
    expect(measurePerimeter(tracePolygons(runs), { x: 1, y: 1 })).toBeCloseTo(
      (raw * Math.PI * (1 + Math.SQRT2)) / 8,
    );
  });
});
