import { existsSync } from "node:fs";
import { decode } from "fast-png";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/opt/google/chrome/chrome"];

/** Chromium of this machine, drawing with WebGL on the CPU. @throws {Error} if there is none */
export async function openChromium(): Promise<Browser> {
  const executablePath = process.env.TILEWRIGHT_CHROMIUM ?? PLACES.find((path) => existsSync(path));
  if (executablePath === undefined)
    throw new Error("these tests need Chromium: apt-get install chromium, or set TILEWRIGHT_CHROMIUM");
  return chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
  });
}

/** A page, and everything in it that should not happen: errors, violations of its policy, requests elsewhere. */
export interface WatchedPage {
  page: Page;
  problems: string[];
  /** Addresses of all requests. */
  requests: string[];
  close(): Promise<void>;
}

export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<WatchedPage> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  const problems: string[] = [];
  const requests: string[] = [];
  page.on("pageerror", (error) => problems.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => {
    problems.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("console", (message) => {
    if (/Content Security Policy|Refused to|violates/i.test(message.text())) problems.push(message.text());
  });
  page.on("request", (request) => {
    requests.push(request.url());
    const isOwn = new URL(request.url()).origin === new URL(url).origin || request.url().startsWith("blob:");
    if (!isOwn) problems.push(`request to ${request.url()}`);
  });
  await page.goto(url);
  return { page, problems, requests, close: () => context.close() };
}

/** Waits until the picture has everything that its view needs. */
export async function pictureReady(page: Page): Promise<void> {
  await page.waitForSelector("canvas[data-ready=true]", { timeout: 60_000 });
}

export interface Pixels {
  width: number;
  height: number;
  /** Red, green and blue at a device pixel of the picture. */
  at(x: number, y: number): [number, number, number];
}

/** The drawn picture, pixel by pixel. */
export async function readPicture(page: Page, selector = ".stage > canvas"): Promise<Pixels> {
  const address = await page.evaluate(
    (place) =>
      (
        globalThis as unknown as { document: { querySelector(selector: string): { toDataURL(): string } } }
      ).document
        .querySelector(place)
        .toDataURL(),
    selector,
  );
  const { width, height, channels, data } = decode(Buffer.from(address.split(",")[1]!, "base64"));
  return {
    width,
    height,
    at(x, y) {
      const i = (y * width + x) * channels;
      return [data[i]!, data[i + 1]!, data[i + 2]!];
    },
  };
}

/** World position of the corner of the picture's first pixel. @param x @param y of the view, as in its address */
export function worldOrigin(
  { width, height }: Pixels,
  x: number,
  y: number,
  scale: number,
): { x: number; y: number } {
  return {
    x: -Math.round(width / 2 - x * scale) / scale,
    y: -Math.round(height / 2 - y * scale) / scale,
  };
}
