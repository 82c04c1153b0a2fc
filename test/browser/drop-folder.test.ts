import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { JobClient } from "../../src/client/job-client.ts";
import { writeVolumePackage } from "../builders/volume-package.ts";
import { TOKEN } from "../stack/service.ts";
import { openChromium, openPage, pictureReady } from "./chromium.ts";
import { dropByMouse } from "./drop-files.ts";
import { writeSeries } from "./made-series.ts";
import { MadeService } from "./made-service.ts";
import { startView } from "./view-process.ts";

/** A browser lists a hundred files of a directory at a time. */
const SLICES = 103;
const [COLUMNS, ROWS] = [16, 12];

let directory: string;
let model: string;
let series: string;
let browser: Browser;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-drop-"));
  model = writeVolumePackage(join(directory, "volume"));
  series = join(directory, "a series");
  writeSeries(join(series, "deep"), {
    size: [COLUMNS, ROWS, SLICES],
    step: [1, 1, 1],
    data: Array.from({ length: COLUMNS * ROWS * SLICES }, (_, i) => (i % COLUMNS < 8 ? 40 : 200)),
    position: [0, 0, 0],
  });
  writeFileSync(join(series, "notes.txt"), "not for the service");
  mkdirSync(join(series, "empty"));
  browser = await openChromium();
});

afterAll(async () => {
  await browser?.close();
  rmSync(directory, { recursive: true, force: true });
});

const showsRun = (page: Page) =>
  expect
    .poll(
      () =>
        page
          .locator(".panel")
          .textContent()
          .catch(() => ""),
      { timeout: 120_000 },
    )
    .toContain("volume 1.0.0 fp32");

describe("a folder that is dropped with the mouse", () => {
  it("is segmented in the tab with all its slices", async () => {
    const view = await startView(["--model", model]);
    const { page, problems, close } = await openPage(browser, view.url);
    await page.getByRole("region", { name: "Choose a scan", exact: true }).waitFor();
    await dropByMouse(page, "Choose a scan", [series]);
    await page.getByRole("button", { name: "Segment" }).click();
    await showsRun(page);
    await pictureReady(page);
    expect(await page.locator("h1").first().textContent()).toBe("a series");
    expect(await page.locator(".panel").textContent()).toContain(`${COLUMNS} × ${ROWS} × ${SLICES}`);
    expect(problems).toEqual([]);
    await close();
    await view.stop();
  });

  it("is uploaded with all its slices and nothing else", async () => {
    const stack = await MadeService.start(join(directory, "service"));
    const { page, problems, close } = await openPage(browser, stack.url.href);
    await page.getByLabel("Token").fill(TOKEN);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("region", { name: "Upload", exact: true }).waitFor();
    const sent = new Set<string>();
    page.on("request", (request) => {
      if (request.method() === "PUT") sent.add(new URL(request.url()).pathname.split("/files/")[1]!);
    });
    await dropByMouse(page, "Upload", [series]);
    await page.waitForURL(/\/job\?id=/, { timeout: 120_000 });
    expect([...sent].sort()).toEqual(
      Array.from({ length: SLICES }, (_, k) => `a%20series/deep/${k}.dcm`).sort(),
    );
    const id = new URL(page.url()).searchParams.get("id")!;
    const { source } = await new JobClient(stack.url.href, { token: TOKEN }).status(id);
    expect(decodeURIComponent(source.uri)).toMatch(/a series/);
    expect(problems).toEqual([]);
    await close();
    await stack.stop();
  });

  it("with another scan is refused in a sentence", async () => {
    const view = await startView(["--model", model]);
    const { page, problems, close } = await openPage(browser, view.url);
    await page.getByRole("region", { name: "Choose a scan", exact: true }).waitFor();
    await dropByMouse(page, "Choose a scan", [series, join(series, "notes.txt")]);
    await expect
      .poll(() => page.locator("[role=alert]").textContent())
      .toContain("several scans were chosen");
    await dropByMouse(page, "Choose a scan", [join(series, "empty")]);
    await expect.poll(() => page.locator("[role=alert]").textContent()).toContain("nothing was chosen");
    expect(problems).toEqual([]);
    await close();
    await view.stop();
  });
});
