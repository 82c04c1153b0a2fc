import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { JobClient } from "../../src/client/job-client.ts";
import type { JobStatus } from "../../src/contracts/job-request.ts";
import { makeSlideLevel } from "../builders/dicom-slide.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { READ_TOKEN, TOKEN } from "../stack/service.ts";
import { accessibilityFindings } from "./accessibility.ts";
import { openChromium, openPage, pictureReady, type WatchedPage } from "./chromium.ts";
import { MadeService } from "./made-service.ts";

/** A name that would do something if a page took it for HTML. */
const HOSTILE = `<b>&'"x.tiff`;

let directory: string;
let stack: MadeService;
let browser: Browser;
let slide: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-service-"));
  slide = writeMadeSlide(join(directory, HOSTILE), { width: 1500, height: 1100 }).path;
  [stack, browser] = await Promise.all([MadeService.start(directory), openChromium()]);
});

afterAll(async () => {
  await browser?.close();
  await stack?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function signIn(token: string): Promise<WatchedPage> {
  const opened = await openPage(browser, stack.url.href);
  await opened.page.getByLabel("Token").fill(token);
  await opened.page.getByRole("button", { name: "Sign in" }).click();
  await opened.page.getByRole("heading", { name: "Scans" }).waitFor();
  return opened;
}

const choose = (page: Page, file: string) => page.locator("input[type=file]").first().setInputFiles(file);

/** Waits until the page of a job shows the finished run. */
const showsResult = (page: Page) =>
  expect
    .poll(() =>
      page
        .locator(".panel")
        .textContent()
        .catch(() => ""),
    )
    .toContain("Finished");

/** Uploads the slide without a job, and starts one. */
async function uploadSlide(client: JobClient): Promise<JobStatus> {
  const bytes = readFileSync(slide);
  const upload = await client.createUpload({ name: "again.tiff", byteLength: bytes.length, request: null });
  for (let n = 1; n <= upload.parts; n++)
    await client.putPart(upload.id, n, bytes.subarray((n - 1) * upload.partBytes, n * upload.partBytes));
  return client.startJob(await client.completeUpload(upload.id));
}

describe("the service in the browser", () => {
  it("shows its routes without a token", async () => {
    const { page, problems, close } = await openPage(browser, new URL("/docs", stack.url).href);
    await page.locator("summary", { hasText: "Start a job, or find" }).click();
    const operation = page.locator("#createJob");
    await expect.poll(() => operation.textContent()).toContain("curl -X POST");
    expect(await operation.textContent()).toContain("202");
    await page.locator("summary", { hasText: "Create a cohort" }).click();
    await expect.poll(() => page.locator("#createCohort").textContent()).toContain("matches ^[0-9a-f]{32}$");
    expect(await accessibilityFindings(page)).toEqual([]);
    expect(problems).toEqual([]);
    await close();
  });

  it("refuses a wrong token in a sentence", async () => {
    const { page, close } = await openPage(browser, stack.url.href);
    await page.getByLabel("Token").fill("a token that nobody has given out");
    await page.getByRole("button", { name: "Sign in" }).click();
    await expect
      .poll(() => page.locator("[role=alert]").textContent())
      .toContain("does not accept this token");
    expect(await accessibilityFindings(page)).toEqual([]);
    await close();
  });

  it("uploads a scan, shows its progress and then the result over the scan", async () => {
    const { page, problems, requests, close } = await signIn(TOKEN);
    await choose(page, slide);
    // The page of its job opens by itself.
    await page.waitForURL(/\/job\?id=/);
    await page.getByRole("button", { name: "All scans" }).click();
    const row = page.locator("table.jobs tbody tr").first();
    await expect.poll(() => row.textContent().catch(() => "")).toContain(HOSTILE);
    expect(await accessibilityFindings(page)).toEqual([]);
    await row.getByRole("button", { name: HOSTILE }).click();
    await expect.poll(() => page.locator("h1").first().textContent()).toContain(HOSTILE);
    await pictureReady(page);
    await expect.poll(() => page.locator(".panel").textContent()).toContain("pointwise 1.0.0 fp32");
    await expect.poll(() => page.locator(".panel").textContent()).toContain("1500 × 1100 px");
    await expect.poll(() => page.locator(".panel").textContent()).toMatch(/Show 1,\d{3} objects/);
    await page.getByRole("button", { name: "All scans" }).click();
    await expect.poll(() => row.textContent()).toContain("done");
    expect(problems).toEqual([]);
    expect(requests.filter((url) => url.includes(TOKEN))).toEqual([]);
    await close();
  });

  it("shows a reader without access to scans the labels alone, and says so", async () => {
    const { page, close } = await signIn(READ_TOKEN);
    await page.locator("table.jobs tbody tr").first().getByRole("button", { name: HOSTILE }).click();
    await pictureReady(page);
    await expect.poll(() => page.locator(".panel").textContent()).toContain("lacks the scope source");
    await close();
  });

  it("finds and deletes a scan of the list", async () => {
    const { page, close } = await signIn(TOKEN);
    const rows = page.locator("table.jobs tbody tr");
    await expect.poll(() => rows.count()).toBe(1);
    await page.getByLabel("Name").fill("another name");
    await expect.poll(() => rows.count()).toBe(0);
    await page.getByLabel("Name").fill("X.TIF");
    await expect.poll(() => rows.count()).toBe(1);
    await page.getByLabel("State").selectOption("failed");
    await expect.poll(() => rows.count()).toBe(0);
    await page.getByLabel("State").selectOption("all");
    await expect.poll(() => rows.count()).toBe(1);
    page.removeAllListeners("dialog");
    page.on("dialog", (dialog) => void dialog.accept());
    await rows.first().getByRole("button", { name: "Delete" }).click();
    await expect.poll(() => rows.count()).toBe(0);
    await close();
  });

  it("says why a job failed and what to do, and starts a job again", async () => {
    const client = new JobClient(stack.url.href, { token: TOKEN });
    const junk = join(directory, "junk.tiff");
    writeFileSync(junk, "no image");
    const { page, close } = await signIn(TOKEN);
    await choose(page, junk);
    await expect
      .poll(() => page.locator("main").textContent())
      .toContain("check that the file opens elsewhere");
    expect(await accessibilityFindings(page)).toEqual([]);
    await page.getByRole("button", { name: "All scans" }).click();

    const started = await uploadSlide(client);
    await client.cancel(started.id);
    await page.goto(new URL(`/job?id=${started.id}`, stack.url).href);
    await expect.poll(() => page.locator("main").textContent()).toContain("cancelled");
    await page.getByRole("button", { name: "Try again" }).click();
    await showsResult(page);
    await close();
  });

  it("follows a job again after the service was away", async () => {
    const client = new JobClient(stack.url.href, { token: TOKEN });
    const { id } = (await client.jobs({ states: ["done"] })).jobs[0]!;
    const { page, close } = await signIn(TOKEN);
    await page.route("**/events", (route) => route.abort());
    await page.goto(new URL(`/job?id=${id}`, stack.url).href);
    await expect.poll(() => page.locator("[role=alert]").textContent()).toContain("The page tries again");
    await page.unroute("**/events");
    await showsResult(page);
    await close();
  });

  it("uploads a folder of DICOM files, and nothing else in it", async () => {
    const folder = join(directory, "series");
    mkdirSync(join(folder, "deep"), { recursive: true });
    writeFileSync(join(folder, "deep", "1.dcm"), makeSlideLevel(1));
    writeFileSync(join(folder, "notes.txt"), "not for the service");
    const { page, problems, close } = await signIn(TOKEN);
    const sent: string[] = [];
    page.on("request", (request) => {
      if (request.method() === "PUT") sent.push(new URL(request.url()).pathname);
    });
    await page.locator("input[type=file]").nth(1).setInputFiles(folder);
    await page.waitForURL(/\/job\?id=/);
    const id = new URL(page.url()).searchParams.get("id")!;
    const { source } = await new JobClient(stack.url.href, { token: TOKEN }).status(id);
    expect(source.uri).toMatch(/series/);
    expect(sent).toHaveLength(1);
    expect(sent[0]).toMatch(/\/v1\/folders\/[\w-]+\/files\/series\/deep\/1\.dcm$/);
    expect(problems).toEqual([]);
    await close();
  });

  it("sends several scans at once, and removes one that was stopped", async () => {
    const { page, close } = await signIn(TOKEN);
    const names = ["first.tiff", "second.tiff"];
    // The parts never arrive.
    await page.route("**/parts/1", () => {});
    await page
      .locator("input[type=file]")
      .first()
      .setInputFiles(names.map((name) => ({ name, mimeType: "image/tiff", buffer: Buffer.alloc(100, 1) })));
    const items = page.locator(".sendings li");
    await expect
      .poll(() => items.allTextContents())
      .toEqual(names.map((name) => expect.stringContaining(name)));
    const second = items.filter({ hasText: "second.tiff" });
    await second.getByRole("button", { name: "Stop" }).click();
    await expect.poll(() => second.textContent()).toContain("stopped");
    await second.getByRole("button", { name: "Remove" }).click();
    await expect.poll(() => items.allTextContents()).toEqual([expect.stringContaining("first.tiff")]);
    page.removeAllListeners("dialog");
    page.on("dialog", (dialog) => void dialog.accept());
    await close();
  });

  it("goes on with an upload after a reload, and says when the service is gone", async () => {
    // Six parts. It is no scan, and its job fails.
    const large = join(directory, "large.tiff");
    writeFileSync(large, new Uint8Array(30 * 2 ** 20).fill(7));
    const { page, close } = await signIn(TOKEN);
    let isCut = true;
    await page.route("**/parts/2", (route) => (isCut ? route.abort() : route.continue()));
    const firstPart = page.waitForResponse((response) => /parts\/1$/.test(response.url()));
    const secondPart = page.waitForRequest("**/parts/2");
    await choose(page, large);
    await Promise.all([firstPart, secondPart]);
    page.removeAllListeners("dialog");
    page.on("dialog", (dialog) => void dialog.accept());
    await page.reload();
    isCut = false;
    await page.getByRole("heading", { name: "Scans" }).waitFor();
    const again: string[] = [];
    page.on("request", (request) => again.push(`${request.method()} ${new URL(request.url()).pathname}`));
    await choose(page, large);
    await expect.poll(() => again.some((line) => line.endsWith("/complete"))).toBe(true);
    // The upload was found, not begun again, and its first part was not sent twice.
    expect(again.filter((line) => line === "POST /v1/uploads")).toEqual([]);
    expect(again.filter((line) => /^PUT .*parts\/1$/.test(line))).toEqual([]);
    expect(again.filter((line) => /^PUT .*parts\/2$/.test(line)).length).toBe(1);
    await page.getByRole("button", { name: "All scans" }).click();
    await page.getByRole("heading", { name: "Scans" }).waitFor();
    await page.route("**/v1/jobs?*", (route) => route.abort());
    await page.getByLabel("Name").fill("large");
    await expect.poll(() => page.locator("[role=alert]").textContent()).toContain("The page tries again");
    await close();
  });
});

describe("GET /v1/jobs", () => {
  it("lists every job once, newest first, over pages", async () => {
    const client = new JobClient(stack.url.href, { token: TOKEN });
    const bytes = readFileSync(slide);
    const started: string[] = [];
    for (const name of ["a.tiff", "b.tiff", "c.tiff"]) {
      const upload = await client.createUpload({ name, byteLength: bytes.length, request: null });
      for (let n = 1; n <= upload.parts; n++)
        await client.putPart(upload.id, n, bytes.subarray((n - 1) * upload.partBytes, n * upload.partBytes));
      const { source } = await client.completeUpload(upload.id);
      started.unshift((await client.startJob({ source })).id);
      // The same request again is the same job.
      expect((await client.startJob({ source })).id).toBe(started[0]);
    }
    const listed: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await client.jobs({ limit: 1, cursor });
      expect(page.jobs.length).toBeLessThanOrEqual(1);
      listed.push(...page.jobs.map(({ id }) => id));
      cursor = page.cursor;
    } while (cursor !== undefined);
    expect(listed.slice(0, 3)).toEqual(started);
    expect(new Set(listed).size).toBe(listed.length);
    expect((await client.jobs({ text: "B.TIFF" })).jobs.map(({ id }) => id)).toEqual([started[1]]);

    // Cancelled and started again, it is listed once, as the newest.
    await client.cancel(started[2]!).catch(() => {});
    const { source } = await client.status(started[2]!);
    const { id } = await client.startJob({ source: source.uri });
    expect(id).toBe(started[2]);
    const ids = (await client.jobs()).jobs.map((job) => job.id);
    expect(ids.filter((other) => other === id)).toEqual([id]);
  });

  it("needs a token, and says what is wrong with a query", async () => {
    expect((await fetch(new URL("/v1/jobs", stack.url))).status).toBe(401);
    const headers = { Authorization: `Bearer ${READ_TOKEN}` };
    for (const query of ["limit=0", "limit=x", "cursor=../work", "state=nothing"]) {
      const response = await fetch(new URL(`/v1/jobs?${query}`, stack.url), { headers });
      expect([query, response.status]).toEqual([query, 422]);
    }
  });
});
