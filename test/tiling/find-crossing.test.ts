import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { findCrossing } from "../../src/tiling/objects/find-crossing.ts";

/** Corners around a centre, in the order of their angles: such a ring never crosses itself. */
const star = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 359 }), fc.integer({ min: 10, max: 1000 })), { maxLength: 60 })
  .map((corners) => {
    // One corner in each eighth keeps every edge on its side of the centre.
    const all = new Map([0, 45, 90, 135, 180, 225, 270, 315].map((angle): [number, number] => [angle, 500]));
    for (const [angle, radius] of corners) all.set(angle, radius);
    return [...all]
      .sort(([a], [b]) => a - b)
      .map(([angle, radius]): [number, number] => {
        const turn = (angle / 180) * Math.PI;
        return [radius * Math.cos(turn), radius * Math.sin(turn)];
      });
  });

/** Whether two edges that are no neighbours cross inside both of them, from every pair and by Cramer's rule. */
function crossesInside(points: readonly (readonly [number, number])[]): boolean {
  const n = points.length;
  for (let i = 0; i < n; i++) {
    for (let j = i + 2; j < n; j++) {
      if (i === 0 && j === n - 1) continue;
      const [[ax, ay], [bx, by]] = [points[i]!, points[i + 1]!];
      const [[cx, cy], [dx, dy]] = [points[j]!, points[(j + 1) % n]!];
      const det = (bx - ax) * (dy - cy) - (by - ay) * (dx - cx);
      if (det === 0) continue;
      const s = ((cx - ax) * (dy - cy) - (cy - ay) * (dx - cx)) / det;
      const t = ((cx - ax) * (by - ay) - (cy - ay) * (bx - ax)) / det;
      if (s > 1e-9 && s < 1 - 1e-9 && t > 1e-9 && t < 1 - 1e-9) return true;
    }
  }
  return false;
}

describe("a ring", () => {
  it("that goes around a centre does not cross itself, closed by its first point or not, either way round", () => {
    fc.assert(
      fc.property(star, (points) => {
        expect(findCrossing(points.flat())).toBeUndefined();
        expect(findCrossing([...points, points[0]!].flat())).toBeUndefined();
        expect(findCrossing(points.toReversed().flat())).toBeUndefined();
      }),
      { seed: 20, numRuns: 200 },
    );
  });

  it("with two edges that cross is found, whatever the order of its corners", () => {
    let crossed = 0;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 999 }), fc.integer({ min: 0, max: 999 })), {
          minLength: 4,
          maxLength: 12,
        }),
        (points) => {
          if (!crossesInside(points)) return;
          crossed++;
          expect(findCrossing(points.flat())).toBeDefined();
        },
      ),
      { seed: 20, numRuns: 300 },
    );
    expect(crossed).toBeGreaterThan(200);
  });

  it.each([
    ["a bow tie", [0, 0, 100, 100, 100, 0, 0, 100], { x: 50, y: 50 }],
    ["a corner on another edge", [0, 0, 100, 0, 100, 100, 50, 0, 0, 100], { x: 50, y: 0 }],
    ["an edge that folds back", [0, 0, 100, 0, 50, 0, 50, 80], { x: 100, y: 0 }],
    ["a corner that is visited twice", [0, 0, 50, 50, 100, 0, 100, 100, 50, 50, 0, 100], { x: 50, y: 50 }],
  ])("that is %s is found", (_, ring, point) => {
    expect(findCrossing(ring)).toEqual(point);
  });

  it.each([
    ["a square", [0, 0, 10, 0, 10, 10, 0, 10]],
    ["a square with a repeated corner", [0, 0, 10, 0, 10, 0, 10, 10, 0, 10, 0, 0]],
    ["a triangle", [0, 0, 10, 0, 0, 10]],
    ["a point", [3, 3]],
    ["nothing", []],
  ])("that is %s does not cross itself", (_, ring) => {
    expect(findCrossing(ring)).toBeUndefined();
  });
});
