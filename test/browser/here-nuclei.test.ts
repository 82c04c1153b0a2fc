import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Request } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { segment } from "../../src/index.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { openChromium, openPage, pictureReady } from "./chromium.ts";
import { expectNothingSent, expectSameBytes, saveAsZip } from "./tab-run.ts";
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
  scan = given ?? writeMadeSlide(join(directory, "slide.tiff"), { width: 600, height: 450, mpp: 0.25 }).path;
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
});
