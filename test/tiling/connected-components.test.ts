import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ObjectCollector, type ObjectRuns } from "../../src/tiling/objects/collect-objects.ts";
import {
  interiorRule,
  type ObjectRule,
  ObjectScanner,
  regionRule,
} from "../../src/tiling/objects/connected-components.ts";
import { ObjectPainter } from "../../src/tiling/objects/paint-objects.ts";
import { tracePolygons } from "../../src/tiling/objects/trace-polygons.ts";
import { referenceComponents } from "./reference-components.ts";

interface Picture {
  data: Uint8Array;
  width: number;
  height: number;
}

/** Label maps with structure at several sizes: smooth blobs, lines and noise, tall enough for several growth bands. */
const pictures = fc
  .record({
    width: fc.integer({ min: 1, max: 40 }),
    height: fc.integer({ min: 1, max: 220 }),
    seed: fc.integer(),
    coarse: fc.integer({ min: 1, max: 6 }),
    classes: fc.integer({ min: 2, max: 3 }),
    density: fc.integer({ min: 1, max: 9 }),
  })
  .map(({ width, height, seed, coarse, classes, density }): Picture => {
    const data = new Uint8Array(width * height);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const cell = Math.imul(((y / coarse) | 0) * 7919 + ((x / coarse) | 0) + 1, 0x9e3779b1) ^ seed;
        const hash = Math.imul(cell ^ (cell >>> 15), 0x85ebca6b) >>> 0;
        data[y * width + x] = hash % 10 < density ? 1 + ((hash >>> 8) % (classes - 1 || 1)) : 0;
      }
    }
    return { data, width, height };
  });

const rules = fc.oneof(
  fc
    .record({
      connectivity: fc.constantFrom(4 as const, 8 as const),
      maxGrow: fc.integer({ min: 0, max: 9 }),
      minArea: fc.integer({ min: 0, max: 30 }),
    })
    .map((o) => interiorRule({ interior: [1], boundary: [2], ...o })),
  fc.constantFrom(regionRule(3, 4), regionRule(3, 8), regionRule(3, 4, 9)),
);

function collect(
  { data, width, height }: Picture,
  rule: ObjectRule,
  bands: readonly number[],
): { objects: ObjectRuns[]; numbers: Uint32Array } {
  const objects: ObjectRuns[] = [];
  const collector = new ObjectCollector({
    rule,
    keepNumbers: true,
    onObject: (o) => objects.push({ ...o, runs: o.runs.slice() }),
  });
  scan({ data, width, height }, rule, bands, collector);
  return { objects, numbers: collector.numbers };
}

function scan(
  { data, width, height }: Picture,
  rule: ObjectRule,
  bands: readonly number[],
  sink: ConstructorParameters<typeof ObjectScanner>[2],
): void {
  const scanner = new ObjectScanner(width, rule, sink);
  for (let y = 0, i = 0; y < height; i++) {
    const rows = Math.min(bands[i % bands.length]!, height - y);
    scanner.push({ data: data.subarray(y * width, (y + rows) * width), height: rows });
    y += rows;
  }
  scanner.finish();
}

function paint(objects: readonly ObjectRuns[], width: number, height: number): Uint32Array {
  const out = new Uint32Array(width * height);
  for (const { runs, number } of objects) {
    for (let i = 0; i < runs.length; i += 3) {
      for (let x = runs[i + 1]!; x < runs[i + 2]!; x++) {
        expect(out[runs[i]! * width + x]).toBe(0);
        out[runs[i]! * width + x] = number;
      }
    }
  }
  return out;
}

/** The same partition of pixels, whatever the numbers. */
function expectSamePartition(a: ArrayLike<number>, b: ArrayLike<number>): void {
  const forth = new Map<number, number>([[0, 0]]);
  const back = new Map<number, number>([[0, 0]]);
  for (let i = 0; i < a.length; i++) {
    if (!forth.has(a[i]!) && !back.has(b[i]!)) {
      forth.set(a[i]!, b[i]!);
      back.set(b[i]!, a[i]!);
    }
    if (forth.get(a[i]!) !== b[i] || back.get(b[i]!) !== a[i])
      expect.fail(`pixel ${i}: ${a[i]} against ${b[i]}`);
  }
}

describe("instances", () => {
  it("are those of the definition on the whole image", () => {
    fc.assert(
      fc.property(pictures, rules, (picture, rule) => {
        const { objects } = collect(picture, rule, [picture.height]);
        const reference = referenceComponents(picture.data, picture.width, picture.height, rule);
        expectSamePartition(paint(objects, picture.width, picture.height), reference.labels);
        for (const { runs, kind } of objects) {
          expect(kind).toBe(reference.kinds[reference.labels[runs[0]! * picture.width + runs[1]!]!]);
        }
      }),
      { numRuns: 150 },
    );
  });

  it("do not depend on the batching of rows", () => {
    const bandings = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(pictures, rules, bandings, (picture, rule, bands) => {
        expect(collect(picture, rule, bands)).toEqual(collect(picture, rule, [picture.height]));
      }),
      { numRuns: 80 },
    );
  });

  it("do not depend on the width of the map", () => {
    fc.assert(
      fc.property(pictures, rules, (picture, rule) => {
        const width = 70_000;
        const data = new Uint8Array(width * picture.height);
        for (let y = 0; y < picture.height; y++)
          data.set(picture.data.subarray(y * picture.width, (y + 1) * picture.width), y * width);
        const occupied: [number, number][] = [[0, picture.width]];
        const objects: ObjectRuns[] = [];
        const onObject = (o: ObjectRuns) => objects.push({ ...o, runs: o.runs.slice() });
        const scanner = new ObjectScanner(width, rule, new ObjectCollector({ rule, onObject }));
        scanner.push({ data, height: picture.height, occupied });
        scanner.finish();
        expect(objects).toEqual(collect(picture, rule, [picture.height]).objects);
      }),
      { numRuns: 30 },
    );
  });

  it("come with runs in raster order that do not touch, and areas that count pixels", () => {
    fc.assert(
      fc.property(pictures, rules, (picture, rule) => {
        for (const { runs, area } of collect(picture, rule, [7]).objects) {
          let pixels = 0;
          for (let i = 0; i < runs.length; i += 3) {
            pixels += runs[i + 2]! - runs[i + 1]!;
            if (i > 0) expect(runs[i]! > runs[i - 3]! || runs[i + 1]! > runs[i - 1]!).toBe(true);
          }
          expect(area).toBe(pixels);
        }
      }),
      { numRuns: 40 },
    );
  });

  it("are painted in a second pass with the numbers of the first, dropped ones as background", () => {
    const tiles = fc.tuple(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 50 }));
    fc.assert(
      fc.property(pictures, rules, tiles, (picture, rule, [tileHeight, tileWidth]) => {
        const { width, height } = picture;
        const { objects, numbers } = collect(picture, rule, [13]);
        const painter = new ObjectPainter(numbers, [tileHeight, tileWidth]);
        scan(picture, rule, [tileHeight], painter);
        expect(painter.rowsComplete).toBeGreaterThanOrEqual(height);
        const painted = new Uint32Array(width * height);
        for (let row = 0; row * tileHeight < height; row++) {
          for (const [column, tile] of painter.takeRow(row)) {
            for (let i = 0; i < tile.length; i++) {
              const y = row * tileHeight + Math.floor(i / tileWidth);
              const x = column * tileWidth + (i % tileWidth);
              if (y < height && x < width) painted[y * width + x] = tile[i]!;
              else expect(tile[i]).toBe(0);
            }
          }
        }
        expect(painted).toEqual(paint(objects, width, height));
      }),
      { numRuns: 80 },
    );
  });

  it("stay one object across borders: a U whose arms meet only at the bottom", () => {
    const [width, height] = [9, 200];
    const data = new Uint8Array(width * height);
    for (let y = 0; y < height; y++) for (const x of [1, 7]) data[y * width + x] = 1;
    data.fill(1, (height - 1) * width + 1, (height - 1) * width + 8);
    const { objects } = collect({ data, width, height }, regionRule(2), [64]);
    expect(objects.map((o) => o.area)).toEqual([2 * height + 5]);
  });

  it("separates touching objects at their boundary class and splits it between them", () => {
    const row = Uint8Array.of(0, 1, 1, 2, 2, 2, 1, 1, 0, 2);
    const rule = interiorRule({ interior: [1], boundary: [2], connectivity: 4 });
    const { objects } = collect({ data: row, width: 10, height: 1 }, rule, [1]);
    // The middle pixel is as far from both: left comes before right. The last one is reached by nobody.
    expect(objects.map((o) => [...o.runs])).toEqual([
      [0, 1, 5],
      [0, 5, 8],
    ]);
  });

  it("uses only occupied columns", () => {
    const data = new Uint8Array(20).fill(1);
    const objects: ObjectRuns[] = [];
    const sink = new ObjectCollector({
      rule: regionRule(2),
      onObject: (o) => objects.push({ ...o, runs: o.runs.slice() }),
    });
    const scanner = new ObjectScanner(10, regionRule(2), sink);
    scanner.push({
      data,
      height: 2,
      occupied: [
        [2, 4],
        [6, 9],
      ],
    });
    scanner.finish();
    expect(objects.map((o) => o.area)).toEqual([4, 6]);
  });

  it("equal those of the Python definition", () => {
    interface Case {
      classes: string[];
      interior: number;
      boundary: number;
      connectivity: 4 | 8;
      minArea: number;
      objects: number[][];
    }
    for (const golden of fixture<Case>("objects.json")) {
      const [height, width] = [golden.classes.length, golden.classes[0]!.length];
      const data = Uint8Array.from(golden.classes.join(""), Number);
      // Python grows without a limit; no boundary in the fixtures is wider than the image.
      const rule = interiorRule({
        interior: [golden.interior],
        boundary: [golden.boundary],
        connectivity: golden.connectivity,
        minArea: golden.minArea,
        maxGrow: width + height,
      });
      const { objects } = collect({ data, width, height }, rule, [3]);
      expectSamePartition(paint(objects, width, height), golden.objects.flat());
    }
  });

  it("are labelled as scipy.ndimage.label does", () => {
    interface Case {
      connectivity: 4 | 8;
      mask: string[];
      labels: number[][];
      objects: { area: number; edgeLength: number }[];
    }
    for (const golden of fixture<Case>("components.json")) {
      const [height, width] = [golden.mask.length, golden.mask[0]!.length];
      const data = Uint8Array.from(golden.mask.join(""), (c) => (c === "#" ? 1 : 0));
      const { objects } = collect({ data, width, height }, regionRule(2, golden.connectivity), [2]);
      expectSamePartition(paint(objects, width, height), golden.labels.flat());
      const measured = objects.map(({ runs, area }) => {
        const edges = tracePolygons(runs)
          .flat()
          .map((ring) => ring.reduce((sum, v, i) => sum + Math.abs(v - ring.at(i - 2)!), 0));
        return { area, edgeLength: edges.reduce((a, b) => a + b) };
      });
      const bySize = (a: { area: number; edgeLength: number }, b: typeof a) =>
        a.area - b.area || a.edgeLength - b.edgeLength;
      const expected = golden.objects.map(({ area, edgeLength }) => ({ area, edgeLength }));
      expect(measured.sort(bySize)).toEqual(expected.sort(bySize));
    }
  });
});

function fixture<Case>(name: string): Case[] {
  return JSON.parse(readFileSync(new URL(`../fixtures/golden/${name}`, import.meta.url), "utf8")).cases;
}
