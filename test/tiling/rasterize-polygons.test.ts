import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { rasterizePolygons } from "../../src/tiling/objects/rasterize-polygons.ts";

const SIDE = 40;
const coordinate = fc.double({ min: -20, max: 60, noNaN: true });
const ring = fc
  .array(coordinate, { minLength: 6, maxLength: 24 })
  .map((r) => r.slice(0, r.length - (r.length % 2)));

/** Even-odd rule, point by point. */
function isInside(rings: readonly (readonly number[])[], x: number, y: number): boolean {
  let inside = false;
  for (const points of rings) {
    for (let i = 0, j = points.length - 2; i < points.length; j = i, i += 2) {
      const [xi, yi, xj, yj] = [points[i]!, points[i + 1]!, points[j]!, points[j + 1]!];
      if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
    }
  }
  return inside;
}

const distanceToEdge = (rings: readonly (readonly number[])[], x: number, y: number) =>
  Math.min(
    ...rings.flatMap((points) =>
      Array.from({ length: points.length / 2 }, (_, k) => {
        const [ax, ay] = [points[2 * k]!, points[2 * k + 1]!];
        const n = (2 * k + 2) % points.length;
        const [dx, dy] = [points[n]! - ax, points[n + 1]! - ay];
        const t = Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
        return Math.hypot(x - ax - t * dx, y - ay - t * dy);
      }),
    ),
  );

describe("polygons as a mask", () => {
  it("set exactly the samples whose centre is inside or that an edge crosses", () => {
    fc.assert(
      fc.property(fc.array(ring, { minLength: 1, maxLength: 3 }), (rings) => {
        const { data } = rasterizePolygons([rings], [SIDE, SIDE], { x: 1, y: 1 });
        for (let y = 0; y < SIDE; y++) {
          for (let x = 0; x < SIDE; x++) {
            const inside = isInside(rings, x + 0.5, y + 0.5);
            const distance = distanceToEdge(rings, x + 0.5, y + 0.5);
            const set = data[y * SIDE + x] === 1;
            if (inside && distance > 1e-6) expect(set).toBe(true);
            // An edge within the sample is at most half a diagonal from its centre.
            if (!inside && distance > Math.SQRT1_2 + 1e-6) expect(set).toBe(false);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it("have holes, and are set even if thinner than a sample", () => {
    const outer = [5, 5, 35, 5, 35, 35, 5, 35];
    const hole = [10, 10, 30, 10, 30, 30, 10, 30];
    const { data } = rasterizePolygons([[outer, hole]], [SIDE, SIDE], { x: 1, y: 1 });
    expect(data[20 * SIDE + 20]).toBe(0);
    expect(data[7 * SIDE + 7]).toBe(1);
    const thin = rasterizePolygons([[[100, 100, 300, 100, 300, 101, 100, 101]]], [SIDE, SIDE], {
      x: 0.1,
      y: 0.1,
    });
    expect(thin.data.reduce((a, b) => a + b)).toBeGreaterThanOrEqual(20);
  });

  it("take time proportional to their area: 200 000 cells in seconds", () => {
    const cells = Array.from({ length: 200_000 }, (_, i) => {
      const [x, y] = [(i % 500) * 8, Math.floor(i / 500) * 8];
      return [[x, y, x + 3, y, x + 3, y + 3, x, y + 3]];
    });
    const { data } = rasterizePolygons(cells, [4096, 4096], { x: 1, y: 1 });
    let set = 0;
    for (const sample of data) set += sample;
    expect(set).toBe(200_000 * 16);
  });
});
