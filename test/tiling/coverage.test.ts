import fc from "fast-check";
import { expect, it } from "vitest";
import { chunkGrid } from "../../src/tiling/grid/chunk-grid.ts";
import { computeCoverage } from "../../src/tiling/grid/coverage.ts";
import { product } from "../../src/tiling/grid/raster.ts";
import { planWindowGrid, windowCount, windowRect } from "../../src/tiling/grid/window-grid.ts";
import { WindowSet } from "../../src/tiling/grid/window-set.ts";

const axis = fc.record({
  shape: fc.integer({ min: 1, max: 24 }),
  window: fc.integer({ min: 1, max: 9 }),
  chunk: fc.integer({ min: 1, max: 10 }),
});

it("the coverage of a plan equals a count sample by sample", () => {
  fc.assert(
    fc.property(
      fc.array(axis, { minLength: 1, maxLength: 3 }),
      fc.constantFrom(0, 0.25, 0.5),
      fc.infiniteStream(fc.boolean()),
      (axes, overlapRatio, keep) => {
        const shape = axes.map((a) => a.shape);
        const chunk = axes.map((a) => a.chunk);
        const grid = planWindowGrid({ shape, window: axes.map((a) => a.window), overlapRatio });
        const kept = new WindowSet(windowCount(grid));
        for (let w = 0; w < kept.length; w++) if (keep.next().value) kept.add(w);

        const covered = new Set<number>();
        const chunks = new Set<number>();
        const { counts } = chunkGrid(shape, chunk);
        for (const window of kept) {
          const { origin, size } = windowRect(grid, window);
          for (let i = 0; i < product(size); i++) {
            let rest = i;
            const at = size.map(() => 0);
            for (let a = size.length - 1; a >= 0; a--) {
              at[a] = origin[a]! + (rest % size[a]!);
              rest = Math.floor(rest / size[a]!);
            }
            if (at.some((p, a) => p < 0 || p >= shape[a]!)) continue;
            covered.add(at.reduce((n, p, a) => n * shape[a]! + p, 0));
            chunks.add(at.reduce((n, p, a) => n * counts[a]! + Math.floor(p / chunk[a]!), 0));
          }
        }
        const planned = computeCoverage(grid, kept, chunk);
        expect(planned.covered).toBe(covered.size);
        expect(planned.uncovered).toBe(product(shape) - covered.size);
        expect(new Set(planned.chunks)).toEqual(chunks);
      },
    ),
    { numRuns: 200 },
  );
});
