import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { segment } from "../../src/index.ts";
import { forecastCloudCost } from "../../src/orchestrator/cloud-cost.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { treeHashes } from "../builders/tree-hashes.ts";
import { READ_TOKEN, Service, SOURCE_TOKEN, SUBMIT_TOKEN, TOKEN, WORK_TOKEN } from "../stack/service.ts";
import { accessibilityFindings } from "./accessibility.ts";
import { openChromium, openPage, pictureReady, type WatchedPage } from "./chromium.ts";
import { MadeService } from "./made-service.ts";

let directory: string;
let slide: string;
let made: MadeService;
let service: Service;
let browser: Browser;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-upload-region-"));
  slide = writeMadeSlide(join(directory, "slide.tiff"), { width: 900, height: 700 }).path;
  browser = await openChromium();
  made = await MadeService.start(directory);
  service = new Service(made.url);
});

afterAll(async () => {
  await browser?.close();
  await made?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function openAt(path: string, token: string): Promise<WatchedPage> {
  const opened = await openPage(browser, new URL(path, made.url).href);
  await opened.page.getByLabel("Token").fill(token);
  await opened.page.getByRole("button", { name: "Sign in" }).click();
  return opened;
}

const jobsOf = async () =>
  ((await (await service.fetch("/v1/jobs")).json()) as { jobs: { id: string }[] }).jobs.length;

describe("a scan that is uploaded to choose a region first", () => {
  it("opens without a job, and only the region is segmented, as on one machine", async () => {
    const { page, problems, close } = await openAt("/", TOKEN);
    await page.getByLabel("Choose a region first").check();
    expect(await accessibilityFindings(page)).toEqual([]);
    await page.locator("input[type=file]").first().setInputFiles(slide);
    await page.waitForURL(/\/scan\?upload=[0-9a-f]{32}/);
    await pictureReady(page);
    const panel = page.locator("details.region");
    await expect.poll(() => panel.textContent()).toMatch(/The whole scan has [\d,]+ windows/);
    expect(await jobsOf()).toBe(0);
    const polygons = [
      [
        [
          [100, 50],
          [420, 90.5],
          [200, 380],
        ],
      ],
    ] as const;
    await page.getByLabel("Import a region from a GeoJSON file of QuPath").setInputFiles({
      name: "annotations.geojson",
      mimeType: "application/geo+json",
      buffer: Buffer.from(JSON.stringify({ type: "MultiPolygon", coordinates: polygons })),
    });
    await expect.poll(() => panel.textContent()).toMatch(/\d+ of [\d,]+ windows, about \$/);
    for (const colorScheme of ["light", "dark"] as const) {
      for (const width of [390, 1280]) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 844 });
        expect([width, colorScheme, await accessibilityFindings(page)]).toEqual([width, colorScheme, []]);
      }
    }
    const shown = (await page.locator("output.cost").textContent())!;
    // The address stays when the page is loaded again.
    const { href } = new URL(page.url());
    await page.getByRole("button", { name: "Segment the region" }).click();
    await page.waitForURL(/\/job\?id=/);
    const id = new URL(page.url()).searchParams.get("id")!;
    expect((await service.ended(id)).state).toBe("done");
    const out = join(directory, "service");
    await service.download(id, out);
    const { plan, settings } = JSON.parse(readFileSync(join(out, "run.json"), "utf8"));
    expect(shown).toContain(`${plan.windows} of `);
    expect(shown).toContain(`about $${forecastCloudCost(plan.windows, plan.shards).toPrecision(2)}`);
    expect(settings.polygons).toEqual(polygons);
    const alone = join(directory, "alone");
    const model = join(directory, "pointwise");
    await segment({ source: slide, model, out: alone, backends: ["wasm"], polygons });
    expect(treeHashes(out)).toEqual(treeHashes(alone));

    await page.goto(href);
    await pictureReady(page);
    await page.getByRole("button", { name: "Segment the whole scan" }).click();
    await page.waitForURL(/\/job\?id=/);
    const whole = new URL(page.url()).searchParams.get("id")!;
    expect(whole).not.toBe(id);
    const ended = await service.ended(whole);
    expect([ended.state, ended.roi]).toEqual(["done", undefined]);
    expect(problems).toEqual([]);
    await close();
  });

  it("waits in the list beside others, and a folder says that it cannot", async () => {
    const { page, close } = await openAt("/", TOKEN);
    const before = await jobsOf();
    await page.getByLabel("Choose a region first").check();
    const bytes = readFileSync(slide);
    await page
      .locator("input[type=file]")
      .first()
      .setInputFiles(
        ["one.tiff", "two.tiff"].map((name) => ({ name, mimeType: "image/tiff", buffer: bytes })),
      );
    const items = page.locator(".sendings li");
    await expect.poll(() => items.getByRole("button", { name: "Choose a region" }).count()).toBe(2);
    expect(await jobsOf()).toBe(before);
    await items.filter({ hasText: "two.tiff" }).getByRole("button", { name: "Choose a region" }).click();
    await page.waitForURL(/\/scan\?upload=/);
    await pictureReady(page);
    expect(await page.locator("h1").textContent()).toBe("two.tiff");
    await page.getByRole("button", { name: "All scans" }).click();
    await page.getByLabel("Choose a region first").check();
    await page
      .locator("input[type=file]")
      .nth(1)
      .setInputFiles(join(import.meta.dirname, "../fixtures/tiny-swin"));
    await expect
      .poll(() => items.textContent())
      .toContain("a region of a folder is chosen when its job runs");
    await close();
  });

  it("says why it cannot be shown", async () => {
    const { id } = await service.upload(slide, "seen.tiff", null);
    const says = async (path: string, token: string, sentence: string) => {
      const { page, close } = await openAt(path, token);
      await expect.poll(() => page.locator("[role=alert]").textContent()).toContain(sentence);
      await close();
    };
    await says(`/scan?upload=${id}`, SUBMIT_TOKEN, "lacks the scope source");
    await says(`/scan?upload=${"0".repeat(32)}`, TOKEN, "there is no such upload");
    const begun = await service.post("/v1/uploads", { name: "half.tiff", byteLength: 100, request: null });
    const half = (await begun.json()) as { id: string };
    await says(`/scan?upload=${half.id}`, TOKEN, "the upload is not complete");
    const status = async (path: string, token = TOKEN, headers: Record<string, string> = {}) => {
      const response = await service.fetch(`/v1/uploads/${path}`, { headers }, token);
      await response.body?.cancel();
      return response.status;
    };
    const range = { Range: "bytes=0-7" };
    const tokens = [
      TOKEN,
      SOURCE_TOKEN,
      SUBMIT_TOKEN,
      READ_TOKEN,
      WORK_TOKEN,
      "none-of-the-tokens-of-this-service",
    ];
    const found = await Promise.all(tokens.map((token) => status(`${id}/source/seen.tiff`, token, range)));
    expect(found).toEqual([206, 206, 403, 403, 403, 401]);
    expect(await status(`${half.id}/source/half.tiff`, TOKEN, range)).toBe(409);
    for (const path of [
      `${id}/source/other.tiff`,
      `${id}/source/seen.tiff/x`,
      `${id}/source/..%2fseen.tiff`,
      `${"0".repeat(32)}/source/seen.tiff`,
      "x/source/seen.tiff",
    ])
      expect([path, await status(path, TOKEN, range)]).toEqual([path, 404]);
    expect(await status(`${id}/source/seen.tiff`, TOKEN, { Range: "bytes=99999999-" })).toBe(416);
    expect(await status(`${id}/source/seen.tiff`, TOKEN, { ...range, "If-Match": '"other"' })).toBe(412);
    const bytes = await service.fetch(`/v1/uploads/${id}/source/seen.tiff`, { headers: range });
    expect(Buffer.from(await bytes.arrayBuffer())).toEqual(readFileSync(slide).subarray(0, 8));
  });
});
