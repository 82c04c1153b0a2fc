import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { decodeJpeg } from "../../src/codecs/decoders.ts";
import {
  planRestartGrid,
  scanRestarts,
  stackIntervals,
  tileIntervals,
} from "../../src/codecs/jpeg/restart-grid.ts";
import { parseJpegHeader } from "../../src/codecs/jpeg/stream.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { FsStore } from "../../src/storage/fs-store.ts";
import type { Raster } from "../../src/tiling/grid/raster.ts";
import { crop } from "../builders/pattern.ts";

const fixtures = new URL("../readers/fixtures/", import.meta.url);

/** The level-0 JPEG of a made NDPI (it begins the file), 192 × 104 pixels. */
async function stream(name: string): Promise<Uint8Array> {
  const bytes = new Uint8Array(await readFile(new URL(name, fixtures)));
  return bytes.subarray(8);
}

test("any number of stacked rows decodes to the same pixels", async () => {
  const store = new FsStore(fileURLToPath(fixtures));
  const whole: Raster = await (await openImage(store, "restarts-none.ndpi")).readRegion(0, {
    origin: [0, 0],
    size: [104, 192],
  });
  await store.close();
  const bytes = await stream("restarts-listed.ndpi");
  const header = parseJpegHeader(bytes);
  const planned = planRestartGrid(header, 192, 104)!;
  expect(planned).toMatchObject({ tileWidth: 96, intervalsAcross: 2, mcuRows: 13, rowsPerTile: 13 });
  const count = planned.mcuRows * planned.intervalsAcross;
  const starts = await scanRestarts(
    async (at, n) => bytes.subarray(at, at + n),
    header.scanDataOffset,
    bytes.length,
    count,
  );
  const head = bytes.slice(0, header.scanDataOffset);

  // 10 rows and more: the restart markers count over 7.
  for (const rowsPerTile of [1, 2, 5, 10, 13]) {
    const grid = { ...planned, rowsPerTile, tileHeight: rowsPerTile * planned.mcuHeight };
    for (let row = 0; row * grid.tileHeight < 104; row++) {
      for (let column = 0; column < 2; column++) {
        const intervals = tileIntervals(grid, row, column).map((i) =>
          bytes.subarray(starts[i], starts[i + 1] ?? bytes.length),
        );
        const { data, width, height } = await decodeJpeg(stackIntervals(head, header, grid, intervals));
        const top = row * grid.tileHeight;
        const rows = Math.min(grid.tileHeight, 104 - top);
        const expected = crop(whole, { origin: [top, column * 96], size: [rows, 96] });
        expect([height, width]).toEqual([rows, 96]);
        expect(data).toEqual(expected.data);
      }
    }
  }
});

test("there is no grid without restart markers, or when they do not divide rows evenly", async () => {
  const uneven = parseJpegHeader(await stream("restarts-uneven.ndpi"));
  expect(uneven.restartInterval).toBe(7);
  expect(planRestartGrid(uneven, 192, 104)).toBeUndefined();
  expect(planRestartGrid(parseJpegHeader(await stream("restarts-none.ndpi")), 192, 104)).toBeUndefined();
});

test("a slide of 100 000 pixels is divided into tiles that a decoder accepts", async () => {
  const header = { ...parseJpegHeader(await stream("restarts-listed.ndpi")), restartInterval: 500 };
  const grid = planRestartGrid(header, 100_000, 60_000)!;
  expect(grid).toMatchObject({ tileWidth: 4000, intervalsAcross: 25, mcuRows: 7500 });
  expect(grid.tileHeight * grid.tileWidth).toBeLessThan(2 ** 20);
  expect(planRestartGrid({ ...header, restartInterval: 12_500 }, 100_000, 60_000)).toBeUndefined();
});

test("finds markers across the borders of reads", async () => {
  const bytes = new Uint8Array(2 ** 20 + 100);
  const marker = 2 ** 20 + 9; // its 0xff is the last byte of the first read, which begins at 10
  bytes.set([0xff, 0xd0], marker);
  const starts = await scanRestarts(async (at, n) => bytes.subarray(at, at + n), 10, bytes.length, 2);
  expect([...starts]).toEqual([10, marker + 2]);
  const short = scanRestarts(async (at, n) => bytes.subarray(at, at + n), 10, bytes.length, 3);
  await expect(short).rejects.toThrow("ends after 2 of 3 restart intervals");
});
