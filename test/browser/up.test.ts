import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { until } from "../stack/service.ts";
import { UpProcess } from "../stack/up-process.ts";
import { openChromium, openPage, pictureReady, readPicture } from "./chromium.ts";
import { dropFiles } from "./drop-files.ts";
import { comparePainted, findLabelChunk, type LabelChunk, SCALE } from "./label-chunk.ts";

/** A made slide and a small network; with TILEWRIGHT_SLIDE=<file> that slide and the bundled network, which takes minutes. */
const REAL = process.env.TILEWRIGHT_SLIDE;
/** With TILEWRIGHT_PICTURES=<directory>: a screenshot of each step. */
const PICTURES = process.env.TILEWRIGHT_PICTURES;
/** Time for the whole job, on a busy machine too. */
const JOB_MS = 900_000;

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

async function keepPicture(page: Page, step: string): Promise<void> {
  if (PICTURES) await page.screenshot({ path: join(PICTURES, `${step}.png`) });
}

/** Shows the middle of a chunk with labels of this opacity, and nothing above them. */
async function showChunk(page: Page, { middle }: LabelChunk, opacity: number): Promise<void> {
  const fragment = `x=${middle.x}&y=${middle.y}&scale=${SCALE}&labels=${opacity}&style=fill&objects=0`;
  await page.evaluate(`location.hash = "${fragment}"`);
  await expect.poll(() => page.locator("#position").textContent()).toContain(`x ${middle.x}, y ${middle.y}`);
  await expect.poll(() => page.getByLabel("Opacity").inputValue()).toBe(String(opacity));
  await pictureReady(page);
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
      await pictureReady(page);
      await keepPicture(page, "1-dropped");
      await expect
        .poll(() => page.locator(".running output").textContent(), { timeout: JOB_MS, interval: 100 })
        .toMatch(/windows.* per second .* left .* about \$[\d.e-]+ of \$/);

      // Labels appear before the job is done.
      const headers = { Authorization: `Bearer ${up.token}` };
      const read = async (path: string) => {
        const response = await fetch(new URL(`/v1/jobs/${job}/${path}`, address), { headers });
        const bytes = Buffer.from(await response.arrayBuffer());
        expect([200, 404], `${path}: ${response.status}`).toContain(response.status);
        return response.ok ? bytes : undefined;
      };
      const chunk = await until(() => findLabelChunk(read), JOB_MS / 1000);
      await showChunk(page, chunk, 0);
      const bare = await readPicture(page);
      await showChunk(page, chunk, 1);
      const compare = async () => {
        await pictureReady(page);
        return comparePainted(bare, await readPicture(page), chunk);
      };
      await expect.poll(async () => (await compare()).wrong).toBe(0);
      const { labelled, changed } = await compare();
      expect(labelled).toBeGreaterThan(8000);
      // Where the scan does not have the colour of its label anyway, the picture has changed.
      expect(changed).toBeGreaterThan(labelled / 2);
      await keepPicture(page, "2-running");
      expect(await page.locator(".running output").textContent()).toContain("segmenting");

      const panel = page.locator(".panel");
      await expect.poll(() => panel.textContent(), { timeout: JOB_MS }).toContain("Finished");
      await expect.poll(() => page.locator(".running").count()).toBe(0);
      const [row, column] = chunk.key.split("/");
      const result = await read(`outputs/labels.ome.zarr/0/c/${row}/${column}`);
      expect(result?.equals(chunk.stored)).toBe(true);
      // The run is added to the picture that is open: the view stays.
      await expect.poll(async () => (await compare()).wrong).toBe(0);
      await keepPicture(page, "3-finished");

      // It can be explored, and objects can be clicked: the one that is there is shown.
      await page.getByLabel(/^Show .* objects/).check();
      await page.keyboard.press("Escape");
      await page.locator(".stage > canvas").focus();
      await page.keyboard.press("0");
      await pictureReady(page);
      await keepPicture(page, "4-whole");
      await showChunk(page, chunk, 0.5);
      await page.getByLabel(/^Show .* objects/).check();
      await pictureReady(page);
      const canvas = (await page.locator(".stage > canvas").boundingBox())!;
      await page.mouse.click(
        canvas.x + canvas.width / 2 + (chunk.inside.x + 0.5 - chunk.middle.x) * SCALE,
        canvas.y + canvas.height / 2 + (chunk.inside.y + 0.5 - chunk.middle.y) * SCALE,
      );
      const selected = page.locator(".selected");
      await expect.poll(() => selected.textContent()).toMatch(/\d/);
      await expect.poll(() => page.url()).toMatch(/object=\d+/);
      const number = Number(/object=(\d+)/.exec(page.url())![1]);
      const { features } = JSON.parse((await read("outputs/objects.geojson"))!.toString()) as {
        features: {
          geometry: { coordinates: unknown[] };
          properties: { measurements: Record<string, number> };
        }[];
      };
      const clicked = features.find(({ properties }) => properties.measurements["Object number"] === number)!;
      const coordinates = clicked.geometry.coordinates.flat(9) as number[];
      for (const [axis, at] of [chunk.inside.x, chunk.inside.y].entries()) {
        const along = coordinates.filter((_, i) => i % 2 === axis);
        expect(Math.min(...along)).toBeLessThanOrEqual(at);
        expect(Math.max(...along)).toBeGreaterThan(at);
      }
      await keepPicture(page, "5-clicked");

      // The largest objects are listed, and lead to their place.
      await page.getByLabel("Measurement").selectOption({ index: 1 });
      await page.locator("table.objects tbody button").first().click();
      await expect.poll(() => page.url()).not.toContain(`object=${number}&`);
      await expect.poll(() => selected.textContent()).toMatch(/\d/);
      await page.getByRole("button", { name: "Go to" }).click();
      await pictureReady(page);
      await keepPicture(page, "6-largest");
      expect(problems).toEqual([]);
      expect(requests.filter((url) => url.includes(up.token))).toEqual([]);
      await close();
    },
    JOB_MS,
  );
});
