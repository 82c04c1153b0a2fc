import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { applyAffine } from "../../src/image/affine.ts";
import { product } from "../../src/tiling/grid/raster.ts";
import { affineOfSpacing, chooseVolumeGrid } from "../../web/src/volume/volume-grid.ts";

const side = fc.integer({ min: 1, max: 900 });
const distance = fc.double({ min: 0.2, max: 6, noNaN: true });
const entry = fc.double({ min: -3, max: 3, noNaN: true });

describe("the shown samples of a volume", () => {
  it("fit, and each lies where the file says that its stored sample lies", () => {
    const affines = fc
      .tuple(fc.array(entry, { minLength: 9, maxLength: 9 }), fc.array(entry, { minLength: 3, maxLength: 3 }))
      .map(([m, t]) => [
        ...[0, 1, 2].map((r) => [...[0, 1, 2].map((c) => m[3 * r + c]! + (r === c ? 4 : 0)), t[r]!]),
        [0, 0, 0, 1],
      ]);
    fc.assert(
      fc.property(
        fc.tuple(side, side, side),
        affines,
        fc.integer({ min: 1000, max: 1_000_000 }),
        fc.tuple(fc.double({ max: 1, min: 0, noNaN: true }), fc.double({ max: 1, min: 0, noNaN: true })),
        (shape, affine, most, [a, b]) => {
          const grid = chooseVolumeGrid([{ shape, downsample: [1, 1, 1] }], affine, [0, 0, 0], most);
          expect(product(grid.shape)).toBeLessThanOrEqual(most);
          const index = grid.shape.map((n, axis) => Math.floor((axis === 1 ? b : a) * (n - 1)));
          const stored = index.map((i, axis) => i * grid.step[axis]!);
          stored.forEach((i, axis) => {
            expect(i).toBeLessThan(shape[axis]!);
          });
          const place = (m: typeof affine, [z, y, x]: readonly number[]) => applyAffine(m, [x!, y!, z!]);
          const [want, got] = [place(affine, stored), place(grid.affine as typeof affine, index)];
          want.forEach((mm, axis) => {
            expect(Math.abs(mm - got[axis]!)).toBeLessThan(1e-6 * 5000);
          });
          // No axis is thinned that could be left alone.
          if (grid.step.some((n) => n > 1)) expect(product(shape)).toBeGreaterThan(most);
        },
      ),
    );
  });

  it("are thinned along the axis with the smallest distances first", () => {
    fc.assert(
      fc.property(distance, (z) => {
        const affine = affineOfSpacing({ values: [z + 1, 0.1, 0.1], unit: "millimeter" });
        const { step } = chooseVolumeGrid(
          [{ shape: [100, 512, 512], downsample: [1, 1, 1] }],
          affine,
          [0, 0, 0],
          10_000_000,
        );
        expect(step[0]).toBe(1);
        expect(Math.max(step[1]!, step[2]!)).toBe(2);
      }),
    );
  });
});
