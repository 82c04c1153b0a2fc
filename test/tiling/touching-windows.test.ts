import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planWindowGrid, windowCount, windowRect } from "../../src/tiling/grid/window-grid.ts";
import { touchingWindows } from "../../src/tiling/objects/touching-windows.ts";
import { drawnPolygon, isInside, type Polygon } from "../builders/drawn-polygons.ts";

const [WIDTH, HEIGHT] = [130, 90];
const flat = (polygons: readonly Polygon[]) => polygons.map((rings) => rings.map((ring) => ring.flat()));
const place = { origin: [0, 0], levelShape: [HEIGHT, WIDTH], downsample: [1, 1] };

function numbers(...args: Parameters<typeof touchingWindows>): number[] {
  const found = touchingWindows(...args);
  return Array.from({ length: found.length }, (_, i) => i).filter((i) => found.has(i));
}

/** Whether a rect shares an area with a convex clip of the polygon: by clipping each ring (Sutherland and Hodgman, 1974). */
function clippedArea(polygon: Polygon, [x0, y0, x1, y1]: readonly [number, number, number, number]): number {
  const area = (ring: readonly (readonly [number, number])[]) => {
    let sum = 0;
    ring.forEach(([x, y], i) => {
      const [nextX, nextY] = ring[(i + 1) % ring.length]!;
      sum += (x * nextY - nextX * y) / 2;
    });
    return Math.abs(sum);
  };
  const clip = (ring: readonly (readonly [number, number])[], axis: 0 | 1, at: number, sign: 1 | -1) =>
    ring.flatMap((corner, i) => {
      const next = ring[(i + 1) % ring.length]!;
      const [a, b] = [sign * (corner[axis] - at), sign * (next[axis] - at)];
      const out: [number, number][] = [];
      if (a >= 0) out.push([corner[0], corner[1]]);
      if (a >= 0 !== b >= 0) {
        const part = a / (a - b);
        out.push([corner[0] + part * (next[0] - corner[0]), corner[1] + part * (next[1] - corner[1])]);
      }
      return out;
    });
  const areas = polygon.map((ring) =>
    area(clip(clip(clip(clip(ring, 0, x0, 1), 0, x1, -1), 1, y0, 1), 1, y1, -1)),
  );
  // The hole lies within the exterior ring.
  return areas[0]! - areas.slice(1).reduce((sum, hole) => sum + hole, 0);
}

describe("the windows that a polygon touches", () => {
  it("are those that share an area with it", () => {
    fc.assert(
      fc.property(
        fc.array(drawnPolygon(WIDTH, HEIGHT), { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 3, max: 40 }),
        fc.constantFrom(0, 0.25, 0.6),
        (polygons, window, overlapRatio) => {
          const grid = planWindowGrid({ shape: [HEIGHT, WIDTH], window: [window, window], overlapRatio });
          const found = touchingWindows(grid, place, flat(polygons));
          for (let w = 0; w < windowCount(grid); w++) {
            const { origin, size } = windowRect(grid, w);
            const [y, x] = origin as [number, number];
            const box = [x, y, x + size[1]!, y + size[0]!] as const;
            const area = Math.max(...polygons.map((polygon) => clippedArea(polygon, box)));
            // Rounding decides about slivers.
            if (area > 1e-6) expect([w, found.has(w)]).toEqual([w, true]);
            else if (area < 1e-12) {
              const isNear = polygons.some(
                (polygon) =>
                  clippedArea(polygon, [box[0] - 1e-6, box[1] - 1e-6, box[2] + 1e-6, box[3] + 1e-6]) > 1e-13,
              );
              if (!isNear) expect([w, found.has(w)]).toEqual([w, false]);
            }
          }
        },
      ),
      { seed: 20, numRuns: 200 },
    );
  });

  it("cover every sample whose centre is inside, at any level and in any part of the grid", () => {
    fc.assert(
      fc.property(
        drawnPolygon(WIDTH, HEIGHT),
        fc.constantFrom(1, 2, 3.7),
        fc.integer({ min: 4, max: 20 }),
        (polygon, down, window) => {
          const levelShape = [Math.floor(HEIGHT / down), Math.floor(WIDTH / down)];
          const grid = planWindowGrid({ shape: levelShape, window: [window, window], overlapRatio: 0.3 });
          const found = touchingWindows(
            grid,
            { origin: [0, 0], levelShape, downsample: [down, down] },
            flat([polygon]),
          );
          for (let y = 0; y < levelShape[0]!; y++) {
            for (let x = 0; x < levelShape[1]!; x++) {
              if (!isInside(polygon, (x + 0.5) * down, (y + 0.5) * down)) continue;
              for (let w = 0; w < windowCount(grid); w++) {
                const { origin, size } = windowRect(grid, w);
                const covers = [y, x].every((at, a) => at >= origin[a]! && at < origin[a]! + size[a]!);
                if (covers) expect(found.has(w)).toBe(true);
              }
            }
          }
        },
      ),
      { seed: 20, numRuns: 60 },
    );
  });

  const grid = planWindowGrid({ shape: [30, 30], window: [10, 10], overlapRatio: 0 });
  const small = { origin: [0, 0], levelShape: [30, 30], downsample: [1, 1] };
  const box = (x0: number, y0: number, x1: number, y1: number) => [x0, y0, x1, y0, x1, y1, x0, y1];

  it("end where it ends: a border in common is no area", () => {
    expect(numbers(grid, small, [[box(10, 10, 20, 20)]])).toEqual([4]);
    expect(numbers(grid, small, [[box(9.99, 10, 20, 20.01)]])).toEqual([3, 4, 6, 7]);
  });

  it("are none in its hole, and those of each of several", () => {
    expect(numbers(grid, small, [[box(0, 0, 30, 30), box(10, 10, 20, 20)]])).toEqual([
      0, 1, 2, 3, 5, 6, 7, 8,
    ]);
    expect(numbers(grid, small, [[box(1, 1, 2, 2)], [box(21, 11, 22, 12)]])).toEqual([0, 5]);
  });

  it("hold a polygon that is thinner than a sample, or that holds a whole window", () => {
    expect(numbers(grid, small, [[[2, 15, 28, 15.001, 28, 15.002]]])).toEqual([3, 4, 5]);
    expect(numbers(grid, small, [[box(-5, -5, 35, 35)]])).toHaveLength(9);
  });

  it("at the border own what the level does not cover", () => {
    const coarse = { origin: [0, 0], levelShape: [30, 30], downsample: [4, 4] };
    // The image has 123 × 123 pixels, the level 30 × 30 of 4.
    expect(numbers(grid, coarse, [[box(121, 121, 122, 122)]])).toEqual([8]);
  });

  it("are found in a part of a grid", () => {
    const part = {
      ...grid,
      shape: [20, 20],
      starts: [
        [0, 10],
        [0, 10],
      ],
    };
    const moved = { ...small, origin: [10, 10] };
    expect(numbers(part, moved, [[box(12, 22, 13, 23)]])).toEqual([2]);
  });
});
