/**
 * Takes the pictures of the web app that the documents show, in headless Chromium:
 * `node demo/web-pictures.ts --slide <run of a slide> --volume <run of a volume> --scan <slide> [--only <name>]`.
 * Runs are directories of `tilewright segment` whose scans are found as `tilewright view` finds them, or with `--source`.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Browser, Page } from "playwright-core";
import { openChromium, pictureReady } from "../test/browser/chromium.ts";
import { startView } from "../test/browser/view-process.ts";

const { values: options } = parseArgs({
  options: {
    slide: { type: "string" },
    /** The scan of the run, if it is elsewhere. */
    source: { type: "string" },
    volume: { type: "string" },
    "volume-source": { type: "string" },
    /** A scan for the page that segments in the tab. */
    scan: { type: "string" },
    out: { type: "string", default: join(import.meta.dirname, "../docs/images") },
    only: { type: "string", multiple: true, default: [] },
  },
});
const browser = await openChromium();
mkdirSync(options.out, { recursive: true });
const wanted = (name: string) => options.only.length === 0 || options.only.includes(name);

try {
  if (options.slide && wanted("viewer")) await takeViewer(options.slide);
  if (options.slide && wanted("region")) await takeRegion(options.slide);
  if (options.volume && wanted("planes")) await takePlanes(options.volume);
  if (options.scan && wanted("here")) await takeHere(options.scan);
} finally {
  await browser.close();
}

/** Outlined nuclei of a part of the slide, with the distribution of their areas and a selected one. */
async function takeViewer(run: string): Promise<void> {
  await open(
    [run, ...sourceOf(options.source)],
    "x=1180&y=1000&scale=1.6&labels=0&style=outline",
    async (page) => {
      await page.getByLabel("Measurement").selectOption("area_um2");
      await page.locator("table.objects tbody tr").first().waitFor();
      // A nucleus near the middle is selected.
      const canvas = (await page.locator(".stage > canvas").boundingBox())!;
      for (let step = 0; (await page.locator(".selected").count()) === 0 && step < 60; step++)
        await page.mouse.click(
          canvas.x + canvas.width / 2 - 40 + 8 * (step % 12),
          canvas.y + canvas.height / 2 - 30 + 12 * Math.floor(step / 12),
        );
      await page.locator(".selected dd").first().waitFor();
      await pictureReady(page);
      await save(page, "web-viewer", 0.53);
    },
  );
}

/** A rectangle that was drawn, with its windows and what it costs. */
async function takeRegion(run: string): Promise<void> {
  await open([run, ...sourceOf(options.source)], "labels=0&style=outline&objects=0", async (page) => {
    await page.locator("summary", { hasText: "Region" }).click();
    await page.getByRole("button", { name: "Rectangle" }).click();
    const canvas = (await page.locator(".stage > canvas").boundingBox())!;
    const at = (x: number, y: number) => [canvas.x + canvas.width * x, canvas.y + canvas.height * y] as const;
    await page.mouse.move(...at(0.44, 0.24));
    await page.mouse.down();
    await page.mouse.move(...at(0.62, 0.5), { steps: 4 });
    await page.mouse.up();
    await page
      .getByText(/\d+ of \d+ windows/)
      .first()
      .waitFor({ timeout: 120_000 });
    await pictureReady(page);
    await save(page, "web-region", 0.7);
  });
}

/** Three planes through the labels of a volume, and a rendering. */
async function takePlanes(run: string): Promise<void> {
  await open([run, ...sourceOf(options["volume-source"])], "planes=21_37_13", async (page) => {
    await page.locator("fieldset.planes").waitFor({ timeout: 120_000 });
    // The rendering has no sign of its own for being complete.
    await page.waitForTimeout(10_000);
    await save(page, "web-planes", 0.9);
  });
}

/** A scan that was chosen on the page that segments in the tab. */
async function takeHere(scan: string): Promise<void> {
  await open([], "", async (page) => {
    await page.locator("input[type=file]").first().setInputFiles(scan);
    await page.getByRole("button", { name: "Segment", exact: true }).waitFor();
    // Text alone: as PNG it is small and exact.
    await page.screenshot({
      path: join(options.out, "web-here.png"),
      clip: { x: 200, y: 20, width: 880, height: 350 },
    });
  });
}

async function open(
  args: readonly string[],
  fragment: string,
  act: (page: Page) => Promise<void>,
): Promise<void> {
  const view = await startView(args);
  const page = await newPage(browser);
  await page.goto(view.url);
  if (args.length > 0) {
    await pictureReady(page);
    await page.goto(`${new URL(view.url).origin}/?1#${fragment}`);
    await pictureReady(page);
  }
  await act(page);
  await page.context().close();
  await view.stop();
}

async function newPage(from: Browser): Promise<Page> {
  const context = await from.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: "light" });
  return context.newPage();
}

function sourceOf(path: string | undefined): string[] {
  return path === undefined ? [] : ["--source", path];
}

/** As WebP, which Chromium itself encodes. @param quality 0 to 1 */
async function save(page: Page, name: string, quality: number): Promise<void> {
  const png = (await page.screenshot()).toString("base64");
  const blank = await page.context().newPage();
  const webp = await blank.evaluate(
    `(async () => {
      const image = new Image();
      image.src = "data:image/png;base64,${png}";
      await image.decode();
      const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
      canvas.getContext("2d").drawImage(image, 0, 0);
      return canvas.toDataURL("image/webp", ${quality});
    })()`,
  );
  const bytes = Buffer.from(String(webp).split(",")[1]!, "base64");
  writeFileSync(join(options.out, `${name}.webp`), bytes);
  if (process.env.TILEWRIGHT_PICTURES)
    writeFileSync(join(process.env.TILEWRIGHT_PICTURES, `${name}.png`), Buffer.from(png, "base64"));
  console.log(`${name}.webp: ${Math.round(bytes.length / 1000)} kB`);
  await blank.close();
}
