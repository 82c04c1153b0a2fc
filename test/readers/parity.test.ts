import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { decode } from "fast-png";
import { afterAll, describe, expect, test } from "vitest";
import { openImage } from "../../src/readers/open-image.ts";
import { FsStore } from "../../src/storage/fs-store.ts";

const SIDE = 32;

interface Slide {
  path: string;
  sha256: string;
  referee: string;
  /** PNG of the crops, one below the other. */
  crops?: string;
  regions: { level: number; origin: [number, number]; means?: number[][][] }[];
}

// Written by parity/make_reference.py with OpenSlide and tifffile.
const folder = new URL("parity/fixtures/", import.meta.url);
const slides: Slide[] = JSON.parse(await readFile(new URL("reference.json", folder), "utf8"));
const root = fileURLToPath(new URL("../../../shared/data/slides", import.meta.url));
const present = existsSync(root);
if (!present) console.warn(`parity with OpenSlide is not tested: the real slides are not at ${root}`);

const store = new FsStore(root);
afterAll(() => store.close());

describe.skipIf(!present)("real slides are read like by OpenSlide and tifffile", () => {
  test.each(slides)("$path", async ({ path, sha256, crops, regions }) => {
    const file = await store.get(path);
    expect(createHash("sha256").update(file!.bytes).digest("hex"), "another file than the reference").toBe(
      sha256,
    );
    const image = await openImage(store, path);
    const expected = crops ? decode(await readFile(new URL(crops, folder))).data : undefined;
    const cropLength = SIDE * SIDE * 3;
    for (const [i, { level, origin, means }] of regions.entries()) {
      const { data } = await image.readRegion(level, { origin, size: [SIDE, SIDE] });
      if (expected) {
        // JPEG: 2 grey levels. In fact libjpeg-turbo in WebAssembly gives the same bits as the native one.
        const crop = expected.subarray(i * cropLength, (i + 1) * cropLength);
        let worst = 0;
        for (const [j, value] of data.entries()) worst = Math.max(worst, Math.abs(value - crop[j]!));
        expect(worst, `level ${level} at ${origin}`).toBeLessThanOrEqual(2);
      } else {
        // Irreversible JPEG 2000: single samples may be rounded the other way (by 1), means hardly move.
        for (const [y, row] of means!.entries()) {
          for (const [x, mean] of row.entries()) {
            for (const [c, value] of mean.entries()) expect(blockMean(data, y, x, c)).toBeCloseTo(value, 1);
          }
        }
      }
    }
  });
});

/** Mean of channel c in the 8 × 8 block at (y, x) of a crop. */
function blockMean(data: ArrayLike<number>, y: number, x: number, c: number): number {
  let sum = 0;
  for (let i = 0; i < 64; i++) {
    const row = y * 8 + (i >> 3);
    const column = x * 8 + (i & 7);
    sum += data[(row * SIDE + column) * 3 + c]!;
  }
  return sum / 64;
}
