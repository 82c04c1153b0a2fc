import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cohort } from "../../src/index.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { accessibilityFindings } from "./accessibility.ts";
import { openChromium, openPage, pictureReady } from "./chromium.ts";
import { startView, type ViewProcess } from "./view-process.ts";

/** What would do something if a page took it for HTML. */
const HOSTILE_ID = `<img src=x onerror=alert(1)> & "c'`;
const HOSTILE_VALUE = `</td><script>alert(2)</script>`;
const HOSTILE_FILE = `<svg onload=alert(3)>.tiff`;

let directory: string;
let browser: Browser;
let view: ViewProcess;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-cohort-page-"));
  const names = ["small.tiff", "middle.tiff", "large.tiff"];
  names.forEach((name, i) => {
    writeMadeSlide(join(directory, name), { width: 400 + 300 * i, height: 400 });
  });
  const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
  const manifest = join(directory, "manifest.csv");
  writeFileSync(
    manifest,
    [
      "id,source,group",
      `small,small.tiff,control`,
      `middle,middle.tiff,control`,
      `${quoted(HOSTILE_ID)},large.tiff,${quoted(HOSTILE_VALUE)}`,
      `gone,${quoted(HOSTILE_FILE)},control`,
    ].join("\n"),
  );
  const out = join(directory, "study");
  await cohort({ cohort: manifest, out, model: writePointwisePackage(join(directory, "model")), threads: 1 });
  [view, browser] = await Promise.all([startView([out]), openChromium()]);
}, 180_000);

afterAll(async () => {
  await browser?.close();
  await view?.stop();
  rmSync(directory, { recursive: true, force: true });
});

describe("the page of a cohort", () => {
  it("sorts, filters and shows distributions; names and reasons are text", async () => {
    const { page, problems, requests, close } = await openPage(browser, view.url);
    const rows = page.locator("table tbody tr");
    await expect.poll(() => rows.count()).toBe(4);
    const ids = () => rows.locator("th").allTextContents();
    expect(await ids()).toEqual(["small", "middle", HOSTILE_ID, "gone"]);
    await page.getByLabel("All columns").check();
    expect(await page.locator("table").textContent()).toContain(HOSTILE_VALUE);
    expect(await page.locator("table").textContent()).toContain(HOSTILE_FILE);
    await page.getByRole("button", { name: "windows" }).click();
    await page.getByRole("button", { name: "windows" }).click();
    // The largest first; the failed scan has no value and stays last.
    expect(await ids()).toEqual([HOSTILE_ID, "middle", "small", "gone"]);
    await page.getByLabel("State").selectOption("failed");
    expect(await ids()).toEqual(["gone"]);
    await page.getByLabel("State").selectOption("");
    await page.getByLabel("Text").fill("ALERT(2)");
    expect(await ids()).toEqual([HOSTILE_ID]);
    await page.getByLabel("Text").fill("");
    await page.getByLabel("Distribution of").selectOption({ label: "windows" });
    await page.getByLabel("From").focus();
    await page.keyboard.press("End");
    await expect.poll(ids).toEqual([HOSTILE_ID]);
    await page.getByLabel("Distribution of").selectOption("-1");
    await expect.poll(() => rows.count()).toBe(4);
    expect(await accessibilityFindings(page)).toEqual([]);
    expect(problems).toEqual([]);
    expect(requests.length).toBeGreaterThan(2);
    await close();
  });

  it("opens each scan that is done in the viewer, over its image, and comes back", async () => {
    const { page, problems, close } = await openPage(browser, view.url);
    await page.getByRole("link", { name: HOSTILE_ID }).click();
    await pictureReady(page);
    await expect.poll(() => page.locator(".panel").textContent()).toContain("1000 × 400 px");
    await expect.poll(() => page.locator(".panel").textContent()).toContain("pointwise 1.0.0 fp32");
    await page.getByRole("link", { name: "All scans of the cohort" }).click();
    await expect.poll(() => page.locator("table tbody tr").count()).toBe(4);
    expect(await page.getByRole("link", { name: "gone" }).count()).toBe(0);
    expect(problems).toEqual([]);
    await page.goto(`${new URL(view.url).origin}/?scan=3`);
    await expect.poll(() => page.locator("[role=alert]").textContent()).toContain("no results");
    await close();
  });
});
