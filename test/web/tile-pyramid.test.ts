import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  clampCamera,
  fitCamera,
  MAX_SCALE,
  screenOrigin,
  toWorld,
  visibleBounds,
  zoomAt,
} from "../../web/src/data/camera.ts";
import {
  chooseShownLevel,
  coveringTile,
  samplesToWorld,
  type TilePyramid,
  tileSamples,
  visibleTiles,
} from "../../web/src/data/tile-pyramid.ts";

const screen = { width: 1000, height: 700 };
const cameras = fc.record({
  x: fc.double({ min: -500, max: 4000, noNaN: true }),
  y: fc.double({ min: -500, max: 4000, noNaN: true }),
  scale: fc.double({ min: 0.05, max: 32, noNaN: true }),
});
const pyramids: fc.Arbitrary<TilePyramid> = fc
  .record({
    width: fc.integer({ min: 1, max: 3000 }),
    height: fc.integer({ min: 1, max: 3000 }),
    tile: fc.constantFrom(64, 240, 512),
    levels: fc.integer({ min: 1, max: 4 }),
    originX: fc.integer({ min: 0, max: 300 }),
    originY: fc.integer({ min: 0, max: 300 }),
  })
  .map(({ width, height, tile, levels, originX, originY }) => ({
    originX,
    originY,
    levels: Array.from({ length: levels }, (_, i) => ({
      width: Math.ceil(width / 2 ** i),
      height: Math.ceil(height / 2 ** i),
      stepX: 2 ** i,
      stepY: 2 ** i,
      tile,
    })),
  }));

describe("the camera", () => {
  it("puts the origin of the world on a whole device pixel", () => {
    fc.assert(
      fc.property(cameras, (camera) => {
        const { x, y } = screenOrigin(camera, screen);
        expect([Number.isInteger(x), Number.isInteger(y)]).toEqual([true, true]);
      }),
    );
  });

  it("keeps the place under the pointer within a pixel when it zooms", () => {
    fc.assert(
      fc.property(
        cameras,
        fc.double({ min: 0.5, max: 2, noNaN: true }),
        fc.nat(999),
        fc.nat(699),
        (camera, factor, x, y) => {
          const zoomed = zoomAt(camera, screen, factor, x, y);
          const before = toWorld(camera, screen, x, y);
          const after = toWorld(zoomed, screen, x, y);
          expect(Math.abs(after.x - before.x) * zoomed.scale).toBeLessThanOrEqual(1);
          expect(Math.abs(after.y - before.y) * zoomed.scale).toBeLessThanOrEqual(1);
        },
      ),
    );
  });

  it("fits a whole box, and stays within its limits", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200_000 }),
        fc.integer({ min: 1, max: 200_000 }),
        cameras,
        (x1, y1, camera) => {
          const box = { x0: 0, y0: 0, x1, y1 };
          const fitted = fitCamera(box, screen);
          const seen = visibleBounds(fitted, screen);
          if (fitted.scale < MAX_SCALE)
            expect([seen.x0 <= 0, seen.y0 <= 0, seen.x1 >= x1, seen.y1 >= y1]).toEqual([
              true,
              true,
              true,
              true,
            ]);
          const clamped = clampCamera(camera, box, screen);
          expect(clamped.scale).toBeLessThanOrEqual(MAX_SCALE);
          expect([clamped.x >= 0, clamped.x <= x1, clamped.y >= 0, clamped.y <= y1]).not.toContain(false);
        },
      ),
    );
  });
});

describe("visible tiles", () => {
  it("cover every visible sample once, and no tile is invisible", () => {
    fc.assert(
      fc.property(pyramids, cameras, fc.nat(3), fc.nat(10_000), (pyramid, camera, someLevel, seed) => {
        const level = someLevel % pyramid.levels.length;
        const grid = pyramid.levels[level]!;
        const visible = visibleBounds(camera, screen);
        const tiles = visibleTiles(pyramid, level, visible);
        const keys = new Set(tiles.map(({ column, row }) => `${column}/${row}`));
        expect(keys.size).toBe(tiles.length);
        for (const tile of tiles) {
          const world = samplesToWorld(pyramid, level, tileSamples(pyramid, tile));
          expect(world.x1 > visible.x0 && world.x0 < visible.x1).toBe(true);
          expect(world.y1 > visible.y0 && world.y0 < visible.y1).toBe(true);
        }
        // Some sample; if it is visible, its tile is listed.
        const [column, row] = [seed % grid.width, (seed * 7) % grid.height];
        const place = samplesToWorld(pyramid, level, { x0: column, y0: row, x1: column + 1, y1: row + 1 });
        const isSeen =
          place.x0 >= visible.x0 &&
          place.x1 <= visible.x1 &&
          place.y0 >= visible.y0 &&
          place.y1 <= visible.y1;
        if (isSeen)
          expect(keys).toContain(`${Math.floor(column / grid.tile)}/${Math.floor(row / grid.tile)}`);
      }),
      { numRuns: 500 },
    );
  });

  it("the shown level is never coarser than the screen, unless it is the finest", () => {
    fc.assert(
      fc.property(pyramids, fc.double({ min: 0.001, max: 8, noNaN: true }), (pyramid, scale) => {
        const level = chooseShownLevel(pyramid, scale);
        if (level > 0) expect(pyramid.levels[level]!.stepX * scale).toBeLessThanOrEqual(1);
        const coarser = pyramid.levels[level + 1];
        if (coarser) expect(coarser.stepX * scale).toBeGreaterThan(1);
      }),
    );
  });

  it("a tile's stand-in covers its centre", () => {
    fc.assert(
      fc.property(pyramids, fc.nat(10_000), (pyramid, seed) => {
        const grid = pyramid.levels[0]!;
        const tile = {
          level: 0,
          column: seed % Math.ceil(grid.width / grid.tile),
          row: (seed * 3) % Math.ceil(grid.height / grid.tile),
        };
        const level = pyramid.levels.length - 1;
        const own = samplesToWorld(pyramid, 0, tileSamples(pyramid, tile));
        const other = coveringTile(pyramid, tile, level);
        const world = samplesToWorld(pyramid, level, tileSamples(pyramid, other));
        expect((own.x0 + own.x1) / 2).toBeGreaterThanOrEqual(world.x0);
        expect((own.x0 + own.x1) / 2).toBeLessThanOrEqual(world.x1);
        expect((own.y0 + own.y1) / 2).toBeGreaterThanOrEqual(world.y0);
        expect((own.y0 + own.y1) / 2).toBeLessThanOrEqual(world.y1);
      }),
    );
  });
});
