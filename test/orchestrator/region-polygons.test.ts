import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jobRequestSchema } from "../../src/contracts/job-request.ts";
import {
  boxAround,
  findPolygonProblem,
  fromRings,
  MAX_REGION_CORNERS,
  MAX_REGION_POLYGONS,
  type RegionPolygons,
  toRings,
} from "../../src/orchestrator/region-polygons.ts";
import { checkSettings } from "../../src/orchestrator/settings.ts";
import { parseRegionPolygons } from "../../src/portable/parse-polygons.ts";
import { drawnPolygon } from "../builders/drawn-polygons.ts";

const square = [
  [0, 0],
  [10, 0],
  [10, 10],
  [0, 10],
] as const;
const crossed = [
  [0, 0],
  [10, 10],
  [10, 0],
  [0, 10],
] as const;
const circle = (corners: number) =>
  Array.from({ length: corners }, (_, i): [number, number] => {
    const angle = (2 * Math.PI * i) / corners;
    return [1e6 * (1 + Math.cos(angle)), 1e6 * (1 + Math.sin(angle))];
  });

describe("the polygons of a region", () => {
  it.each<[string, RegionPolygons, RegExp]>([
    ["that cross themselves", [[square], [crossed]], /^polygon 2 crosses itself at 5, 5: draw it again/],
    ["with a hole that crosses itself", [[circle(20), crossed]], /^polygon 1 crosses itself/],
    [
      "of a line",
      [
        [
          [
            [3, 3],
            [9, 9],
            [3, 3],
          ],
        ],
      ],
      /^polygon 1 (crosses itself|encloses no area)/,
    ],
    ["of a point", [[[[3, 3]]]], /^polygon 1 encloses no area: draw it again$/],
    ["of nothing", [[[]]], /^polygon 1 encloses no area/],
    [
      "with too many corners",
      [[circle(MAX_REGION_CORNERS / 2)], [circle(MAX_REGION_CORNERS / 2 + 1)]],
      /^the polygons have 10001 corners, the limit is 10000: simplify/,
    ],
    [
      "that are too many",
      Array.from({ length: MAX_REGION_POLYGONS + 1 }, () => [square]),
      /^there are 1001 polygons, the limit is 1000/,
    ],
  ])("are refused %s, by settings and files alike", (_, polygons, sentence) => {
    expect(findPolygonProblem(polygons)).toMatch(sentence);
    expect(() => checkSettings({ polygons })).toThrow("setting polygons");
    const geojson = JSON.stringify({ type: "MultiPolygon", coordinates: polygons });
    expect(() => parseRegionPolygons(new TextEncoder().encode(geojson), "roi.geojson")).toThrow(
      /^roi\.geojson/,
    );
  });

  it("are accepted with as many corners as the limit, in the time of a request", () => {
    const started = performance.now();
    expect(findPolygonProblem([[circle(MAX_REGION_CORNERS)]])).toBeUndefined();
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  it("are refused in a request if corners are not numbers, rings are nested too deeply, or there is a rectangle too", () => {
    const request = (settings: object) =>
      jobRequestSchema.safeParse({ source: "r2://scans/a.svs", settings });
    expect(request({ polygons: [[square]] }).success).toBe(true);
    for (const polygons of [
      [],
      [[]],
      [[[[0, 0], [1]]]],
      [
        [
          [
            [0, 0],
            [1, "1"],
          ],
        ],
      ],
      [
        [
          [
            [0, 0],
            [1, 1e300],
          ],
        ],
      ],
      [[[[[0, 0]]]]],
      [[[[0, 0, 0]]]],
      { type: "Polygon" },
      "roi.geojson",
      null,
    ])
      expect([polygons, request({ polygons }).success]).toEqual([polygons, false]);
    const both = request({ polygons: [[square]], roi: [0, 0, 5, 5] });
    expect(both.error?.issues[0]?.message).toBe("a region is a rectangle (roi) or polygons, not both");
  });

  it("of a file are those of its rings, without the repeated last corner", () => {
    fc.assert(
      fc.property(fc.array(drawnPolygon(500, 300), { minLength: 1, maxLength: 3 }), (polygons) => {
        const closed = polygons.map((rings) => rings.map((ring) => [...ring, ring[0]!]));
        const features = closed.map((coordinates) => ({
          type: "Feature",
          geometry: { type: "Polygon", coordinates },
          properties: { objectType: "annotation" },
        }));
        const text = JSON.stringify({ type: "FeatureCollection", features });
        const read = parseRegionPolygons(new TextEncoder().encode(text), "roi.geojson");
        expect(read).toEqual(polygons);
        expect(fromRings(toRings(read))).toEqual(read);
        const [x, y, width, height] = boxAround(read);
        for (const [cx, cy] of read.flat(2)) {
          expect(cx >= x && cx <= x + width && cy >= y && cy <= y + height).toBe(true);
        }
      }),
      { seed: 20, numRuns: 50 },
    );
  });
});
