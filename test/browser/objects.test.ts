import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { accessibilityFindings } from "./accessibility.ts";
import { openChromium, openPage, type Pixels, pictureReady, readPicture } from "./chromium.ts";
import { type MadeRun, makeRun } from "./made-run.ts";
import { startView, type ViewProcess } from "./view-process.ts";

interface Feature {
  geometry: { type: string; coordinates: [number, number][][] };
  properties: { measurements: Record<string, number> };
}

let run: MadeRun;
let view: ViewProcess;
let browser: Browser;
let features: Feature[];

beforeAll(async () => {
  run = await makeRun("slide.tiff");
  features = JSON.parse(readFileSync(join(run.out, "objects.geojson"), "utf8")).features;
  [view, browser] = await Promise.all([startView([run.out]), openChromium()]);
});

afterAll(async () => {
  await browser?.close();
  await view?.stop();
  run?.remove();
});

async function openAt(fragment: string) {
  const opened = await openPage(browser, view.url);
  await pictureReady(opened.page);
  await opened.page.goto(`${new URL(view.url).origin}/?${Math.random()}#${fragment}`);
  await pictureReady(opened.page);
  return opened;
}

const toScreen = ({ width, height }: Pixels, x: number, y: number, scale: number) => ({
  x: Math.round(width / 2 - x * scale),
  y: Math.round(height / 2 - y * scale),
});
const isGreen = ([r, g, b]: readonly number[]) => g! > r! + 60 && g! > b! + 60;
const rings = ({ geometry }: Feature) =>
  (geometry.type === "Polygon" ? geometry.coordinates : geometry.coordinates.flat()) as [number, number][][];

describe("objects in the picture", () => {
  it("have their outlines exactly where the polygons are", async () => {
    const scale = 8;
    const { page, close } = await openAt(`x=700&y=500&scale=${scale}&labels=0&style=fill`);
    const pixels = await readPicture(page);
    const origin = toScreen(pixels, 700, 500, scale);
    let edges = 0;
    const onEdge = new Set<number>();
    for (const feature of features) {
      for (const ring of rings(feature)) {
        for (let i = 1; i < ring.length; i++) {
          const [x0, y0] = ring[i - 1]!;
          const [x1, y1] = ring[i]!;
          const from = { x: origin.x + x0 * scale, y: origin.y + y0 * scale };
          const to = { x: origin.x + x1 * scale, y: origin.y + y1 * scale };
          // Outlines follow pixel edges: all device pixels within one and a half of the edge may be drawn.
          const [left, right] = [Math.min(from.x, to.x) - 2, Math.max(from.x, to.x) + 1];
          const [top, bottom] = [Math.min(from.y, to.y) - 2, Math.max(from.y, to.y) + 1];
          for (let y = Math.max(0, top); y <= Math.min(pixels.height - 1, bottom); y++)
            for (let x = Math.max(0, left); x <= Math.min(pixels.width - 1, right); x++)
              onEdge.add(y * pixels.width + x);
          const [u, v] = [Math.round((from.x + to.x) / 2), Math.round((from.y + to.y) / 2)];
          if (u < 1 || v < 1 || u >= pixels.width || v >= pixels.height) continue;
          edges++;
          const near = [pixels.at(u, v), pixels.at(u - 1, v), pixels.at(u, v - 1), pixels.at(u - 1, v - 1)];
          expect(near.some(isGreen), `edge at ${u}, ${v}`).toBe(true);
        }
      }
    }
    expect(edges).toBeGreaterThan(300);
    let strays = 0;
    for (let y = 0; y < pixels.height; y++)
      for (let x = 0; x < pixels.width; x++)
        if (isGreen(pixels.at(x, y)) && !onEdge.has(y * pixels.width + x)) strays++;
    expect(strays).toBe(0);
    await close();
  });

  it("all leave a mark when they are smaller than a pixel", async () => {
    // The largest object is 0.7 pixels wide.
    const scale = 0.025;
    const { page, close } = await openAt(`x=750&y=550&scale=${scale}&labels=0&style=fill`);
    const pixels = await readPicture(page);
    const origin = toScreen(pixels, 750, 550, scale);
    expect(features.length).toBeGreaterThan(900);
    const lost = features.filter(({ properties }) => {
      const { "Centroid X µm": x, "Centroid Y µm": y } = properties.measurements;
      const [u, v] = [Math.floor(origin.x + (x! / 0.5) * scale), Math.floor(origin.y + (y! / 0.5) * scale)];
      return ![-1, 0, 1].some((dy) => [-1, 0, 1].some((dx) => isGreen(pixels.at(u + dx, v + dy))));
    });
    expect(lost).toEqual([]);
    await close();
  });

  it("tell their measurements when they are clicked, and keep them in the link", async () => {
    const { page, close, problems } = await openAt("x=700&y=500&scale=4&labels=0.5&style=fill");
    const target = features.find(({ properties }) => {
      const { "Centroid X µm": x, "Centroid Y µm": y } = properties.measurements;
      return Math.abs(x! / 0.5 - 700) < 40 && Math.abs(y! / 0.5 - 500) < 40;
    })!;
    const m = target.properties.measurements;
    const box = (await page.locator(".stage > canvas").boundingBox())!;
    const at = {
      x: box.x + box.width / 2 + (m["Centroid X µm"]! / 0.5 - 700) * 4,
      y: box.y + box.height / 2 + (m["Centroid Y µm"]! / 0.5 - 500) * 4,
    };
    await page.mouse.move(at.x, at.y);
    await expect.poll(() => page.locator("#position").textContent()).toContain(`blob ${m["Object number"]}`);
    await page.mouse.click(at.x, at.y);
    const selected = page.locator(".selected");
    await expect.poll(() => selected.textContent()).toContain(String(Number(m["Area µm^2"]!.toPrecision(4))));
    await expect.poll(() => page.url()).toContain(`object=${m["Object number"]}`);
    await page.reload();
    await expect
      .poll(() => selected.textContent())
      .toContain(String(Number(m["Perimeter µm"]!.toPrecision(4))));
    expect(problems).toEqual([]);
    await close();
  });

  it("are filtered by a range of the histogram, with the keyboard alone", async () => {
    const { page, close } = await openAt("x=750&y=550&scale=0.5&labels=0&style=fill");
    await page.locator("select").selectOption("area_um2");
    await expect.poll(() => page.locator("table.objects tbody tr").count()).toBe(50);
    const areas = features.map(({ properties }) => properties.measurements["Area µm^2"]!);
    expect(await page.locator("table.objects tbody tr td").nth(1).textContent()).toBe(
      String(Number(Math.max(...areas).toPrecision(4))),
    );
    const least = page.getByLabel("Area (µm²): at least");
    await least.focus();
    for (let i = 0; i < 10; i++) await page.keyboard.press("PageUp");
    const from = Number(await least.inputValue());
    const inRange = areas.filter((area) => area >= from).length;
    expect(inRange).toBeGreaterThan(0);
    expect(inRange).toBeLessThan(areas.length);
    const note = page.locator(".distribution .note");
    await expect
      .poll(() => note.textContent())
      .toContain(`${inRange.toLocaleString("en")} of ${areas.length.toLocaleString("en")} are shown`);
    expect(await note.textContent()).toMatch(/^From [\d.,]+ to [\d.,]+ or more\./);
    expect(await accessibilityFindings(page)).toEqual([]);
    await page.getByRole("button", { name: "Show all" }).click();
    await expect.poll(() => note.textContent()).toContain(`${areas.length.toLocaleString("en")} of`);
    await close();
  });
});
