import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bundles, bundleWorkers, type Stack, startStack } from "../../src/cli/stack/local-stack.ts";
import type {
  CohortRowStatus,
  CohortRowsPage,
  RemoteCohortPage,
  RemoteCohortStatus,
} from "../../src/contracts/cohort-request.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { JOBS_BINDINGS, READ_TOKEN, SEGMENT_BINDINGS, Service, SUBMIT_TOKEN, until } from "./service.ts";

/** Cohorts of the job service in workerd, over its API. */
let directory: string;
let bundles: Bundles;
let stack: Stack;
let service: Service;
let slide: string;

const BUCKET = "r2://tilewright-scans";

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-cohort-api-"));
  slide = writeMadeSlide(join(directory, "slide.tiff"), { width: 420, height: 300 }).path;
  const model = writePointwisePackage(join(directory, "pointwise"));
  bundles = await bundleWorkers();
  stack = await startStack({
    state: join(directory, "state"),
    host: "127.0.0.1",
    port: 0,
    model,
    bundles,
    jobs: {
      ...JOBS_BINDINGS,
      RULES: JSON.stringify([{ name: "all", bucket: "tilewright-scans", prefix: "uploads/" }]),
    },
    segment: SEGMENT_BINDINGS,
    log: (line) => process.env.STACK_LOG && console.error(line),
  });
  service = new Service(stack.url);
}, 180_000);
afterAll(async () => {
  await stack?.stop();
  await bundles?.remove();
  rmSync(directory, { recursive: true, force: true });
});

/** Copies of one slide under other names, each a scan. */
async function put(prefix: string, count: number, file = slide): Promise<string[]> {
  const bucket = await stack.miniflare.getR2Bucket("SCANS", "tilewright");
  const bytes = readFileSync(file);
  const keys = Array.from({ length: count }, (_, i) => `${prefix}/${i}.tiff`);
  for (const key of keys) await bucket.put(key, bytes);
  return keys;
}

const rowsOf = (keys: readonly string[]) =>
  keys.map((key, i) => ({ id: `s${i}`, source: `${BUCKET}/${key}` }));

async function ask<T>(method: string, path: string, body?: unknown, status = [200, 201]): Promise<T> {
  const headers: Record<string, string> = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await service.fetch(`/v1/cohorts${path}`, { method, headers, body: JSON.stringify(body) });
  const text = await answer.text();
  expect(status, text).toContain(answer.status);
  return JSON.parse(text) as T;
}

const open = (cohort: object) => ask<RemoteCohortStatus>("POST", "", cohort);
const show = (id: string) => ask<RemoteCohortStatus>("GET", `/${id}`);

async function rows(id: string, from?: string): Promise<CohortRowStatus[]> {
  const found: CohortRowStatus[] = [];
  for (let cursor = from; ; ) {
    const query = cursor === undefined ? "" : `?cursor=${cursor}`;
    const page = await ask<CohortRowsPage>("GET", `/${id}/rows${query}`);
    found.push(...page.rows);
    if (!page.more) return found;
    cursor = page.cursor;
  }
}

const ended = (id: string, seconds = 90) =>
  until(async () => {
    const status = await show(id);
    return status.state === "done" ? status : undefined;
  }, seconds);

describe("a cohort", () => {
  it("never runs more scans than its concurrency", { timeout: 300_000 }, async () => {
    const keys = await put("waves", 5);
    const { id } = await open({ limits: { concurrency: 2 }, rows: rowsOf(keys) });
    let most = 0;
    const end = await until(async () => {
      const status = await show(id);
      most = Math.max(most, status.rows.running);
      // Far more alarms than it set.
      await Promise.all([1, 2, 3].map(() => ask("POST", `/${id}/resume`)));
      return status.state === "done" ? status : undefined;
    }, 90);
    expect(most).toBe(2);
    expect(end.rows).toEqual({ total: 5, pending: 0, running: 0, done: 5, failed: 0 });
    const found = await rows(id);
    expect(new Set(found.map((row) => row.job)).size).toBe(5);
    for (const { costUsd, forecastUsd, windows } of found) {
      expect(costUsd).toBeGreaterThan(0);
      expect(windows).toBeGreaterThan(0);
      expect(forecastUsd! / costUsd!).toBeGreaterThan(0.5);
      expect(forecastUsd! / costUsd!).toBeLessThan(2);
    }
    expect(end.spentUsd).toBeCloseTo(
      found.reduce((sum, row) => sum + row.costUsd!, 0),
      12,
    );
    expect(end.forecastUsd).toBe(0);

    // Another cohort with the same scans finds the results and pays nothing.
    const again = await open({
      rows: [...rowsOf(keys), { id: "twin", source: `s3://tilewright-scans/${keys[0]}` }],
    });
    const found2 = await ended(again.id, 20);
    expect(found2.rows.done).toBe(6);
    expect(found2.spentUsd).toBe(0);
    const second = new Map((await rows(again.id)).map((row) => [row.id, row]));
    for (const { id, job, costUsd } of found) expect(second.get(id)).toMatchObject({ job, costUsd });
    expect(second.get("twin")!.job).toBe(second.get("s0")!.job);
  });

  it("reports why scans failed, and completes the others", { timeout: 300_000 }, async () => {
    const [good] = await put("mixed", 1);
    const text = join(directory, "text.tiff");
    writeFileSync(text, "no image at all, ".repeat(100));
    const [bad] = await put("bad", 1, text);
    const { id } = await open({
      rows: [
        { id: "good", source: `${BUCKET}/${good}` },
        { id: "missing", source: `${BUCKET}/none.tiff` },
        { id: "unreadable", source: `${BUCKET}/${bad}` },
        { id: "elsewhere", source: "s3://not-ours/x.tiff" },
        { id: "secret", source: "https://not.ours.example/x.tiff?signature=of-a-secret" },
      ],
    });
    const end = await ended(id);
    expect(end.rows).toMatchObject({ done: 1, failed: 4 });
    const found = new Map((await rows(id)).map((row) => [row.id, row]));
    const codes = Object.fromEntries([...found].map(([id, { code }]) => [id, code]));
    expect(codes).toEqual({
      good: undefined,
      missing: "missing",
      unreadable: "unreadable",
      elsewhere: "refused",
      secret: "refused",
    });
    for (const { code, reason } of found.values()) if (code) expect(reason!.length).toBeGreaterThan(10);
    expect(JSON.stringify([...found])).not.toContain("of-a-secret");

    // A repaired scan is segmented on retry; finished ones are unchanged.
    const bucket = await stack.miniflare.getR2Bucket("SCANS", "tilewright");
    await bucket.put("none.tiff", readFileSync(slide));
    const before = await ask<CohortRowsPage>("GET", `/${id}/rows`);
    await ask("POST", `/${id}/retry`, { ids: ["missing", "nobody"] });
    const mended = await ended(id);
    expect(mended.rows).toMatchObject({ done: 2, failed: 3 });
    // After the last cursor come later changes only.
    expect((await rows(id, before.cursor)).map((row) => row.id)).toEqual(["missing"]);
  });

  it("waits where another scan would exceed its limit, and continues when the limit is raised", {
    timeout: 120_000,
  }, async () => {
    const keys = await put("spend", 4);
    const { id } = await open({ limits: { spendLimitUsd: 1e-9, concurrency: 3 }, rows: rowsOf(keys) });
    const first = await until(async () => {
      const status = await show(id);
      return status.state === "paused" && status.rows.running === 0 ? status : undefined;
    }, 60);
    // Without a forecast, one scan starts alone.
    expect(first.rows).toMatchObject({ done: 1, pending: 3, failed: 0 });
    expect(first.reason).toMatch(/raise spendLimitUsd above 1e-9/);
    const one = first.spentUsd;
    expect(one).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect((await show(id)).rows).toEqual(first.rows);
    await ask("PATCH", `/${id}`, { spendLimitUsd: 3.5 * one });
    const second = await until(async () => {
      const status = await show(id);
      return status.state === "paused" && status.rows.running === 0 ? status : undefined;
    }, 60);
    expect(second.rows).toMatchObject({ done: 3, pending: 1 });
    expect(second.spentUsd).toBeLessThanOrEqual(3.5 * one);
    await ask("PATCH", `/${id}`, { spendLimitUsd: null });
    expect((await ended(id)).rows.done).toBe(4);
  });

  it("can be paused and cancelled, and continues with the rest", { timeout: 300_000 }, async () => {
    const big = writeMadeSlide(join(directory, "big.tiff"), { width: 2600, height: 2100 }).path;
    const keys = await put("stopped", 3, big);
    const { id } = await open({ limits: { concurrency: 1 }, rows: rowsOf(keys) });
    const running = () =>
      until(async () => {
        const row = (await rows(id)).find(({ state, job }) => state === "running" && job);
        return row && (await service.job(row.job!)).shards ? row : undefined;
      });
    await running();
    expect((await ask<RemoteCohortStatus>("POST", `/${id}/pause`)).state).toBe("paused");
    const paused = await until(async () => {
      const status = await show(id);
      return status.rows.running === 0 ? status : undefined;
    }, 60);
    expect(paused).toMatchObject({ state: "paused", rows: { done: 1, pending: 2 } });
    await ask("POST", `/${id}/resume`);
    const { job } = await running();
    await ask("POST", `/${id}/cancel`);
    expect(await service.ended(job!)).toMatchObject({
      state: "cancelled",
      error: { code: "cohort_cancelled" },
    });
    const cancelled = await until(async () => {
      const status = await show(id);
      return status.rows.running === 0 ? status : undefined;
    });
    expect(cancelled).toMatchObject({ state: "cancelled", rows: { done: 1, pending: 2 } });
    // The cancelled cohort paid for finished tasks.
    expect(cancelled.spentUsd).toBeGreaterThan(paused.spentUsd);
    await ask("POST", `/${id}/resume`);
    const busy = await ask<{ error: { message: string } }>("DELETE", `/${id}`, undefined, [409]);
    expect(busy.error.message).toContain("cancel it first");
    expect((await ended(id)).rows).toMatchObject({ done: 3, failed: 0 });
    const jobs = (await rows(id)).map((row) => row.job!);
    expect((await service.fetch(`/v1/cohorts/${id}`, { method: "DELETE" }, SUBMIT_TOKEN)).status).toBe(403);
    expect((await service.fetch(`/v1/cohorts/${id}`, { method: "DELETE" })).status).toBe(204);
    for (const path of [`/${id}`, `/${id}/rows`]) await ask("GET", path, undefined, [404]);
    // Its jobs still exist.
    for (const job of jobs) expect((await service.job(job)).state).toBe("done");
    const anew = await open({ id, limits: { concurrency: 1 }, rows: rowsOf(keys.slice(0, 1)) });
    expect(anew).toMatchObject({ id, spentUsd: 0, rows: { total: 1 } });
    expect((await ended(id)).rows).toMatchObject({ total: 1, done: 1 });
  });

  it("starts with the largest scan on request, and accepts rows while it runs", {
    timeout: 120_000,
  }, async () => {
    const small = await put("sizes", 1);
    const large = await put("sizes-large", 1, join(directory, "big.tiff"));
    const [first, second] = [small[0]!, large[0]!];
    const { id } = await open({
      limits: { concurrency: 1, largestFirst: true },
      rows: [
        { id: "small", source: `${BUCKET}/${first}` },
        { id: "large", source: `${BUCKET}/${second}` },
      ],
    });
    const begun = await until(async () => (await rows(id)).find((row) => row.state !== "pending")?.id);
    expect(begun).toBe("large");
    const [more] = await put("more", 1);
    const added = { rows: [{ id: "more", source: `${BUCKET}/${more}` }] };
    await ask("POST", `/${id}/rows`, added);
    await ask("POST", `/${id}/rows`, added);
    const end = await ended(id);
    expect(end.rows).toMatchObject({ total: 3, done: 3 });
    // The same id with another scan gives another job.
    const before = (await rows(id)).find((row) => row.id === "more")!.job;
    await ask("POST", `/${id}/rows`, { rows: [{ id: "more", source: `${BUCKET}/${first}` }] });
    expect((await ended(id)).rows).toMatchObject({ total: 3, done: 3 });
    expect((await rows(id)).find((row) => row.id === "more")!.job).not.toBe(before);
  });

  it("restarts its job when another cohort cancels it", { timeout: 300_000 }, async () => {
    const [key] = await put("shared", 1, join(directory, "big.tiff"));
    const mine = await open({ rows: rowsOf([key!]) });
    const theirs = await (async () => {
      await until(async () => (await rows(mine.id))[0]!.job);
      return open({ rows: rowsOf([key!]) });
    })();
    await until(async () => (await rows(theirs.id))[0]!.job);
    await ask("POST", `/${mine.id}/cancel`);
    expect((await ended(theirs.id)).rows).toMatchObject({ done: 1, failed: 0 });
    expect(await show(mine.id)).toMatchObject({ state: "cancelled", rows: { pending: 1 } });
  });
});

describe("a scan that is uploaded for a cohort", () => {
  it("starts no job, even if a rule matches", async () => {
    const silent = await service.upload(slide, "silent.tiff", null);
    const refusal = await until(async () => {
      const upload = (await (await service.fetch(`/v1/uploads/${silent.id}`)).json()) as {
        refusal?: string;
        job?: string;
      };
      expect(upload.job).toBeUndefined();
      return upload.refusal;
    });
    expect(refusal).toContain("asks for no job");
    expect(await service.jobOf((await service.upload(slide, "ruled.tiff")).id)).toMatch(/^[0-9a-f]{32}$/);
  });
});

describe("the routes of cohorts", () => {
  it("find a cohort by its id, and reject another with that id", async () => {
    const id = "a".repeat(32);
    const asked = { id, job: { mpp: 0.5 }, limits: { concurrency: 3 } };
    expect(await open(asked)).toMatchObject({ id, state: "done", rows: { total: 0 } });
    expect(await open({ ...asked, limits: { concurrency: 4 } })).toMatchObject({
      limits: { concurrency: 3 },
    });
    const other = await ask<{ error: { code: string } }>("POST", "", { id, job: { mpp: 0.25 } }, [409]);
    expect(other.error.code).toBe("cohort_differs");
  });

  it("reject invalid requests, and name the field", async () => {
    const refused = (body: unknown, path = "") =>
      ask<{ error: { code: string; message: string } }>("POST", path, body, [413, 422]);
    const row = { id: "x", source: `${BUCKET}/x.tiff` };
    expect((await refused({ job: { model: "other" } })).error.code).toBe("model_not_served");
    expect((await refused({ limits: { concurrency: 0 } })).error.message).toContain("limits.concurrency");
    expect((await refused({ limits: { spendLimitUsd: -1 } })).error.message).toContain("spendLimitUsd");
    expect((await refused({ rows: [{ ...row, id: "a/b" }] })).error.message).toContain("rows.0.id");
    expect((await refused({ rows: [{ ...row, mask: "m.png" }] })).error.message).toContain("rows.0");
    expect((await refused({ rows: new Array(1001).fill(row) })).error.message).toContain("rows");
    expect((await refused({ rows: [row, row] })).error.message).toContain("no id twice");
    const { id } = await open({});
    const long = { rows: new Array(600).fill({ ...row, source: `${BUCKET}/${"x".repeat(2000)}` }) };
    expect((await refused(long, `/${id}/rows`)).error.code).toBe("too_large");
    const answer = await service.fetch(`/v1/cohorts/${id}/rows?cursor=x`);
    expect(answer.status).toBe(422);
  });

  it("list every cohort once, newest first, over pages and by state", { timeout: 120_000 }, async () => {
    const opened: string[] = [];
    for (let i = 0; i < 3; i++) {
      const { id } = await open({});
      opened.unshift(id);
      // Times have milliseconds.
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    // The same request again is the same cohort.
    await open({ id: opened[2] });
    const listed: RemoteCohortStatus[] = [];
    let cursor = "";
    do {
      const page: RemoteCohortPage = await ask("GET", `?limit=2${cursor}`);
      expect(page.cohorts.length).toBeLessThanOrEqual(2);
      listed.push(...page.cohorts);
      cursor = page.cursor === undefined ? "" : `&cursor=${page.cursor}`;
    } while (cursor !== "");
    const ids = listed.map(({ id }) => id);
    expect(ids.slice(0, 3)).toEqual(opened);
    expect(new Set(ids).size).toBe(ids.length);
    await ask("POST", `/${opened[1]}/cancel`);
    const cancelled: RemoteCohortPage = await ask("GET", "?state=cancelled");
    expect(cancelled.cohorts.map(({ id }) => id)).toContain(opened[1]);
    expect(new Set(cancelled.cohorts.map(({ state }) => state))).toEqual(new Set(["cancelled"]));
    expect((await service.fetch(`/v1/cohorts/${opened[0]}`, { method: "DELETE" })).status).toBe(204);
    const left: RemoteCohortPage = await ask("GET", "");
    expect(left.cohorts.map(({ id }) => id)).not.toContain(opened[0]);
    for (const query of ["limit=0", "cursor=x", "state=nothing"])
      expect([query, (await service.fetch(`/v1/cohorts?${query}`)).status]).toEqual([query, 422]);
    expect((await service.fetch("/v1/cohorts", {}, READ_TOKEN)).status).toBe(200);
    expect((await service.fetch("/v1/cohorts", {}, "no-token-of-this-service")).status).toBe(401);
  });

  it("give 404 for unknown cohorts, and no access without the scope", async () => {
    const none = "b".repeat(32);
    const calls: [string, string, unknown?][] = [
      ["GET", `/${none}`],
      ["GET", `/${none}/rows`],
      ["POST", `/${none}/rows`, { rows: [{ id: "x", source: "r2://b/x" }] }],
      ["PATCH", `/${none}`, { concurrency: 3 }],
      ["POST", `/${none}/retry`, {}],
      ["POST", `/${none}/pause`],
      ["POST", `/${none}/resume`],
      ["POST", `/${none}/cancel`],
      ["DELETE", `/${none}`],
    ];
    for (const [method, path, body] of calls) {
      expect((await ask<{ error: { code: string } }>(method, path, body, [404])).error.code).toBe(
        "cohort_missing",
      );
      const init = { method, body: JSON.stringify(body) };
      const looking = await service.fetch(`/v1/cohorts${path}`, init, READ_TOKEN);
      expect(looking.status, path).toBe(method === "GET" ? 404 : 403);
      expect((await service.fetch(`/v1/cohorts${path}`, init, "no-token-of-this-service")).status).toBe(401);
    }
    for (const [token, status] of [
      [READ_TOKEN, 403],
      ["no-token-of-this-service", 401],
    ] as const)
      expect((await service.post("/v1/cohorts", {}, token)).status).toBe(status);
    const document = (await (await service.fetch("/v1/openapi.json")).json()) as { paths: object };
    expect(Object.keys(document.paths).filter((path) => path.startsWith("/v1/cohorts"))).toHaveLength(7);
  });

  it("accept no more scans than a cohort may have", { timeout: 300_000 }, async () => {
    const { id } = await open({ limits: { concurrency: 1 } });
    await ask("POST", `/${id}/pause`);
    const row = (i: number) => ({ id: `r${i}`, source: `${BUCKET}/none-${i}.tiff` });
    for (let from = 0; from < 20_000; from += 1000)
      await ask("POST", `/${id}/rows`, { rows: Array.from({ length: 1000 }, (_, i) => row(from + i)) });
    const full = await ask<{ error: { code: string } }>(
      "POST",
      `/${id}/rows`,
      { rows: [row(0), row(20_000)] },
      [409],
    );
    expect(full.error.code).toBe("cohort_full");
    expect((await show(id)).rows).toMatchObject({ total: 20_000, pending: 20_000 });
    expect(new Set((await rows(id)).map((r) => r.id)).size).toBe(20_000);
  });
});
