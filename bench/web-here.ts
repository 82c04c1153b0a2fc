import { rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { writeTiledTiff } from "../demo/tiled-tiff.ts";
import { startView } from "../test/browser/view-process.ts";
import { writePointwisePackage } from "../test/builders/pointwise-package.ts";
import { browserCpuSeconds, peakPageMemory } from "./browser-processes.ts";
import { median, node } from "./spawn-node.ts";

const MIB = 2 ** 20;
const MINUTES_30 = 30 * 60_000;

interface Run {
  seconds: number;
  cpuSeconds: number;
}

/** Time of a run in the tab beside that of the command line, in turns, and the peak memory of the tab. */
export async function reportHere(
  browser: Browser,
  scan: string,
  directory: string,
  runs: number,
): Promise<void> {
  const view = await startView([]);
  const there: Run[] = [];
  const here: Run[] = [];
  let memory = 0;
  try {
    for (let run = 0; run < runs; run++) {
      there.push(await node("./run-like-tab.ts", scan, join(directory, "there")));
      const { peak, ...tab } = await segmentInTab(browser, view.url, scan);
      here.push(tab);
      memory = Math.max(memory, peak);
    }
  } finally {
    await view.stop();
  }
  console.log(
    `${scan.split("/").at(-1)} in the tab and with --backend wasm, in turns, ${availableParallelism()} threads:`,
  );
  for (const [what, key] of [
    ["time", "seconds"],
    ["CPU time", "cpuSeconds"],
  ] as const) {
    const list = (runs: readonly Run[]) => runs.map((run) => run[key].toFixed(1)).join(", ");
    const ratio = median(here.map((run, i) => run[key] / there[i]![key]));
    console.log(`  ${what}: ${list(here)} and ${list(there)} s, ratio ${ratio.toFixed(2)} (at most 1.3)`);
  }
  console.log(`  peak of the tab: ${Math.round(memory / MIB)} MiB\n`);
}

/** Peak memory of the tab for slides of one width and more and more rows. */
export async function reportHereMemory(browser: Browser, directory: string): Promise<void> {
  const model = writePointwisePackage(join(directory, "tab-model"), { window: 256 });
  const view = await startView(["--model", model]);
  const width = 4096;
  try {
    for (const height of [4096, 16_384, 65_536]) {
      const slide = join(directory, `tall-${height}.tiff`);
      writeDots(slide, width, height);
      const { seconds, peak } = await segmentInTab(browser, view.url, slide);
      console.log(
        `  a slide of ${width} × ${height} pixels in the tab: ${seconds.toFixed(1)} s, peak ${Math.round(peak / MIB)} MiB`,
      );
      rmSync(slide);
    }
  } finally {
    await view.stop();
  }
  console.log("");
}

async function segmentInTab(browser: Browser, url: string, scan: string): Promise<Run & { peak: number }> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await page.goto(url);
  await page.locator("input[type=file]").first().setInputFiles(scan);
  const { value, peak } = await peakPageMemory(async () => {
    const started = performance.now();
    const before = browserCpuSeconds();
    await page.getByRole("button", { name: "Segment" }).click();
    await page.getByRole("button", { name: "Save as zip" }).waitFor({ timeout: MINUTES_30 });
    return { seconds: (performance.now() - started) / 1000, cpuSeconds: browserCpuSeconds() - before };
  });
  await context.close();
  return { ...value, peak };
}

/** Bright dots on a dark ground, one for every 16 × 16 pixels. */
function writeDots(path: string, width: number, height: number): void {
  const tileSize = 256;
  const tile = new Uint8Array(tileSize * tileSize * 3);
  for (let y = 0; y < tileSize; y++)
    for (let x = 0; x < tileSize; x++) {
      const at = (y * tileSize + x) * 3;
      tile.fill(Math.hypot((x % 16) - 8, (y % 16) - 8) < 5 ? 230 : 10, at, at + 3);
    }
  const levels = [0, 2, 4].map((i) => ({ width: width >> i, height: height >> i }));
  writeTiledTiff(path, { levels, tileSize, mpp: 0.5, tile: () => tile });
}
