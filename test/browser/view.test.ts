import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeTiledTiff } from "../../demo/tiled-tiff.ts";
import { openSource } from "../../src/local/open-source.ts";
import { pointwiseLabel } from "../builders/pointwise-package.ts";
import type { MadeSlide } from "../builders/slide.ts";
import { accessibilityFindings } from "./accessibility.ts";
import { openChromium, openPage, type Pixels, pictureReady, readPicture, worldOrigin } from "./chromium.ts";
import { type MadeRun, makeRun } from "./made-run.ts";
import { startView, type ViewProcess } from "./view-process.ts";

/** A name that would do something if a page took it for HTML. */
const NAME = `<img src=x onerror=alert(1)> & "a'.tiff`;
const COLORS = [undefined, [0, 0xc0, 0], [0xc0, 0xc0, 0]] as const;
/** A part of the picture that nothing lies over. */
const MIDDLE = { x0: 220, y0: 190, x1: 780, y1: 590 };

/** What a test uses of a canvas of the page; tests are compiled without the types of a page. */
interface MapCanvas {
  width: number;
  height: number;
  getContext(kind: "2d"): { getImageData(x: number, y: number, w: number, h: number): { data: Uint8Array } };
}

let run: MadeRun;
let slide: MadeSlide;
let directory: string;
let view: ViewProcess;
let browser: Browser;

beforeAll(async () => {
  run = await makeRun(NAME);
  ({ slide, directory } = run);
  [view, browser] = await Promise.all([startView([run.out]), openChromium()]);
});

afterAll(async () => {
  await browser?.close();
  await view?.stop();
  run?.remove();
});

/** Opens the page, then the view of a fragment: the token of the tab stays. */
async function openAt(fragment: string, options: Parameters<typeof openPage>[2] = {}) {
  const opened = await openPage(browser, view.url, options);
  await pictureReady(opened.page);
  await opened.page.goto(`${new URL(view.url).origin}/?${Math.random()}#${fragment}`);
  await pictureReady(opened.page);
  return opened;
}

/** Compares every pixel of the middle with what the files hold there. @returns the number of compared pixels by label */
function compare(
  pixels: Pixels,
  origin: { x: number; y: number },
  scale: number,
  expected: (x: number, y: number) => readonly [number, number, number],
): void {
  let wrong = 0;
  let example = "";
  for (let v = MIDDLE.y0; v < MIDDLE.y1; v++) {
    for (let u = MIDDLE.x0; u < MIDDLE.x1; u++) {
      const x = Math.floor(origin.x + (u + 0.5) / scale);
      const y = Math.floor(origin.y + (v + 0.5) / scale);
      const want = expected(x, y);
      const got = pixels.at(u, v);
      if (want.every((value, c) => Math.abs(value - got[c]!) <= 1)) continue;
      if (wrong++ === 0) example = `(${x}, ${y}) is ${got}, not ${want}`;
    }
  }
  expect(`${wrong} wrong: ${example}`).toBe("0 wrong: ");
}

const label = (x: number, y: number) => pointwiseLabel(slide.grey[y * slide.width + x]! / 255);
const grey = (x: number, y: number) => {
  const value = slide.grey[y * slide.width + x]!;
  return [value, value, value] as const;
};

describe("the picture", () => {
  it.each([1, 4])("shows each label on its own pixels at scale %i", async (scale) => {
    const { page, close } = await openAt(`x=700&y=500&scale=${scale}&labels=1&style=fill&objects=0`);
    const pixels = await readPicture(page);
    const origin = worldOrigin(pixels, 700, 500, scale);
    compare(pixels, origin, scale, (x, y) => COLORS[label(x, y)] ?? grey(x, y));
    await close();
  });

  it("shows labels at half opacity over the image, across tile borders", async () => {
    const { page, close } = await openAt("x=512&y=512&scale=2&labels=0.5&style=fill&objects=0");
    const pixels = await readPicture(page);
    compare(pixels, worldOrigin(pixels, 512, 512, 2), 2, (x, y) => {
      const color = COLORS[label(x, y)];
      const [v] = grey(x, y);
      return color ? [v / 2 + color[0] / 2, v / 2 + color[1] / 2, v / 2 + color[2] / 2] : [v, v, v];
    });
    await close();
  });

  it("shows outlines where a neighbour has another label", async () => {
    const { page, close } = await openAt("x=512&y=512&scale=2&labels=1&style=outline&objects=0");
    const pixels = await readPicture(page);
    compare(pixels, worldOrigin(pixels, 512, 512, 2), 2, (x, y) => {
      const own = label(x, y);
      const isEdge = [label(x - 1, y), label(x + 1, y), label(x, y - 1), label(x, y + 1)].some(
        (l) => l !== own,
      );
      return (isEdge ? COLORS[own] : undefined) ?? grey(x, y);
    });
    await close();
  });

  it("shows the smaller levels of image and labels when zoomed out", async () => {
    const { page, close } = await openAt("x=750&y=550&scale=0.5&labels=1&style=fill&hide=2&objects=0");
    const pixels = await readPicture(page);
    const { source, close: closeSource } = await openSource(join(run.out, "labels.ome.zarr"), undefined);
    const { shape } = source.levels[1]!;
    const { data } = await source.readRegion(1, { origin: [0, 0], size: shape });
    await closeSource();
    const origin = worldOrigin(pixels, 750, 550, 0.5);
    compare(pixels, { x: origin.x / 2, y: origin.y / 2 }, 1, (x, y) => {
      const color = data[y * shape[1]! + x] === 1 ? COLORS[1] : undefined;
      return color ?? grey(2 * x, 2 * y);
    });
    await close();
  });
});

describe("the page", () => {
  it("is moved and zoomed with the keyboard alone", async () => {
    const { page, close, problems } = await openAt("x=700&y=500&scale=1");
    const position = page.locator("#position");
    await expect.poll(() => position.textContent()).toContain("x 700, y 500");
    // The picture is the first stop after the buttons of the bar.
    for (let i = 0; i < 12; i++) {
      await page.keyboard.press("Tab");
      if (await page.locator(".stage > canvas:focus").count()) break;
    }
    await page.keyboard.press("ArrowRight");
    await expect.poll(() => position.textContent()).not.toContain("x 700,");
    await page.keyboard.press("0");
    await expect.poll(() => position.textContent()).toContain("x 750, y 550");
    await page.keyboard.press("1");
    await expect.poll(() => position.textContent()).toContain("100 %");
    await page.keyboard.press("l");
    await expect.poll(() => page.url()).toContain("labels=0&");
    expect(problems).toEqual([]);
    await close();
  });

  it("keeps its address while it is dragged, and changes it afterwards", async () => {
    const { page, close, problems } = await openAt("x=700&y=500&scale=1&labels=1&style=fill&objects=0");
    const before = page.url();
    await page.mouse.move(500, 400);
    await page.mouse.down();
    for (let step = 1; step <= 4; step++) {
      await page.mouse.move(500 + 10 * step, 400);
      // Longer than a picture at rest waits.
      await page.waitForTimeout(500);
    }
    await pictureReady(page);
    expect(page.url()).toBe(before);
    await page.mouse.up();
    await expect.poll(() => page.url()).toContain("x=660&y=500&");
    expect(problems).toEqual([]);
    await close();
  });

  it("follows a changed fragment of its address", async () => {
    const { page, close, problems } = await openAt("x=700&y=500&scale=4&labels=1&style=fill&objects=0");
    await page.evaluate("location.hash = 'x=300&y=310&scale=2&labels=1&style=fill&hide=2&objects=0'");
    await expect.poll(() => page.locator("#position").textContent()).toContain("x 300, y 310");
    await pictureReady(page);
    const pixels = await readPicture(page);
    const origin = worldOrigin(pixels, 300, 310, 2);
    compare(pixels, origin, 2, (x, y) => (label(x, y) === 1 ? COLORS[1] : grey(x, y)));
    // As if the page were opened with it: without a position the whole image is shown.
    await page.evaluate("location.hash = 'labels=0'");
    await expect.poll(() => page.locator("#position").textContent()).toContain("x 750, y 550");
    await expect.poll(() => page.getByLabel("Opacity").inputValue()).toBe("0");
    expect(problems).toEqual([]);
    await close();
  });

  it("draws the minimap of a slide without smaller levels that a link opens magnified", async () => {
    const [width, height] = [700, 500];
    const path = join(directory, "single.tiff");
    // Left half dark, right half bright.
    writeTiledTiff(path, {
      ...{ levels: [{ width, height }], tileSize: 352, mpp: 0.5 },
      tile: (_, column) => new Uint8Array(352 * 352 * 3).fill(column === 0 ? 40 : 200),
    });
    const single = await startView([path]);
    const { page, close, problems } = await openPage(browser, single.url);
    await pictureReady(page);
    await page.goto(`${new URL(single.url).origin}/?1#x=100&y=100&scale=8`);
    await pictureReady(page);
    const map = page.locator(".minimap canvas");
    const greyAt = (part: number) =>
      map.evaluate((canvas: unknown, at) => {
        const { width: w, height: h, getContext } = canvas as MapCanvas;
        const context = getContext.call(canvas, "2d");
        return context.getImageData(Math.floor(at * w), Math.floor(h / 2), 1, 1).data[0];
      }, part);
    await expect.poll(() => greyAt(0.25)).toBe(40);
    expect(await greyAt(0.75)).toBe(200);
    expect(problems).toEqual([]);
    await close();
    await single.stop();
  });

  it("counts a region with the model that it serves, previews a window and tells the command", async () => {
    const { page, close, problems } = await openAt("");
    await page.locator("summary", { hasText: "Region" }).click();
    const panel = page.locator("details.region");
    await page.getByLabel("Leave out background").uncheck();
    await expect.poll(() => panel.textContent()).toMatch(/The whole scan has [\d,]+ windows/);
    for (const [name, value] of [
      ["Left", 200],
      ["Top", 100],
      ["Width", 300],
      ["Height", 250],
    ] as const)
      await page.getByLabel(name, { exact: true }).fill(String(value));
    await page.keyboard.press("Tab");
    await expect.poll(() => panel.textContent()).toMatch(/\d+ of [\d,]+ windows/);
    expect(await panel.textContent()).toContain("--roi 200,100,300,250 --no-tissue-mask --out region");
    await page.getByRole("button", { name: "Preview a window" }).click();
    await expect.poll(() => panel.textContent()).toContain("on one core of this machine");
    for (const colorScheme of ["light", "dark"] as const) {
      for (const width of [1280, 390]) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 844 });
        expect([width, colorScheme, await accessibilityFindings(page)]).toEqual([width, colorScheme, []]);
      }
    }
    expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth")).toBe(0);
    expect(problems).toEqual([]);
    await close();
  });

  it("shows a hostile name as text, and asks nothing of other hosts", async () => {
    const { page, problems, requests, close } = await openAt("");
    expect(await page.locator("h1").textContent()).toBe(NAME);
    expect(await page.title()).toContain(NAME);
    expect(problems).toEqual([]);
    const token = new URL(view.url).hash.slice("#token=".length);
    expect(requests.length).toBeGreaterThan(10);
    expect(requests.filter((url) => url.includes(token))).toEqual([]);
    expect(page.url()).not.toContain(token);
    await close();
  });

  it("says what to do without its token", async () => {
    const { page, close } = await openPage(browser, new URL(view.url).origin);
    await expect.poll(() => page.locator("[role=alert]").textContent()).toContain("open the address that");
    await close();
  });

  it("says why a scan that was damaged meanwhile cannot be shown", async () => {
    const file = join(directory, "cut.tiff");
    copyFileSync(slide.path, file);
    const damaged = await startView([file]);
    writeFileSync(file, Buffer.from("II*\0\x08\0\0\0\xff\xff", "latin1"));
    const { page, close } = await openPage(browser, damaged.url);
    await expect.poll(() => page.locator("[role=alert]").textContent()).toContain("cut.tiff");
    await close();
    await damaged.stop();
  });

  it.each([
    { width: 1280, height: 800, colorScheme: "light" },
    { width: 1280, height: 800, colorScheme: "dark" },
    { width: 390, height: 844, colorScheme: "light" },
    { width: 390, height: 844, colorScheme: "dark" },
  ] as const)(
    "has no serious finding of axe at $width px, $colorScheme",
    async ({ width, height, colorScheme }) => {
      const { page, close } = await openAt("", { viewport: { width, height }, colorScheme });
      expect(await accessibilityFindings(page)).toEqual([]);
      const overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
      expect(overflow).toBe(0);
      await close();
    },
  );
});
