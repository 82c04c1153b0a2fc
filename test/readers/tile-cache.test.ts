import { expect, test } from "vitest";
import { TileCache } from "../../src/readers/base/tile-cache.ts";
import type { Raster } from "../../src/tiling/grid/raster.ts";

const tile = (bytes: number): Raster => ({ data: new Uint8Array(bytes), shape: [1, bytes, 1] });

test("never holds more than its limit, and evicts the least recently used tile", async () => {
  const cache = new TileCache(250);
  for (const id of [1, 2]) await cache.add(id, Promise.resolve(tile(100)));
  cache.get(1);
  await cache.add(3, Promise.resolve(tile(100)));
  expect([1, 2, 3].map((id) => cache.get(id) !== undefined)).toEqual([true, false, true]);
  expect(cache.byteLength).toBe(200);
  await cache.add(4, Promise.resolve(tile(300)));
  expect(cache.get(4)).toBeUndefined();
  expect(cache.byteLength).toBe(200);
});

test("a tile in progress is shared, and a failure is not cached", async () => {
  const cache = new TileCache(100);
  let fail = (_: Error) => {};
  const pending = cache.add(
    1,
    new Promise((_, reject) => {
      fail = reject;
    }),
  );
  expect(cache.get(1)).toBe(pending);
  fail(new Error("lost"));
  await expect(pending).rejects.toThrow("lost");
  expect(cache.get(1)).toBeUndefined();
});
