import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bundles, bundleWorkers } from "../../src/cli/stack/local-stack.ts";
import type { CohortRowsPage, RemoteCohortStatus } from "../../src/contracts/cohort-request.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { KillableStack } from "./killable-stack.ts";
import { until } from "./service.ts";

/** Cuts off the object of a cohort at critical moments, in which a web server lets it wait. */
let directory: string;
let bundles: Bundles;
let stack: KillableStack | undefined;
let server: Server;
let host: string;
/** While it hangs, requests get no response. */
let hangs = false;
let waiting = 0;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-cut-off-"));
  const slide = writeMadeSlide(join(directory, "slide.tiff"), { width: 420, height: 300 }).path;
  const bytes = readFileSync(slide);
  server = createServer((request, response) => {
    if (hangs) return void waiting++;
    const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    const from = match ? Number(match[1]) : 0;
    const to = match ? Math.min(Number(match[2]), bytes.length - 1) : bytes.length - 1;
    const range = match ? { "Content-Range": `bytes ${from}-${to}/${bytes.length}` } : {};
    const headers = { ETag: '"one"', "Content-Length": to - from + 1, ...range };
    response.writeHead(match ? 206 : 200, headers).end(bytes.subarray(from, to + 1));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  bundles = await bundleWorkers();
  writePointwisePackage(join(directory, "pointwise"));
}, 300_000);
afterAll(async () => {
  await stack?.kill();
  server?.closeAllConnections();
  await new Promise((resolve) => server?.close(resolve));
  await bundles?.remove();
  rmSync(directory, { recursive: true, force: true });
});

async function startStack(): Promise<KillableStack> {
  const bindings = { SOURCES: JSON.stringify([{ kind: "http", host }]) };
  stack = await KillableStack.start(join(directory, "state"), join(directory, "pointwise"), bundles, {
    bindings,
  });
  return stack;
}

async function cutOff(): Promise<KillableStack> {
  await stack!.kill();
  stack = undefined;
  return startStack();
}

const rowsOf = (prefix: string) =>
  [0, 1, 2].map((i) => ({ id: `s${i}`, source: `http://${host}/${prefix}-${i}.tiff` }));
const open = async (body: object) =>
  (await (await stack!.service.post("/v1/cohorts", body)).json()) as RemoteCohortStatus;
const show = async (id: string) =>
  (await (await stack!.service.fetch(`/v1/cohorts/${id}`)).json()) as RemoteCohortStatus;
const rows = async (id: string) =>
  ((await (await stack!.service.fetch(`/v1/cohorts/${id}/rows`)).json()) as CohortRowsPage).rows;

async function expectDoneOnce(id: string): Promise<void> {
  const end = await until(async () => {
    const status = await show(id);
    return status.state === "done" ? status : undefined;
  }, 100);
  expect(end.rows).toEqual({ total: 3, pending: 0, running: 0, done: 3, failed: 0 });
  const found = await rows(id);
  expect(new Set(found.map((row) => row.job)).size).toBe(3);
  expect(end.spentUsd).toBeCloseTo(
    found.reduce((sum, row) => sum + row.costUsd!, 0),
    12,
  );
}

describe("a cohort that is cut off", () => {
  it("while it creates jobs creates them after the restart", { timeout: 150_000 }, async () => {
    await startStack();
    hangs = true;
    const { id } = await open({ rows: rowsOf("made") });
    await until(async () => (waiting >= 3 ? true : undefined));
    expect((await rows(id)).map(({ state, job }) => [state, job])).toEqual(
      [0, 1, 2].map(() => ["running", undefined]),
    );
    await cutOff();
    hangs = false;
    await expectDoneOnce(id);
  });

  it("and is cancelled meanwhile cancels the jobs it creates, and continues", {
    timeout: 150_000,
  }, async () => {
    hangs = true;
    waiting = 0;
    const { id } = await open({ rows: rowsOf("cancelled") });
    await until(async () => (waiting >= 3 ? true : undefined));
    await stack!.service.post(`/v1/cohorts/${id}/cancel`, {});
    await cutOff();
    hangs = false;
    const cancelled = await until(async () => {
      const status = await show(id);
      return status.rows.running === 0 ? status : undefined;
    });
    expect(cancelled).toMatchObject({ state: "cancelled", rows: { pending: 3 } });
    await stack!.service.post(`/v1/cohorts/${id}/resume`, {});
    const end = await until(async () => {
      const status = await show(id);
      return status.state === "done" ? status : undefined;
    }, 100);
    expect(end.rows).toMatchObject({ done: 3, failed: 0 });
  });

  it("with its source replaced while its job is created runs the new one only", {
    timeout: 150_000,
  }, async () => {
    hangs = true;
    waiting = 0;
    const { id } = await open({ rows: rowsOf("before") });
    await until(async () => (waiting >= 3 ? true : undefined));
    await stack!.service.post(`/v1/cohorts/${id}/rows`, { rows: rowsOf("after") });
    await cutOff();
    hangs = false;
    await expectDoneOnce(id);
    for (const { job } of await rows(id))
      expect((await stack!.service.job(job!)).source.uri).toMatch(/after-\d\.tiff$/);
  });
});
