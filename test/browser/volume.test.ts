import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { makeNifti } from "../builders/make-nifti.ts";
import { openChromium, openPage, pictureReady, readPicture } from "./chromium.ts";
import { startView } from "./view-process.ts";

let browser: Browser;
const directory = mkdtempSync(join(tmpdir(), "tilewright-volume-"));
beforeAll(async () => {
  browser = await openChromium();
});
afterAll(async () => {
  await browser?.close();
  rmSync(directory, { recursive: true, force: true });
});

it("shows the slices of a volume with its contrast, and says where they point", async () => {
  // The left half of each slice holds 100, the right half 200, 250, 300 (the middle one), 350, 400.
  const [width, height, depth] = [40, 30, 5];
  const data = Array.from({ length: width * height * depth }, (_, i) =>
    i % width < width / 2 ? 100 : 200 + 50 * Math.floor(i / (width * height)),
  );
  const file = join(directory, "volume.nii.gz");
  const rows = [
    [-2, 0, 0, 0],
    [0, 2, 0, 0],
    [0, 0, 3, 0],
  ];
  const sform = { code: 1, rows };
  writeFileSync(file, makeNifti({ type: "uint16", size: [width, height, depth], data, sform, gzip: true }));
  const view = await startView([file]);
  const { page, close, problems } = await openPage(browser, view.url);
  await pictureReady(page);
  await expect
    .poll(() => page.locator(".panel").textContent())
    .toContain("right is L, down is A, the next slice is S");
  expect(await page.locator(".panel").textContent()).toMatch(/Voxel size\s*2 × 2 × 3 mm/);
  const brightness = async () => {
    await pictureReady(page);
    const pixels = await readPicture(page);
    const row = Math.floor(pixels.height / 2);
    return [0.3, 0.7].map((part) => pixels.at(Math.floor(pixels.width * part), row)[0]);
  };
  // The middle slice sets the contrast: 100 is black, 300 is white.
  expect(await brightness()).toEqual([0, 255]);
  await page.locator(".stage > canvas").focus();
  await page.keyboard.press("PageDown");
  await expect.poll(async () => (await brightness())[1]).toBeLessThan(255);
  const [left, right] = await brightness();
  expect(left).toBe(0);
  expect(Math.abs(right! - 0.75 * 255)).toBeLessThanOrEqual(1);
  await expect.poll(() => page.url()).toContain("z=1");
  await page.getByLabel("Channel 1", { exact: true }).uncheck();
  await expect.poll(brightness).toEqual([0, 0]);
  expect(problems).toEqual([]);
  await close();
  await view.stop();
});
