import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { UpProcess } from "../stack/up-process.ts";
import { openChromium, openPage, type Pixels, pictureReady, readPicture } from "./chromium.ts";
import { dropFiles } from "./drop-files.ts";

/** A made slide and a small network; with TILEWRIGHT_SLIDE=<file> that slide and the bundled network, which takes minutes. */
const REAL = process.env.TILEWRIGHT_SLIDE;
/** All labels of this view are in the first chunk of 512². */
const VIEW = "x=256&y=250&scale=2&labels=1&style=fill&objects=0";
/** Time for the whole job, on a busy machine too. */
const JOB_MS = 600_000;

let directory: string;
let up: UpProcess;
let browser: Browser;
let slide: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-up-"));
  slide =
    REAL ?? writeMadeSlide(join(directory, "made.tiff"), { width: 3000, height: 3000, tileSize: 512 }).path;
  const model = REAL ? "nuclei" : writePointwisePackage(join(directory, "pointwise"));
  [up, browser] = await Promise.all([UpProcess.start(join(directory, "state"), model), openChromium()]);
});

afterAll(async () => {
  await browser?.close();
  await up?.end();
  rmSync(directory, { recursive: true, force: true });
});

/** Pixels with the strong colour of a label. */
function countColored({ width, height, at }: Pixels): number {
  let count = 0;
  for (let y = 0; y < height; y += 3)
    for (let x = 0; x < width; x += 3) if (Math.max(...at(x, y)) - Math.min(...at(x, y)) > 100) count++;
  return count;
}

/** The bar above the picture has become lower meanwhile: what was in the middle still is. */
function countDifferent(early: Pixels, late: Pixels): number {
  const shift = Math.round(late.height / 2) - Math.round(early.height / 2);
  let count = 0;
  for (let y = 0; y < early.height; y++) {
    for (let x = 0; x < early.width; x++) if (early.at(x, y).join() !== late.at(x, y + shift).join()) count++;
  }
  return count;
}

describe("tilewright up in the browser", () => {
  it(
    "takes a dropped slide, paints it while it is segmented, and shows its objects",
    async () => {
      const address = /open (\S+) in a browser/.exec(up.said)![1]!;
      const { page, problems, requests, close } = await openPage(browser, address);
      await page.getByLabel("Token").fill(up.token);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByRole("heading", { name: "Scans" }).waitFor();
      await dropFiles(page, "Upload", [{ path: slide, name: basename(slide) }]);

      // The page of its job opens by itself, with the scan in it.
      await page.waitForURL(/\/job\?id=[0-9a-f]{32}/);
      const job = new URL(page.url()).searchParams.get("id")!;
      await expect.poll(() => page.locator(".panel").textContent()).toContain("Size");
      await page.goto("about:blank");
      await page.goto(`${address}/job?id=${job}#${VIEW}`);
      await expect.poll(() => page.locator(".running output").textContent()).toMatch(/windows/);
      await expect
        .poll(() => page.locator(".running output").textContent(), { interval: 100 })
        .toMatch(/per second .* left .* about \$[\d.e-]+ of \$/);

      // Labels appear before the job is done, and are those of the result.
      await expect
        .poll(
          async () => {
            await pictureReady(page);
            return countColored(await readPicture(page));
          },
          { timeout: JOB_MS },
        )
        .toBeGreaterThan(1000);
      const early = await readPicture(page);
      if (process.env.TILEWRIGHT_PICTURES)
        await page.screenshot({ path: join(process.env.TILEWRIGHT_PICTURES, "running.png") });
      expect(await page.locator(".running output").textContent()).toContain("segmenting");
      const headers = { Authorization: `Bearer ${up.token}` };
      const read = async (path: string) => {
        const response = await fetch(new URL(`/v1/jobs/${job}/${path}`, address), { headers });
        expect([path, response.status]).toEqual([path, 200]);
        return Buffer.from(await response.arrayBuffer());
      };
      const chunk = await read("labels/0/0");

      const panel = page.locator(".panel");
      await expect.poll(() => panel.textContent(), { timeout: JOB_MS }).toContain("Finished");
      await expect.poll(() => page.locator(".running").count()).toBe(0);
      expect((await read("outputs/labels.ome.zarr/0/c/0/0")).equals(chunk)).toBe(true);
      // The run is added to the picture that is open: the view stays.
      await expect
        .poll(async () => {
          await pictureReady(page);
          return countDifferent(early, await readPicture(page));
        })
        .toBe(0);

      // Objects can be clicked.
      await page.getByLabel(/^Show .* objects/).check();
      await page.getByLabel("Measurement").selectOption({ index: 1 });
      await page.locator("table.objects tbody button").first().click();
      await expect.poll(() => page.locator(".selected").textContent()).toMatch(/\d/);
      await page.getByRole("button", { name: "Go to" }).click();
      await page.getByRole("button", { name: "Clear" }).click();
      await pictureReady(page);
      const canvas = (await page.locator(".stage > canvas").boundingBox())!;
      await page.mouse.click(canvas.x + canvas.width / 2, canvas.y + canvas.height / 2);
      await expect.poll(() => page.locator(".selected").textContent()).toMatch(/\d/);
      expect(problems).toEqual([]);
      expect(requests.filter((url) => url.includes(up.token))).toEqual([]);
      await close();
    },
    JOB_MS,
  );
});
