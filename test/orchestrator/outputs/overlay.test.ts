import { describe, expect, it } from "vitest";
import { DensityGrid } from "../../../src/orchestrator/outputs/density.ts";
import { Overlay } from "../../../src/orchestrator/outputs/overlay.ts";
import { tracePolygons } from "../../../src/tiling/objects/trace-polygons.ts";

const KIND = { name: "nucleus", color: [0, 100, 0] as [number, number, number] };

function square(x: number, y: number, side: number) {
  const runs = Int32Array.from(Array.from({ length: side }, (_, r) => [y + r, x, x + side]).flat());
  return { number: 1, kind: 1, runs, area: side * side };
}

function draw(
  object: ReturnType<typeof square>,
  field: number,
  grey = 200,
): (x: number, y: number) => number[] {
  const overlay = new Overlay(
    { data: new Uint8Array(64 * 64).fill(grey), shape: [64, 64, 1] },
    { width: field, height: field },
  );
  overlay.draw(object, tracePolygons(object.runs), KIND);
  const { data, shape } = overlay.finish();
  expect(shape).toEqual([64, 64, 3]);
  return (x, y) => [...data.subarray((y * 64 + x) * 3, (y * 64 + x) * 3 + 3)];
}

describe("overlay", () => {
  it("outlines large objects in the colour of their kind at full brightness", () => {
    const at = draw(square(32, 32, 32), 128);
    for (const [x, y] of [
      [16, 16],
      [24, 16],
      [32, 24],
      [24, 32],
    ] as const)
      expect(at(x, y)).toEqual([0, 255, 0]);
    expect(at(24, 24)).toEqual([200, 200, 200]);
    expect(at(10, 10)).toEqual([200, 200, 200]);
  });

  it("tints small objects by the share of the pixel they cover", () => {
    const at = draw(square(64, 64, 16), 1024);
    const [whole] = [at(4, 4)];
    expect(whole![1]!).toBeGreaterThan(whole![0]! + 100);
    const half = draw(square(64, 64, 8), 1024)(4, 4);
    expect(half[0]!).toBeGreaterThan(whole![0]!);
    expect(half[0]!).toBeLessThan(200);
  });

  it("brightens a dark picture, and draws at its right and bottom border", () => {
    const at = draw(square(96, 96, 32), 128, 20);
    expect(at(0, 0)).toEqual([255, 255, 255]);
    expect(at(63, 63)).toEqual([0, 255, 0]);
  });
});

describe("density", () => {
  it("finds the densest square, or the corner of an empty map", () => {
    const grid = new DensityGrid([3000, 2000]);
    expect(grid.densest(1024)).toEqual({ x: 0, y: 0, width: 1024, height: 1024 });
    for (let i = 0; i < 50; i++) grid.add(1990, 2990);
    grid.add(5, 5);
    const { x, y, width, height } = grid.densest(1024);
    expect([x + width, y + height]).toEqual([2000, 3000]);
  });

  it("takes the whole of a small map", () => {
    expect(new DensityGrid([10, 20]).densest(1024)).toEqual({ x: 0, y: 0, width: 20, height: 10 });
  });
});
