import { join } from "node:path";
import type { Browser, Request } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { segment } from "../../src/index.ts";
import { accessibilityFindings } from "./accessibility.ts";
import { openChromium, openPage, pictureReady } from "./chromium.ts";
import { type MadeRun, makeRun } from "./made-run.ts";
import {
  expectNothingSent,
  expectSameBytes,
  givePicker,
  listFolder,
  readFolder,
  saveAsZip,
} from "./tab-run.ts";
import { startView, type ViewProcess } from "./view-process.ts";

let run: MadeRun;
let view: ViewProcess;
let browser: Browser;
/** The same run in WebAssembly on the command line. */
let expected: string;

beforeAll(async () => {
  run = await makeRun("slide.tiff");
  expected = join(run.directory, "wasm");
  await segment({ source: run.slide.path, model: run.model, out: expected, backends: ["wasm"], mpp: 0.5 });
  [view, browser] = await Promise.all([startView(["--model", run.model]), openChromium()]);
});

afterAll(async () => {
  await browser?.close();
  await view?.stop();
  run?.remove();
});

describe("segmenting in the tab", () => {
  it("gives the bytes of the command line, and sends nothing", async () => {
    const { page, problems, close } = await openPage(browser, view.url);
    const choose = page.locator("input[type=file]").first();
    await choose.waitFor();
    const sent: Request[] = [];
    page.on("request", (request) => sent.push(request));
    await choose.setInputFiles(run.slide.path);
    expect(await accessibilityFindings(page)).toEqual([]);
    await page.getByLabel("Pixel size in µm").fill("0.5");
    await page.getByRole("button", { name: "Segment" }).click();
    await pictureReady(page);
    await expect.poll(() => page.locator(".panel").textContent()).toContain("pointwise 1.0.0 fp32");
    const files = await saveAsZip(page);
    expect(problems).toEqual([]);
    expectSameBytes(files, expected);
    const names = Object.keys(files);
    expect(names.filter((name) => name.startsWith("labels.ome.zarr/")).length).toBeGreaterThan(8);
    expect(names).toContain("objects.geojson");
    const manifest = JSON.parse(Buffer.from(files["run.json"]!).toString());
    expect(manifest.coverage.complete).toBe(true);
    expect(manifest.backends[0].runtime).toBe("tilewright-engine wasm (relaxed, fused)");
    expectNothingSent(sent, new URL(view.url).origin);

    // They are on the browser's disk while the tab is open.
    const runs = (await listFolder(page, "tab-runs"))!;
    expect(runs.filter((name) => name.endsWith("/run.json"))).toHaveLength(1);
    const another = await page.context().newPage();
    await another.goto(view.url);
    await another.locator("input[type=file]").first().waitFor();
    expect(await listFolder(another, "tab-runs")).toEqual(runs);
    await page.close();
    await another.reload();
    await expect.poll(() => listFolder(another, "tab-runs")).toEqual([]);
    await close();
  });

  it("copies finished results to a folder, beside those of an earlier run", async () => {
    const { page, problems, close } = await openPage(browser, view.url);
    await givePicker(page, "chosen");
    await page.locator("input[type=file]").first().setInputFiles(run.slide.path);
    await page.getByLabel("Pixel size in µm").fill("0.5");
    await page.getByRole("button", { name: "Segment" }).click();
    for (const name of ["chosen/slide.tiff-results", "chosen/slide.tiff-results-2"]) {
      await page.getByRole("button", { name: "Save to folder" }).click();
      await expect.poll(() => page.locator("header > output").textContent()).toBe(`saved in ${name}`);
      expectSameBytes(await readFolder(page, name), expected);
    }
    expect(problems).toEqual([]);
    await close();
  });

  it("of a region that was chosen before gives the bytes of the command line with that region", async () => {
    const polygons = [
      [
        [
          [60.5, 40],
          [420, 90.25],
          [200, 380],
        ],
        [
          [180, 120],
          [240, 130],
          [200, 190],
        ],
      ],
      [
        [
          [500, 300],
          [620, 300],
          [620, 440],
        ],
      ],
    ] as const;
    const shared = { source: run.slide.path, model: run.model, mpp: 0.5, polygons, tissueMask: false };
    const outlined = join(run.directory, "outlined");
    const { plan } = await segment({ ...shared, out: outlined, backends: ["wasm"] });
    const { page, problems, close } = await openPage(browser, view.url);
    const sent: Request[] = [];
    await page.locator("input[type=file]").first().setInputFiles(run.slide.path);
    page.on("request", (request) => sent.push(request));
    await page.getByLabel("Pixel size in µm").fill("0.5");
    await page.getByRole("button", { name: "Choose a region" }).click();
    await pictureReady(page);
    const panel = page.locator("details.region");
    await expect.poll(() => panel.textContent()).toMatch(/The whole scan has [\d,]+ windows/);
    await page.getByLabel("Leave out background").uncheck();
    await page.getByLabel("Import a region from a GeoJSON file of QuPath").setInputFiles({
      name: "annotations.geojson",
      mimeType: "application/geo+json",
      buffer: Buffer.from(JSON.stringify({ type: "MultiPolygon", coordinates: polygons })),
    });
    await expect.poll(() => panel.textContent()).toContain(`${plan.windows} of `);
    await page.getByRole("button", { name: "Preview a window" }).click();
    await expect.poll(() => panel.textContent()).toContain("on one core of this machine");
    for (const colorScheme of ["light", "dark"] as const) {
      for (const width of [390, 1280]) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 844 });
        expect([width, colorScheme, await accessibilityFindings(page)]).toEqual([width, colorScheme, []]);
      }
    }
    await page.getByRole("button", { name: "Use the region" }).click();
    const form = page.locator("form.settings");
    await expect.poll(() => form.textContent()).toContain("2 polygons in a region 560 × 400 at 60, 40");
    expect(await page.getByLabel("Pixel size in µm").inputValue()).toBe("0.5");
    for (const width of [390, 1280]) {
      await page.setViewportSize({ width, height: 844 });
      expect([width, await accessibilityFindings(page)]).toEqual([width, []]);
    }
    // It is still there when it is to be changed, and when it was not.
    await page.getByRole("button", { name: "Change the region" }).click();
    await expect.poll(() => panel.textContent()).toContain(`${plan.windows} of `);
    await page.getByRole("button", { name: "Back to the settings" }).click();
    await page.getByRole("button", { name: "Segment" }).click();
    await pictureReady(page);
    await expect.poll(() => page.locator(".panel").textContent()).toContain("pointwise 1.0.0 fp32");
    const files = await saveAsZip(page);
    expectSameBytes(files, outlined);
    const manifest = JSON.parse(Buffer.from(files["run.json"]!).toString());
    expect([manifest.plan.windows, manifest.settings.polygons]).toEqual([plan.windows, polygons]);
    expect(problems).toEqual([]);
    expectNothingSent(sent, new URL(view.url).origin);
    await close();
  });

  it("of a rectangle or, after a change of mind, of the whole scan", async () => {
    const cut = join(run.directory, "cut");
    const roi = [100, 50, 200, 150] as const;
    await segment({ source: run.slide.path, model: run.model, out: cut, backends: ["wasm"], mpp: 0.5, roi });
    const { page, problems, close } = await openPage(browser, view.url);
    await page.locator("input[type=file]").first().setInputFiles(run.slide.path);
    await page.getByLabel("Pixel size in µm").fill("0.5");
    const choose = async () => {
      await page.getByRole("button", { name: /region$/ }).click();
      await pictureReady(page);
      for (const [i, name] of ["Left", "Top", "Width", "Height"].entries()) {
        await page.getByLabel(name, { exact: true }).fill(String(roi[i]));
        await page.keyboard.press("Tab");
      }
      await page.getByRole("button", { name: "Use the region" }).click();
      await expect.poll(() => page.locator("form").textContent()).toContain("region 200 × 150 at 100, 50");
    };
    await choose();
    await page.getByRole("button", { name: "Whole scan" }).click();
    await expect.poll(() => page.locator("form").textContent()).toContain("the whole scan");
    await choose();
    await page.getByRole("button", { name: "Segment" }).click();
    await pictureReady(page);
    await expect.poll(() => page.locator(".panel").textContent()).toContain("pointwise 1.0.0 fp32");
    expectSameBytes(await saveAsZip(page), cut);
    expect(problems).toEqual([]);
    await close();
  });

  it("can be stopped, and says why a file cannot be segmented", async () => {
    const { page, close } = await openPage(browser, view.url);
    const choose = page.locator("input[type=file]").first();
    await choose.setInputFiles({
      name: "<b>notes.txt",
      mimeType: "text/plain",
      buffer: Buffer.from("notes"),
    });
    await page.getByRole("button", { name: "Segment" }).click();
    await expect
      .poll(() => page.locator("[role=alert]").textContent())
      .toContain("<b>notes.txt is not an image");
    await page.getByRole("button", { name: "Another scan" }).click();
    await choose.setInputFiles(run.slide.path);
    await page.getByRole("button", { name: "Segment" }).click();
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByRole("button", { name: "Segment" }).waitFor();
    await close();
  });
});
