/**
 * The web app in headless Chromium, which draws with WebGL on the CPU: `npm run bench:web`. Counts and bytes hold on every
 * machine; times are those of this one.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import type { Browser, BrowserContext, CDPSession, Page } from "playwright-core";
import { writeTiledTiff } from "../demo/tiled-tiff.ts";
import { findWebAssets } from "../src/cli/view/web-assets.ts";
import { segment } from "../src/index.ts";
import { openChromium } from "../test/browser/chromium.ts";
import { startView } from "../test/browser/view-process.ts";
import { writePointwisePackage } from "../test/builders/pointwise-package.ts";
import { pageMemory } from "./browser-processes.ts";
import { reportHere, reportHereMemory } from "./web-here.ts";
import { reportOpenTab } from "./web-open-tab.ts";

const { values: options } = parseArgs({
  options: {
    /** A slide that is opened as it is, repeated. */
    slide: { type: "string", multiple: true, default: [] },
    /** Objects on each side of the large label map. */
    side: { type: "string", default: "1000" },
    runs: { type: "string", default: "5" },
    /** Looks at the list of jobs by a tab whose clock is turned. */
    polls: { type: "string", default: "1200" },
    /** Instead, leaves the tabs open for so many minutes. */
    minutes: { type: "string" },
    /** A scan that is segmented in the tab and on the command line, in turns; repeated. */
    here: { type: "string", multiple: true, default: [] },
    /** Parts to measure: script, picture, here, memory, objects, tab. Default: all. */
    only: { type: "string", multiple: true, default: [] },
  },
});

const MIB = 2 ** 20;
const PITCH = 8;
/** A frame of a million marks takes a processor without a graphics card seconds. */
const PAN_STEPS = 24;
/** A script for the page. */
const COUNT_FRAMES = `globalThis.framesDrawn = 0;
(function count() { requestAnimationFrame(() => { globalThis.framesDrawn++; count(); }); })();`;
const directory = mkdtempSync(join(tmpdir(), "tilewright-bench-web-"));
const browser = await openChromium();

try {
  console.log(`${cpus()[0]!.model}, ${availableParallelism()} threads, Chromium ${browser.version()}\n`);
  const wanted = (name: string) => options.only.length === 0 || options.only.includes(name);
  if (wanted("script")) reportScript();
  if (wanted("picture")) for (const slide of options.slide) await reportFirstPicture(slide);
  if (wanted("here"))
    for (const scan of options.here) await reportHere(browser, scan, directory, Number(options.runs));
  if (wanted("memory")) await reportHereMemory(browser, directory);
  if (wanted("objects")) await reportManyObjects();
  if (wanted("tab"))
    await reportOpenTab(browser, directory, {
      polls: Number(options.polls),
      minutes: options.minutes === undefined ? undefined : Number(options.minutes),
    });
} finally {
  await browser.close();
  rmSync(directory, { recursive: true, force: true });
}

/** Script that the page loads before it can show anything, compressed. */
function reportScript(): void {
  const root = findWebAssets();
  const html = readFileSync(join(root, "index.html"), "utf8");
  const names = new Set([...html.matchAll(/(?:src|href)="\/(assets\/[^"]+\.js)"/g)].map(([, name]) => name!));
  // What those import statically.
  for (const name of names)
    for (const [, other] of readFileSync(join(root, name), "utf8").matchAll(
      /(?:^|[;}])import(?:[^"'()]*from)?["']\.\/([^"']+\.js)["']/g,
    ))
      names.add(`assets/${other}`);
  const size = [...names].reduce((sum, name) => sum + gzipSync(readFileSync(join(root, name))).length, 0);
  const planes = readdirSync(join(root, "assets")).find((name) => /^planes-view.*\.js$/.test(name));
  const later = planes ? gzipSync(readFileSync(join(root, "assets", planes))).length : 0;
  console.log(`initial script: ${kilobytes(size)} compressed in ${names.size} files (at most 250 kB)`);
  console.log(`viewer of volumes, loaded when it is opened: ${kilobytes(later)}\n`);
}

/** Time from the address to the first complete picture, and the requests for bytes of the slide. */
async function reportFirstPicture(slide: string): Promise<void> {
  const view = await startView([slide]);
  const seconds: number[] = [];
  let requests = 0;
  for (let run = 0; run < Number(options.runs); run++) {
    const { page, context } = await newPage(browser);
    requests = 0;
    page.on("request", (request) => {
      if (request.url().includes("/v1/view/data/image/")) requests++;
    });
    const start = performance.now();
    await page.goto(view.url);
    await page.waitForSelector("canvas[data-ready=true]", { timeout: 60_000 });
    seconds.push((performance.now() - start) / 1000);
    await context.close();
  }
  await view.stop();
  seconds.sort((a, b) => a - b);
  const median = seconds[Math.floor(seconds.length / 2)]!;
  console.log(
    `${slide.split("/").at(-1)}: first picture after ${median.toFixed(2)} s (median of ${seconds.length}; fastest ${seconds[0]!.toFixed(2)}), ${requests} requests for the slide (at most 12)\n`,
  );
}

/** Panning over a label map with very many objects. */
async function reportManyObjects(): Promise<void> {
  const side = Number(options.side);
  const slide = join(directory, "many.tiff");
  const full = side * PITCH;
  const levels = [0, 1, 2, 3, 4].map((i) => ({ width: full >> i, height: full >> i }));
  const tileSize = 256;
  writeTiledTiff(slide, {
    levels,
    tileSize,
    mpp: 0.5,
    tile: (level, column, row) => {
      const samples = new Uint8Array(tileSize * tileSize * 3);
      for (let v = 0; v < tileSize; v++)
        for (let u = 0; u < tileSize; u++) {
          const x = ((column * tileSize + u) << level) % PITCH;
          const y = ((row * tileSize + v) << level) % PITCH;
          samples.fill(x < 4 && y < 4 ? 230 : 10, (v * tileSize + u) * 3, (v * tileSize + u) * 3 + 3);
        }
      return samples;
    },
  });
  const out = join(directory, "many");
  const model = writePointwisePackage(join(directory, "model"), { window: 256 });
  const run = await segment({ source: slide, model, out, tissueMask: false });
  const [counted] = (run.summary as { objects: { count: number }[] }).objects;
  const view = await startView([out]);
  const { page, context } = await newPage(browser);
  await page.goto(view.url);
  await page.waitForSelector("canvas[data-ready=true]", { timeout: 300_000 });
  console.log(`a label map with ${counted!.count.toLocaleString("en")} objects, ${full} × ${full} pixels:`);
  const session = await context.newCDPSession(page);
  await session.send("Performance.enable");
  for (const [what, scale] of [
    ["the whole", undefined],
    ["1:4, marks", 0.25],
    ["1:1, outlines", 1],
  ] as const) {
    if (scale !== undefined) {
      const hash = `#x=${full / 2}&y=${full / 2}&scale=${scale}`;
      await page.goto(`${new URL(view.url).origin}/?s=${scale}${hash}`);
      await page.waitForSelector("canvas[data-ready=true]", { timeout: 300_000 });
    }
    const perFrame = await pan(page, session);
    const memory = pageMemory();
    console.log(
      `  ${what}: ${perFrame.script.toFixed(2)} ms of script a frame over ${perFrame.frames} frames (at most 8), ${Math.round(memory / MIB)} MiB in the page's process (at most 600)`,
    );
  }
  console.log("");
  await context.close();
  await view.stop();
}

/** Drags the picture to and fro. */
async function pan(page: Page, session: CDPSession): Promise<{ script: number; frames: number }> {
  const read = async () => {
    const { metrics } = await session.send("Performance.getMetrics");
    return metrics.find(({ name }) => name === "ScriptDuration")!.value * 1000;
  };
  const [x, y] = [500, 400];
  await page.mouse.move(x, y);
  await page.mouse.down();
  await page.evaluate(COUNT_FRAMES);
  const before = await read();
  for (let i = 0; i < PAN_STEPS; i++)
    await page.mouse.move(x + 150 * Math.sin(i / 12), y + 100 * Math.sin(i / 9));
  const after = await read();
  const frames = (await page.evaluate("globalThis.framesDrawn")) as number;
  await page.mouse.up();
  return { script: (after - before) / Math.max(1, frames), frames };
}

async function newPage(from: Browser): Promise<{ page: Page; context: BrowserContext }> {
  const context = await from.newContext({ viewport: { width: 1280, height: 800 } });
  // A busy machine draws a million objects slowly; nothing is measured meanwhile.
  context.setDefaultNavigationTimeout(300_000);
  return { context, page: await context.newPage() };
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(1)} kB`;
}
