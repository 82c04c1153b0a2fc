import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { Browser, Request } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { segment } from "../../src/index.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { openChromium, openPage, pictureReady } from "./chromium.ts";
import {
  expectNothingSent,
  expectSameBytes,
  givePicker,
  listFolder,
  readFolder,
  saveAsZip,
} from "./tab-run.ts";
import { startView, type ViewProcess } from "./view-process.ts";

/**
 * The bundled network in the tab, on a fluorescence slide. TILEWRIGHT_HERE_SCAN names a real one: a whole NDPI of 19
 * megapixels takes some minutes.
 */
const given = process.env.TILEWRIGHT_HERE_SCAN;
const MINUTES = given === undefined ? 3 : 20;
/** The variant that the page runs. */
const VARIANT = "int4-edge";

let directory: string;
let scan: string;
let view: ViewProcess;
let browser: Browser;
/** Results of `tilewright segment --backend wasm`. */
let expected: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-here-"));
  scan = given ?? writeMadeSlide(join(directory, "slide.tiff"), { width: 400, height: 1900, mpp: 0.25 }).path;
  if (!existsSync(scan)) throw new Error(`TILEWRIGHT_HERE_SCAN names ${scan}, which does not exist`);
  expected = join(directory, "out");
  await segment({ source: scan, model: "nuclei", variant: VARIANT, out: expected, backends: ["wasm"] });
  [view, browser] = await Promise.all([startView([]), openChromium()]);
}, MINUTES * 60_000);

afterAll(async () => {
  await browser?.close();
  await view?.stop();
  rmSync(directory, { recursive: true, force: true });
});

describe("nuclei in the tab", () => {
  it(
    "gives the bytes of --backend wasm, and no request leaves the tab",
    async () => {
      const { page, problems, close } = await openPage(browser, view.url);
      const choose = page.locator("input[type=file]").first();
      await choose.waitFor();
      const sent: Request[] = [];
      page.context().on("request", (request) => sent.push(request));
      await choose.setInputFiles(scan);
      const started = performance.now();
      await page.getByRole("button", { name: "Segment" }).click();
      await page.getByRole("button", { name: "Save as zip" }).waitFor({ timeout: MINUTES * 60_000 });
      const seconds = (performance.now() - started) / 1000;
      await pictureReady(page);
      const files = await saveAsZip(page);
      expect(problems).toEqual([]);
      expectSameBytes(files, expected);
      expectNothingSent(sent, new URL(view.url).origin);
      const manifest = JSON.parse(Buffer.from(files["run.json"]!).toString());
      expect(manifest.backends[0].runtime).toMatch(/^tilewright-engine wasm/);
      expect(manifest.backends[0].variant).toBe(VARIANT);
      const [objects] = manifest.summary.objects;
      expect(objects.count).toBeGreaterThan(10);
      if (given)
        console.log(
          `${manifest.plan.windows} windows and ${objects.count} objects in ${seconds.toFixed(1)} s, ${JSON.stringify(manifest.seconds)}`,
        );
      await close();
    },
    MINUTES * 60_000,
  );

  it(
    "writes results to a folder as they are made, and removes them if it is stopped",
    async () => {
      const { page, problems, close } = await openPage(browser, view.url);
      await givePicker(page, "chosen");
      await page.locator("input[type=file]").first().setInputFiles(scan);
      await page.getByLabel("Results").selectOption("folder");
      const name = `chosen/${basename(scan)}-results`;
      const chunk = "labels.ome.zarr/0/c/0/0";
      const seen = async () => {
        const names = await listFolder(page, name);
        return names && { chunk: names.includes(chunk), run: names.includes("run.json") };
      };
      const hasChunk = () =>
        expect.poll(seen, { timeout: MINUTES * 60_000, interval: 100 }).toEqual({ chunk: true, run: false });
      await page.getByRole("button", { name: "Segment" }).click();
      await hasChunk();
      await page.getByRole("button", { name: "Stop" }).click();
      await page.getByRole("button", { name: "Segment" }).waitFor();
      expect(await listFolder(page, name)).toBeUndefined();

      await page.getByRole("button", { name: "Segment" }).click();
      await hasChunk();
      await pictureReady(page);
      await expect.poll(() => page.locator("header > output").textContent()).toBe(`saved in ${name}`);
      expectSameBytes(await readFolder(page, name), expected);
      const { outputs } = JSON.parse(Buffer.from((await readFolder(page, name))["run.json"]!).toString());
      const { outputs: there } = JSON.parse(readFileSync(join(expected, "run.json"), "utf8"));
      expect(outputs).toEqual(there);
      expect(problems).toEqual([]);
      await close();
    },
    2 * MINUTES * 60_000,
  );
});
