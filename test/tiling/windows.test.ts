import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  axisStarts,
  importanceMap,
  planShards,
  planWindowGrid,
  WindowSet,
  windowCount,
  windowIndex,
  windowPosition,
  windowRect,
} from "../../src/tiling/index.ts";

describe("window starts", () => {
  it.each([
    [110, 64, 0.5, [0, 32, 46], [0, 23, 46]],
    [1000, 224, 0.25, [0, 168, 336, 504, 672, 776], [0, 155, 310, 466, 621, 776]],
    [512, 224, 0.5, [0, 112, 224, 288], [0, 96, 192, 288]],
    [225, 224, 0.25, [0, 1], [0, 1]],
    [224, 224, 0.25, [0], [0]],
    [100, 224, 0.25, [-62], [-62]],
  ])("n %d, window %d, overlap %d", (n, window, overlap, monai, nnunet) => {
    expect(axisStarts(n, window, overlap, "monai")).toEqual(monai);
    expect(axisStarts(n, window, overlap, "nnunet")).toEqual(nnunet);
  });

  it("cover every sample, ascend, and stay inside when the region is large enough", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3000 }),
        fc.integer({ min: 1, max: 300 }),
        fc.double({ min: 0, max: 0.9, noNaN: true }),
        fc.constantFrom("monai" as const, "nnunet" as const),
        (n, window, overlap, policy) => {
          const starts = axisStarts(n, window, overlap, policy);
          let covered = 0;
          for (const start of starts) {
            expect(start).toBeLessThanOrEqual(covered);
            // Equal only for nnU-Net at next to no overlap, which rounds two starts to one.
            expect(start + window).toBeGreaterThanOrEqual(covered);
            covered = start + window;
          }
          expect(covered).toBeGreaterThanOrEqual(n);
          if (n >= window) {
            expect(starts[0]).toBe(0);
            expect(starts.at(-1)).toBe(n - window);
          }
        },
      ),
    );
  });

  it("are numbered in raster order, and back", () => {
    const grid = planWindowGrid({ shape: [30, 50, 41], window: [16, 16, 16] });
    for (let i = 0; i < windowCount(grid); i++) expect(windowIndex(grid, windowPosition(grid, i))).toBe(i);
    expect(windowRect(grid, 1).origin).toEqual([0, 0, 12]);
  });

  it("rejects bytes that are no plan", () => {
    expect(() => planWindowGrid({ shape: [10], window: [4, 4] })).toThrow("1 axes and the window 2");
    expect(() => planWindowGrid({ shape: [10, 0], window: [4, 4] })).toThrow("0 is not a size");
    expect(() => planWindowGrid({ shape: [10, 10], window: [4, 4], overlapRatio: 1 })).toThrow("below 1");
  });
});

describe("importance maps", () => {
  const close = (a: number, b: number, relative = 1e-4) => expect(Math.abs(a - b) / b).toBeLessThan(relative);

  it.each([
    [64, 0.9961014, 403.0392],
    [224, 0.9996811, 4937.2396],
    [512, undefined, 25794.557],
  ])("MONAI's gaussian at %d²: centre and sum", (n, centre, sum) => {
    const map = importanceMap("gaussian-monai", [n, n]);
    if (centre) close(map[(n / 2) * n + n / 2]!, centre, 1e-6);
    close(
      map.reduce((s, w) => s + w, 0),
      sum,
      1e-6,
    );
    expect(Math.min(...map.subarray(0, 100))).toBeCloseTo(1e-3, 9);
  });

  it("nnU-Net's gaussian at 224²: centre, edges, corner", () => {
    const map = importanceMap("gaussian-nnunet", [224, 224]);
    expect(map[112 * 224 + 112]).toBe(10);
    close(map[112]!, 3.355e-3, 1e-3);
    close(map[223 * 224 + 112]!, 3.868e-3, 1e-3);
    close(map[0]!, 1.1325e-6, 1e-2);
  });

  it("are above 0 everywhere, so that a covered sample always has a weight", () => {
    for (const kind of ["constant", "gaussian-monai", "gaussian-nnunet"] as const) {
      for (const window of [
        [1, 1],
        [5, 3],
        [9, 4, 7],
      ]) {
        for (const w of importanceMap(kind, window)) expect(w).toBeGreaterThan(0);
      }
    }
  });
});

describe("shards", () => {
  it("hold every kept window exactly once and the box around them", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 2, maxLength: 3 }),
        fc.integer({ min: 1, max: 4 }),
        fc.infiniteStream(fc.boolean()),
        (shape, block, coins) => {
          const grid = planWindowGrid({ shape, window: shape.map(() => 16) });
          const kept = new WindowSet(windowCount(grid));
          for (let i = 0; i < kept.length; i++) if (coins.next().value) kept.add(i);
          const blocks = shape.map(() => block);
          const seen: number[] = [];
          for (const shard of planShards(grid, kept, blocks)) {
            for (const w of shard.windows) {
              const { origin, size } = windowRect(grid, w);
              origin.forEach((o, axis) => {
                expect(o).toBeGreaterThanOrEqual(shard.rect.origin[axis]!);
                expect(o + size[axis]!).toBeLessThanOrEqual(
                  shard.rect.origin[axis]! + shard.rect.size[axis]!,
                );
              });
            }
            seen.push(...shard.windows);
          }
          expect(seen.sort((a, b) => a - b)).toEqual([...kept]);
        },
      ),
    );
  });
});
