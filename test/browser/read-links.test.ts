import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { writeMadeSlide } from "../builders/slide.ts";
import { READ_TOKEN, Service } from "../stack/service.ts";
import { accessibilityFindings } from "./accessibility.ts";
import { openChromium, openPage, pictureReady } from "./chromium.ts";
import { MadeService } from "./made-service.ts";

const VIEWER = "https://avivator.gehlenborglab.org";

let directory: string;
let stack: MadeService;
let service: Service;
let browser: Browser;
let job: string;
let other: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-links-"));
  const slide = writeMadeSlide(join(directory, "slide.tiff"), { width: 700, height: 500 }).path;
  [stack, browser] = await Promise.all([
    MadeService.start(directory, { CORS_ORIGINS: VIEWER }),
    openChromium(),
  ]);
  service = new Service(stack.url);
  const ids: string[] = [];
  for (const name of ["one.tiff", "two.tiff"]) {
    const { id } = await service.upload(slide, name, { model: "pointwise" });
    ids.push(await service.jobOf(id));
  }
  [job, other] = ids as [string, string];
  for (const id of ids) expect((await service.ended(id, 120)).state).toBe("done");
});

afterAll(async () => {
  await browser?.close();
  await stack?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function makeLink(seconds = 60): Promise<string> {
  const response = await service.fetch(`/v1/jobs/${job}/read-link?seconds=${seconds}`, {}, READ_TOKEN);
  expect([response.status, response.headers.get("Cache-Control")]).toEqual([200, "no-store"]);
  return ((await response.json()) as { path: string }).path;
}

const get = (path: string, headers: Record<string, string> = {}) =>
  fetch(new URL(path, stack.url), { headers });

it("reads the results of its job without a token, whole and by range, and nothing else", async () => {
  const link = await makeLink();
  const whole = await service.fetch(`/v1/jobs/${job}/outputs/objects.geojson`);
  const response = await get(`${link}objects.geojson`);
  expect(response.status).toBe(200);
  expect(await response.text()).toBe(await whole.text());
  const part = await get(`${link}labels.ome.tiff`, { Range: "bytes=0-3" });
  expect([part.status, (await part.arrayBuffer()).byteLength]).toEqual([206, 4]);
  expect((await get(`${link}labels.ome.zarr/zarr.json`)).status).toBe(200);
  for (const path of [
    `${link}../outputs/run.json`,
    `${link}..%2f..%2f${other}/run.json`,
    `${link}%2e%2e/run.json`,
  ])
    expect((await get(path)).status).toBeGreaterThanOrEqual(403);
  expect((await get(`${link}none.txt`)).status).toBe(404);
  const altered = link.replace(/[0-9a-f]\/$/, (end) => (end[0] === "0" ? "1/" : "0/"));
  const later = link.replace(/\/(\d+)\//, (_, end: string) => `/${Number(end) + 60}/`);
  for (const path of [altered, later, link.replace(job, other)])
    expect((await get(`${path}run.json`)).status).toBe(403);
  // It is no token for any other route.
  const signature = link.split("/").at(-2)!;
  expect((await get(`/v1/jobs/${job}`, { Authorization: `Bearer ${signature}` })).status).toBe(401);
  for (const seconds of [0, 59, 86_401])
    expect((await service.fetch(`/v1/jobs/${job}/read-link?seconds=${seconds}`)).status).toBe(422);
});

it("lets pages of the origins in CORS_ORIGINS read, and no other", async () => {
  const link = await makeLink();
  const allowed = await get(`${link}run.json`, { Origin: VIEWER });
  expect(allowed.headers.get("Access-Control-Allow-Origin")).toBe(VIEWER);
  expect(allowed.headers.get("Access-Control-Allow-Credentials")).toBeNull();
  expect(allowed.headers.get("Access-Control-Expose-Headers")).toContain("Content-Range");
  const foreign = await get(`${link}run.json`, { Origin: "https://evil.example" });
  expect(foreign.headers.get("Access-Control-Allow-Origin")).toBeNull();
  const preflight = await fetch(new URL(`/v1/jobs/${job}`, stack.url), {
    method: "OPTIONS",
    headers: {
      Origin: VIEWER,
      "Access-Control-Request-Method": "GET",
      "Access-Control-Request-Headers": "authorization, range",
    },
  });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get("Access-Control-Allow-Headers")).toContain("Authorization");
});

it("is offered by the page of a result, with a script for QuPath", async () => {
  const { page, problems, close } = await openPage(browser, stack.url.href);
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.getByLabel("Token").fill(READ_TOKEN);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: "one.tiff" }).click();
  await pictureReady(page);
  await page.getByRole("button", { name: "Open elsewhere" }).click();
  const panel = page.getByRole("region", { name: "Open elsewhere" });
  const href = await panel.getByRole("link", { name: "Avivator" }).getAttribute("href");
  const address = new URL(href!).searchParams.get("image_url")!;
  expect((await fetch(address, { headers: { Range: "bytes=0-1" } })).status).toBe(206);
  expect(href).not.toContain(READ_TOKEN);
  await expect.poll(() => panel.textContent()).toContain("must allow https://hms-dbmi.github.io");
  expect(await accessibilityFindings(page)).toEqual([]);
  await panel.getByRole("button", { name: "Copy a script for QuPath" }).click();
  await expect.poll(() => panel.textContent()).toContain("QuPath script copied");
  const script = (await page.evaluate("navigator.clipboard.readText()")) as string;
  const geojson = /'(http[^']+objects\.geojson)'/.exec(script)![1]!;
  expect(((await (await fetch(geojson)).json()) as { type: string }).type).toBe("FeatureCollection");
  expect(problems).toEqual([]);
  await close();
});

it("shows a cohort of the service, whose rows lead to their jobs", async () => {
  const { uri } = ((await (await service.fetch(`/v1/jobs/${job}`)).json()) as { source: { uri: string } })
    .source;
  const id = `<img src=x onerror=alert(1)>`;
  const created = await service.post("/v1/cohorts", {
    job: { model: "pointwise" },
    rows: [
      { id, source: uri },
      { id: "gone", source: `${uri}.gone` },
    ],
  });
  expect(created.status).toBe(201);
  const cohort = ((await created.json()) as { id: string }).id;
  const { page, problems, close } = await openPage(browser, new URL(`/cohort?id=${cohort}`, stack.url).href);
  await page.getByLabel("Token").fill(READ_TOKEN);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect.poll(() => page.locator("main").textContent()).toContain("1 of 2 done, 1 failed");
  await page.getByLabel("State").selectOption("failed");
  await expect.poll(() => page.locator("table tbody").textContent()).toContain("gone");
  expect(await page.locator("table tbody tr").count()).toBe(1);
  await page.getByLabel("State").selectOption("");
  expect(await accessibilityFindings(page)).toEqual([]);
  await page.getByRole("link", { name: id }).click();
  await pictureReady(page);
  expect(problems).toEqual([]);
  await close();
});
