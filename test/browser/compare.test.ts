import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { segment } from "../../src/index.ts";
import { pointwiseLabel, writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { accessibilityFindings } from "./accessibility.ts";
import { openChromium, openPage, pictureReady, readPicture } from "./chromium.ts";
import { type MadeRun, makeRun } from "./made-run.ts";
import { startView } from "./view-process.ts";

const COLORS = [undefined, [0, 0xc0, 0], [0xc0, 0xc0, 0]] as const;
const OTHER_COLORS = [undefined, [0, 0, 0xff], [0xff, 0, 0]] as const;

let run: MadeRun;
let other: string;
let foreign: string;
let browser: Browser;

beforeAll(async () => {
  [run, browser] = await Promise.all([makeRun("slide.tiff"), openChromium()]);
  const model = writePointwisePackage(join(run.directory, "other-model"), {
    manifest: {
      classes: [
        { name: "background", color: "#000000" },
        { name: "bright", color: "#0000ff" },
        { name: "rim", color: "#ff0000" },
      ],
    },
  });
  other = join(run.directory, "other");
  await segment({ source: run.slide.path, model, out: other, threads: 1, tissueMask: false });
  const second = writeMadeSlide(join(run.directory, "second.tiff"), { width: 400, height: 300 }).path;
  foreign = join(run.directory, "foreign");
  await segment({ source: second, model, out: foreign, threads: 1, tissueMask: false });
});

afterAll(async () => {
  await browser?.close();
  run?.remove();
});

it("shows each run on its side of the line, which links keep", async () => {
  const view = await startView([run.out, "--compare", other]);
  const { page, problems, close } = await openPage(browser, view.url);
  await pictureReady(page);
  const [x, y, scale] = [700, 500, 2];
  await page.goto(
    `${new URL(view.url).origin}/?c#x=${x}&y=${y}&scale=${scale}&labels=1&style=fill&objects=0&swipe=0.5`,
  );
  await pictureReady(page);
  const sides = async (edge: number) => {
    await pictureReady(page);
    const pixels = await readPicture(page);
    const origin = {
      x: -Math.round(pixels.width / 2 - x * scale) / scale,
      y: -Math.round(pixels.height / 2 - y * scale) / scale,
    };
    const line = Math.round(edge * pixels.width);
    let wrong = 0;
    for (let v = 190; v < 590; v++)
      for (let u = 220; u < 780; u++) {
        if (Math.abs(u - line) <= 3) continue;
        const place = [Math.floor(origin.x + (u + 0.5) / scale), Math.floor(origin.y + (v + 0.5) / scale)];
        const grey = run.slide.grey[place[1]! * run.slide.width + place[0]!]!;
        const label = pointwiseLabel(grey / 255);
        const want = (u < line ? COLORS : OTHER_COLORS)[label] ?? [grey, grey, grey];
        if (want.some((value, c) => Math.abs(value - pixels.at(u, v)[c]!) > 1)) wrong++;
      }
    return wrong;
  };
  expect(await sides(0.5)).toBe(0);
  const swipe = page.getByLabel("Line between the two runs");
  await swipe.focus();
  await page.keyboard.press("Home");
  await expect.poll(() => page.url()).toContain("swipe=0");
  expect(await sides(0)).toBe(0);
  await page.keyboard.press("End");
  await expect.poll(() => page.url()).toContain("swipe=1");
  expect(await sides(1)).toBe(0);
  expect(await accessibilityFindings(page)).toEqual([]);
  expect(problems).toEqual([]);
  await close();
  await view.stop();
});

it("refuses a run of another scan in a sentence", async () => {
  const view = await startView([run.out, "--compare", foreign]);
  const { page, close } = await openPage(browser, view.url);
  await expect
    .poll(() => page.locator("[role=alert]").textContent())
    .toContain("is a run of second.tiff, not of");
  await close();
  await view.stop();
});
