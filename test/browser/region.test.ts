import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseRegion } from "../../src/cli/options/parsers.ts";
import { type Stack, startStack } from "../../src/cli/stack/local-stack.ts";
import { findWebAssets, openWebAssets } from "../../src/cli/view/web-assets.ts";
import { plan } from "../../src/index.ts";
import { forecastCloudCost } from "../../src/orchestrator/cloud-cost.ts";
import type { RunManifest } from "../../src/orchestrator/manifest/run-manifest.ts";
import { isInside } from "../builders/drawn-polygons.ts";
import { readLabelZarr } from "../builders/shared-runtime.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import {
  JOBS_BINDINGS,
  READ_TOKEN,
  Service,
  SOURCE_TOKEN,
  SUBMIT_TOKEN,
  TOKEN,
  WORK_TOKEN,
} from "../stack/service.ts";
import { accessibilityFindings } from "./accessibility.ts";
import { openChromium, openPage, pictureReady, type WatchedPage } from "./chromium.ts";

const [WIDTH, HEIGHT] = [900, 700];

let directory: string;
let stack: Stack;
let browser: Browser;
let service: Service;
/** The job of the whole slide, and its results. */
let job: string;
let classes: readonly { name: string; color: string }[];
let whole: { manifest: RunManifest; labels: Awaited<ReturnType<typeof readLabelZarr>> };

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-region-page-"));
  const empty = (x: number) => x > 380 && x < 520;
  const slide = writeMadeSlide(join(directory, "slide.tiff"), { width: WIDTH, height: HEIGHT, empty }).path;
  // Its intensities are those of the whole scan.
  const model = join(import.meta.dirname, "../../models/nuclei");
  const manifest = JSON.parse(readFileSync(join(model, "model.json"), "utf8"));
  expect(manifest.input.normalization).toMatchObject({ kind: "percentile", scope: "image" });
  classes = manifest.classes;
  const pages = await openWebAssets(findWebAssets());
  browser = await openChromium();
  stack = await startStack({
    state: join(directory, "state"),
    host: "127.0.0.1",
    port: 0,
    model,
    variant: "int4-edge",
    pages: { has: pages.has, handle: (request, response) => void pages.handle(request, response) },
    jobs: { TOKENS: JOBS_BINDINGS.TOKENS },
    segment: { TOKEN },
  });
  service = new Service(stack.url);
  const { source } = await service.upload(slide, "slide.tiff", null);
  job = (await service.start({ source, mpp: 0.25, settings: { overlapRatio: 0.3 } })).job.id;
  const { state, error } = await service.ended(job);
  expect([state, error]).toEqual(["done", undefined]);
  whole = await results(job);
});

afterAll(async () => {
  await browser?.close();
  await stack?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function results(id: string) {
  const out = join(directory, id);
  await service.download(id, out);
  const manifest = JSON.parse(readFileSync(join(out, "run.json"), "utf8")) as RunManifest;
  return { manifest, labels: await readLabelZarr(out) };
}

async function openJob(token: string, id = job): Promise<WatchedPage> {
  const opened = await openPage(browser, new URL(`/job?id=${id}`, stack.url).href);
  await opened.page.getByLabel("Token").fill(token);
  await opened.page.getByRole("button", { name: "Sign in" }).click();
  await pictureReady(opened.page);
  return opened;
}

/** What the tests use of the page's canvas; they are compiled without the types of a page. */
interface CanvasOfPage {
  width: number;
  getContext(kind: "2d"): { getImageData(x: number, y: number, w: number, h: number): { data: Uint8Array } };
}

/** What the page says of the region, with any problem. */
async function cost(page: Page): Promise<string> {
  const alerts = await page.locator("details.region [role=alert]").allTextContents();
  return `${await page.locator("output.cost").textContent()}${alerts.join()}`;
}
const fields = async (page: Page): Promise<[number, number, number, number]> =>
  (await Promise.all(
    ["Left", "Top", "Width", "Height"].map(async (name) => Number(await page.getByLabel(name).inputValue())),
  )) as [number, number, number, number];

/** Drags over the picture, in parts of its width and height. */
async function drag(page: Page, from: [number, number], to: [number, number]): Promise<void> {
  const box = (await page.locator(".stage > canvas").boundingBox())!;
  const at = ([x, y]: [number, number]) => [box.x + x * box.width, box.y + y * box.height] as const;
  await page.mouse.move(...at(from));
  await page.mouse.down();
  await page.mouse.move(...at(to), { steps: 5 });
  await page.mouse.up();
}

const screenAt = async (page: Page, [x, y]: readonly [number, number]): Promise<[number, number]> => {
  const box = (await page.locator(".stage > canvas").boundingBox())!;
  return [box.x + x * box.width, box.y + y * box.height];
};

/** Clicks on the picture, in parts of its width and height. */
async function clickAt(page: Page, at: readonly [number, number]): Promise<void> {
  await page.mouse.click(...(await screenAt(page, at)));
}

/** The windows of the region that the page shows. */
const windowsOf = (shown: string): number => Number(/^(\d+) of/.exec(shown)?.[1] ?? 0);

async function typeRegion(page: Page, roi: readonly number[]): Promise<void> {
  for (const [i, name] of ["Left", "Top", "Width", "Height"].entries()) {
    await page.getByLabel(name).fill(String(roi[i]));
    await page.keyboard.press("Tab");
  }
  expect(await fields(page)).toEqual(roi);
}

/** Compares labels of a region with those of the whole. */
function expectPartOfWhole(
  found: { data: ArrayLike<number>; shape: readonly number[] },
  x: number,
  y: number,
) {
  const [rows, columns] = found.shape as [number, number];
  const across = whole.labels.shape[1]!;
  for (let row = 0; row < rows; row++) {
    const start = (y + row) * across + x;
    const line = Array.from(found.data).slice(row * columns, (row + 1) * columns);
    expect(line, `row ${row}`).toEqual(Array.from(whole.labels.data.slice(start, start + columns)));
  }
}

describe("a region of a job's scan", () => {
  it("is drawn, counted as the job will count it, and gives the labels of the whole", async () => {
    const { page, problems, requests, close } = await openJob(TOKEN);
    await page.locator("summary", { hasText: "Region" }).click();
    await expect.poll(() => cost(page)).toBe(`The whole scan has ${whole.manifest.plan.windows} windows.`);
    await page.getByRole("button", { name: "Rectangle" }).click();
    await drag(page, [0.35, 0.3], [0.55, 0.6]);
    await expect.poll(() => cost(page)).toMatch(/^\d+ of \d+ windows, about \$/);
    expect(await accessibilityFindings(page)).toEqual([]);
    const roi = await fields(page);
    const shown = await cost(page);
    await page.getByRole("button", { name: "Segment the region" }).click();
    await page.waitForURL((url) => url.searchParams.get("id") !== job);
    const id = new URL(page.url()).searchParams.get("id")!;
    const ended = await service.ended(id);
    expect(ended.state).toBe("done");
    expect(ended.roi).toEqual(roi);
    const part = await results(id);
    const { windows, shards, intensities, region } = part.manifest.plan;
    const dollars = forecastCloudCost(windows, shards).toPrecision(2);
    expect(shown).toBe(`${windows} of ${whole.manifest.plan.windows} windows, about $${dollars}`);
    expect(intensities).toEqual(whole.manifest.plan.intensities);
    expect(region).toEqual({ origin: [roi[1], roi[0]], size: [roi[3], roi[2]] });
    // The settings of the job that it was drawn on hold.
    expect(part.manifest.settings).toEqual({ ...whole.manifest.settings, roi });
    expectPartOfWhole(part.labels, roi[0], roi[1]);
    await pictureReady(page);
    await page.getByRole("button", { name: "All scans" }).click();
    await expect
      .poll(() => page.locator("table.jobs").textContent())
      .toContain(`region ${roi[2]} × ${roi[3]} at ${roi[0]}, ${roi[1]}`);
    // The list has a small picture of the scan.
    const thumbnail = page.locator("table.jobs canvas.thumbnail").first();
    await expect.poll(() => thumbnail.evaluate((canvas: unknown) => (canvas as CanvasOfPage).width)).toBe(96);
    expect(await accessibilityFindings(page)).toEqual([]);
    expect(problems).toEqual([]);
    expect(requests.filter((url) => url.includes(TOKEN))).toEqual([]);
    await close();
  });

  it("of polygons is drawn, counted as job and command line count it, and run", async () => {
    const { page, problems, close } = await openJob(TOKEN);
    await page.locator("summary", { hasText: "Region" }).click();
    await page.getByRole("button", { name: "Polygon" }).click();
    for (const at of [
      [0.2, 0.3],
      [0.35, 0.25],
      [0.38, 0.6],
    ] as const)
      await clickAt(page, at);
    await expect.poll(() => page.locator("details.region").textContent()).toContain("3 corners");
    // The first corner closes it.
    await clickAt(page, [0.2, 0.3]);
    await expect.poll(() => cost(page)).toMatch(/^\d+ of \d+ windows, about \$/);
    const first = windowsOf(await cost(page));
    await page.getByRole("button", { name: "Polygon" }).click();
    for (const at of [
      [0.65, 0.7],
      [0.8, 0.72],
    ] as const)
      await clickAt(page, at);
    // A double click sets the last corner and closes it.
    await page.mouse.dblclick(...(await screenAt(page, [0.7, 0.85])));
    await expect.poll(async () => windowsOf(await cost(page))).toBeGreaterThan(first);
    expect(await page.locator("details.region").textContent()).toContain("2 polygons");
    for (const colorScheme of ["light", "dark"] as const) {
      for (const width of [390, 1280]) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 844 });
        expect([width, colorScheme, await accessibilityFindings(page)]).toEqual([width, colorScheme, []]);
      }
    }
    const shown = windowsOf(await cost(page));
    const roi = await fields(page);
    const saved = page.waitForEvent("download");
    await page.getByRole("button", { name: "Save outlines" }).click();
    const file = join(directory, (await saved).suggestedFilename());
    await (await saved).saveAs(file);
    await page.getByRole("button", { name: "Segment the region" }).click();
    await page.waitForURL((url) => url.searchParams.get("id") !== job);
    const id = new URL(page.url()).searchParams.get("id")!;
    const ended = await service.ended(id);
    expect([ended.state, ended.roi, ended.polygons]).toEqual(["done", roi, 2]);
    const part = await results(id);
    // The plan of the page, of the job, and of the command line with the saved file.
    const region = parseRegion(file);
    const planned = await plan({
      ...{ source: join(directory, "slide.tiff"), model: join(import.meta.dirname, "../../models/nuclei") },
      ...{ mpp: 0.25, overlapRatio: 0.3, ...region },
    });
    expect([shown, part.manifest.plan.windows]).toEqual([planned.windows, planned.windows]);
    expect(part.manifest.settings).toEqual({ ...whole.manifest.settings, ...region });
    expect(part.manifest.plan.intensities).toEqual(whole.manifest.plan.intensities);
    // Fewer than in the rectangle around the two.
    const [x0, y0, columns, rows] = roi;
    const box = await service.start({
      ...{ source: (await service.job(job)).source.uri, mpp: 0.25 },
      settings: { overlapRatio: 0.3, roi },
    });
    const inBox = await service.ended(box.job.id);
    expect(planned.windows).toBeLessThan(inBox.windows!.total);
    let [inside, background] = [0, 0];
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        if (!region.polygons!.some((polygon) => isInside(polygon, x0 + x + 0.5, y0 + y + 0.5))) continue;
        const label = whole.labels.data[(y0 + y) * whole.labels.shape[1]! + x0 + x]!;
        if (part.labels.data[y * columns + x] !== label) expect.fail(`another label at ${x0 + x}, ${y0 + y}`);
        inside++;
        if (label === 0) background++;
      }
    }
    expect(inside).toBeGreaterThan(1000);
    expect(background).toBeLessThan(inside);
    await pictureReady(page);
    await page.getByRole("button", { name: "All scans" }).click();
    await expect
      .poll(() => page.locator("table.jobs").textContent())
      .toContain(`2 polygons in a region ${columns} × ${rows} at ${x0}, ${y0}`);
    expect(problems).toEqual([]);
    await close();
  });

  it("of polygons is drawn with the keyboard alone, and refused where it crosses itself", async () => {
    const { page, problems, close } = await openJob(TOKEN);
    await page.locator("summary", { hasText: "Region" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Polygon" }).focus();
    await page.keyboard.press("Enter");
    const area = page.getByRole("application", { name: "Draw a polygon" });
    await expect
      .poll(() => page.evaluate("document.activeElement.getAttribute('aria-label')"))
      .toBe("Draw a polygon");
    const press = async (...keys: string[]) => {
      for (const key of keys) await page.keyboard.press(key);
    };
    const panel = page.locator("details.region");
    const says = (text: string) => expect.poll(() => panel.textContent()).toContain(text);
    await press("Space", "Enter");
    await says("A polygon has at least three corners");
    // A bow tie.
    await press("Shift+ArrowRight", "Shift+ArrowDown", "Space", "Shift+ArrowUp", "Space");
    await press("Shift+ArrowLeft", "Shift+ArrowDown", "Space");
    await says("4 corners");
    expect(await accessibilityFindings(page)).toEqual([]);
    await press("Enter");
    await says("Polygon 1 crosses itself at");
    await press("Backspace");
    await says("3 corners");
    expect(await panel.locator("[role=alert]").count()).toBe(0);
    await press("Enter");
    await expect.poll(() => cost(page)).toMatch(/^\d+ of \d+ windows/);
    await says("1 polygon: windows that touch it are segmented");
    const before = await fields(page);
    await page.getByRole("button", { name: "Polygon" }).focus();
    await press("Enter", "Space", "ArrowLeft", "Space", "Escape");
    await expect.poll(() => area.count()).toBe(0);
    expect(await fields(page)).toEqual(before);
    expect(problems).toEqual([]);
    await close();
  });

  it("is compared with the job of the whole", async () => {
    const roi = [100, 100, 300, 300];
    const { source } = await service.job(job);
    const settings = { overlapRatio: 0.3, roi };
    const part = await service.start({ source: source.uri, mpp: 0.25, settings });
    expect((await service.ended(part.job.id)).state).toBe("done");
    const { page, problems, close } = await openJob(TOKEN);
    await page.getByRole("button", { name: "Compare" }).click();
    expect(await accessibilityFindings(page)).toEqual([]);
    await page.getByRole("link", { name: "region 300 × 300 at 100, 100" }).click();
    await pictureReady(page);
    const line = page.getByLabel("Line between the two runs");
    await expect.poll(() => line.inputValue()).toBe("0.5");
    expect(new URL(page.url()).searchParams.get("with")).toBe(part.job.id);
    await page.getByRole("button", { name: "Compare" }).click();
    await page.getByRole("link", { name: "This job alone" }).click();
    await pictureReady(page);
    expect(await line.count()).toBe(0);
    expect(problems).toEqual([]);
    await close();
  });

  it("previews a window, whose inner part is that of the run of the whole", async () => {
    const { page, problems, close } = await openJob(TOKEN);
    await page.locator("summary", { hasText: "Region" }).focus();
    await page.keyboard.press("Enter");
    let compared = 0;
    for (const roi of [
      [200, 300, 50, 60],
      [570, 140, 20, 10],
    ]) {
      await typeRegion(page, roi);
      await expect.poll(() => cost(page)).toMatch(/^\d+ of \d+ windows/);
      await page.getByRole("button", { name: "Preview a window" }).focus();
      await page.keyboard.press("Enter");
      const boxOf = async (name: string) =>
        ((await page.locator(`rect.${name}`).getAttribute("data-box")) ?? "").split(" ").map(Number);
      await expect
        .poll(async () => {
          const [x, y, width, height] = (await boxOf("window")) as [number, number, number, number];
          const [middleX, middleY] = [roi[0]! + roi[2]! / 2, roi[1]! + roi[3]! / 2];
          return middleX >= x && middleX < x + width && middleY >= y && middleY < y + height;
        })
        .toBe(true);
      const [left, top] = (await boxOf("window")) as [number, number];
      const [x, y, width, height] = (await boxOf("inner")) as [number, number, number, number];
      const colors = classes.map(({ color }) => color.toLowerCase());
      const shown = await page.locator("canvas.preview").evaluate(
        (canvas, [atX, atY, w, h]) => {
          const { data } = (canvas as unknown as CanvasOfPage)
            .getContext("2d")
            .getImageData(atX!, atY!, w!, h!);
          const hex = (n: number) => n.toString(16).padStart(2, "0");
          return Array.from({ length: data.length / 4 }, (_, i) =>
            data[4 * i + 3] === 0
              ? "none"
              : `#${hex(data[4 * i]!)}${hex(data[4 * i + 1]!)}${hex(data[4 * i + 2]!)}`,
          );
        },
        [x - left, y - top, width, height],
      );
      const data = shown.map((color) => (color === "none" ? 0 : colors.indexOf(color)));
      expectPartOfWhole({ data, shape: [height, width] }, x, y);
      compared += new Set(data).size;
      await page.getByRole("button", { name: "Hide the preview" }).click();
    }
    expect(compared).toBeGreaterThan(2);
    // At the right border two windows lie closer together, and cover each other's middle.
    await typeRegion(page, [720, 150, 5, 5]);
    await page.getByRole("button", { name: "Preview a window" }).click();
    await expect
      .poll(() => page.locator("details.region").textContent())
      .toContain("A run blends these labels with those of the neighbouring windows");
    expect(problems).toEqual([]);
    await close();
  });

  it("is imported from QuPath, or refused in a sentence", async () => {
    const { page, close } = await openJob(TOKEN);
    await page.locator("summary", { hasText: "Region" }).click();
    const file = page.getByLabel("Import a region from a GeoJSON file of QuPath");
    const load = (name: string, text: string) =>
      file.setInputFiles({ name, mimeType: "application/json", buffer: Buffer.from(text) });
    const polygon = (ring: number[][], type = "Polygon") =>
      JSON.stringify({ type: "Feature", geometry: { type, coordinates: [ring] }, properties: {} });
    await load(
      "roi.geojson",
      polygon([
        [100.5, 50],
        [300, 80.2],
        [180, 250.7],
        [100.5, 50],
      ]),
    );
    await expect.poll(() => fields(page)).toEqual([100, 50, 200, 201]);
    await expect.poll(() => cost(page)).toMatch(/^\d+ of \d+ windows/);
    expect(await page.locator("details.region").textContent()).toContain("1 polygon: windows that touch it");
    const says = (text: string) =>
      expect.poll(() => page.locator("details.region [role=alert]").textContent()).toContain(text);
    await load(
      "crossed.geojson",
      polygon([
        [0, 0],
        [100, 100],
        [100, 0],
        [0, 100],
        [0, 0],
      ]),
    );
    await says("crosses itself at 50, 50");
    await load(
      "other.geojson",
      polygon([
        [0, 0],
        [5000, 0],
        [0, 100],
        [0, 0],
      ]),
    );
    await says("reaches outside the image, which is 900 × 700 pixels");
    await load(
      "line.geojson",
      polygon([
        [10, 10],
        [50, 10],
        [10, 10],
      ]),
    );
    await says("line.geojson");
    await load("points.geojson", JSON.stringify({ type: "Point", coordinates: [1, 2] }));
    await says("points.geojson holds no polygon");
    await load("picture.json", "\u0000PNG");
    await says("picture.json is not valid JSON");
    // What was refused changed nothing.
    expect(await fields(page)).toEqual([100, 50, 200, 201]);
    await typeRegion(page, [100, 50, 5000, 201]);
    await says("reaches outside the image, which is 900 × 700 pixels");
    await page.getByRole("button", { name: "Clear" }).click();
    await expect.poll(() => cost(page)).toMatch(/^The whole scan has/);
    await close();
  });

  it("is offered to tokens that may see scans, and started by those that may start jobs", async () => {
    const reader = await openJob(READ_TOKEN);
    await expect.poll(() => reader.page.locator(".panel").textContent()).toContain("lacks the scope source");
    expect(await reader.page.locator("details.region").count()).toBe(0);
    await reader.close();
    const viewer = await openJob(SOURCE_TOKEN);
    await viewer.page.locator("summary", { hasText: "Region" }).click();
    await expect
      .poll(() => viewer.page.locator("details.region [role=alert]").textContent())
      .toContain("lacks the scope submit");
    await viewer.close();
  });
});

describe("the routes of pages", () => {
  it.each([
    ["reads", READ_TOKEN, { request: 200, source: 403, work: 403, model: 200, file: 403 }],
    ["reads and sees scans", SOURCE_TOKEN, { request: 200, source: 206, work: 403, model: 200, file: 403 }],
    ["starts jobs and reads", SUBMIT_TOKEN, { request: 200, source: 403, work: 403, model: 200, file: 206 }],
    // What runners need, and no more.
    ["runs shards", WORK_TOKEN, { request: 403, source: 403, work: 206, model: 403, file: 403 }],
    ["may do all", TOKEN, { request: 200, source: 206, work: 206, model: 200, file: 206 }],
    ["is none", "no-token-of-this-service", { request: 401, source: 401, work: 401, model: 401, file: 401 }],
  ])("answer a token that %s", async (_, token, expected) => {
    const status = async (path: string, ranged = false) => {
      const headers: Record<string, string> = ranged ? { Range: "bytes=0-7" } : {};
      const response = await service.fetch(path, { headers }, token);
      await response.body?.cancel();
      return response.status;
    };
    expect({
      request: await status(`/v1/jobs/${job}/request`),
      source: await status(`/v1/jobs/${job}/source/slide.tiff`, true),
      work: await status(`/v1/work/${job}/source/slide.tiff`, true),
      model: await status("/v1/model"),
      file: await status("/v1/model/files/model.json", true),
    }).toEqual(expected);
  });

  it("tell the request without its callback, and give no other files", async () => {
    const stated = (await (await service.fetch(`/v1/jobs/${job}/request`)).json()) as object;
    expect(stated).toMatchObject({ name: "slide.tiff", mpp: 0.25, model: "nuclei", variant: "int4-edge" });
    expect(Object.keys(stated)).not.toContain("callback");
    const { variants } = JSON.parse(await (await service.fetch("/v1/model/files/model.json")).text());
    const other = variants.int4.files[0].path;
    for (const path of [other, "LICENSE", "..%2fnuclei%2fmodel.json", "%2e%2e/nuclei/model.json", "x"])
      expect([path, (await service.fetch(`/v1/model/files/${path}`)).status]).toEqual([path, 404]);
    for (const path of ["slide.tif", "slide.tiff/x", "..%2fslide.tiff", ""]) {
      const { status } = await service.fetch(`/v1/jobs/${job}/source/${path}`);
      expect([path, status]).toEqual([path, 404]);
    }
  });
});

describe("the list of cohorts", () => {
  it("leads to each cohort", async () => {
    const { source } = await service.job(job);
    const created = await service.post("/v1/cohorts", {
      job: { mpp: 0.25, settings: { overlapRatio: 0.3 } },
      rows: [{ id: "first", source: source.uri }],
    });
    const { id } = (await created.json()) as { id: string };
    const { page, problems, close } = await openJob(TOKEN);
    await page.getByRole("button", { name: "All scans" }).click();
    await page.getByRole("link", { name: "Cohorts" }).click();
    await expect.poll(() => page.locator("table.jobs").textContent()).toContain("1 of 1 done");
    expect(await accessibilityFindings(page)).toEqual([]);
    await page.getByLabel("State").selectOption("cancelled");
    await expect.poll(() => page.locator("main").textContent()).toContain("No cohort matches");
    await page.getByLabel("State").selectOption("done");
    await page.locator("table.jobs tbody a").first().click();
    await page.waitForURL((url) => url.searchParams.get("id") === id);
    await expect.poll(() => page.locator("main").textContent()).toContain("first");
    await page.getByRole("link", { name: "All cohorts" }).click();
    await expect.poll(() => page.locator("h1").textContent()).toBe("Cohorts");
    expect(problems).toEqual([]);
    await close();
  });
});
