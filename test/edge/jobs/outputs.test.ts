import fc from "fast-check";
import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { byteRange, namesEtag } from "../../../src/edge/jobs/outputs/byte-range.ts";
import { outputPath } from "../../../src/edge/jobs/outputs/output-path.ts";
import { type Bundle, bundleWorker } from "../run-worker.ts";
import { runTransferWorker } from "./transfer-worker/run.ts";

const JOB = "0123456789abcdef0123456789abcdef";
const CHUNKS = 1003;

let bundle: Bundle;
let worker: Miniflare;
let url: URL;
const csv = Buffer.from("class,area\n".repeat(1000));

beforeAll(async () => {
  bundle = await bundleWorker("test/edge/jobs/transfer-worker/wrangler.toml");
  worker = await runTransferWorker(bundle);
  url = await worker.ready;
  const results = await worker.getR2Bucket("RESULTS");
  await results.put(`results/${JOB}/measurements.csv`, csv);
  await results.put(`results/${JOB}/run.json`, "{}");
  await results.put(`results/${JOB}/odd näme+%41.html`, "<script>");
  await results.put(`results/${JOB}/empty.csv`, "");
  await results.put(`results/${"f".repeat(32)}/secret.csv`, "not yours");
  await results.put("work/secret.csv", "not yours");
  for (let i = 0; i < CHUNKS; i += 100) {
    const some = Array.from({ length: Math.min(100, CHUNKS - i) }, (_, k) => i + k);
    await Promise.all(some.map((k) => results.put(`results/${JOB}/labels.ome.zarr/0/c/${k}`, `${k}`)));
  }
});
afterAll(async () => {
  await worker?.dispose();
  await bundle?.remove();
});

const get = (path: string, headers: Record<string, string> = {}, method = "GET") =>
  fetch(new URL(`/v1/jobs/${JOB}/outputs${path}`, url), { headers, method });

async function expectProblem(response: Response, status: number, sentence: RegExp): Promise<void> {
  expect(((await response.json()) as { error: { message: string } }).error.message).toMatch(sentence);
  expect(response.status).toBe(status);
}

describe("the listing", () => {
  it("returns every file, in pages", async () => {
    const names: string[] = [];
    let pages = 0;
    let cursor: string | undefined;
    do {
      const response = await get(cursor === undefined ? "" : `?cursor=${encodeURIComponent(cursor)}`);
      expect(response.status).toBe(200);
      const page = (await response.json()) as {
        files: { name: string; byteLength: number; etag: string }[];
        cursor?: string;
      };
      for (const file of page.files) {
        expect(Object.keys(file)).toEqual(["name", "byteLength", "etag"]);
        if (file.name === "measurements.csv") expect(file.byteLength).toBe(csv.length);
        names.push(file.name);
      }
      pages++;
      cursor = page.cursor;
    } while (cursor !== undefined);
    expect(pages).toBe(2);
    expect(names).toHaveLength(CHUNKS + 4);
    expect(names).toContain("labels.ome.zarr/0/c/1002");
    expect(new Set(names).size).toBe(names.length);
  });

  it("gives 404 for a job without results and for invalid ids", async () => {
    const list = (job: string) => fetch(new URL(`/v1/jobs/${job}/outputs`, url));
    await expectProblem(await list("e".repeat(32)), 404, /has no results, or none yet/);
    await expectProblem(await list("..%2fwork"), 404, /no such job/);
    await expectProblem(await list(JOB.toUpperCase()), 404, /no such job/);
    await expectProblem(await get(`?cursor=${"x".repeat(3000)}`), 422, /cursor/);
  });
});

describe("a file", () => {
  it("is sent whole, with its type", async () => {
    const response = await get("/measurements.csv");
    expect(Buffer.from(await response.arrayBuffer())).toEqual(csv);
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "text/csv; charset=utf-8",
      "content-length": String(csv.length),
      "accept-ranges": "bytes",
      etag: expect.stringMatching(/^".+"$/),
      "x-content-type-options": "nosniff",
    });
    expect(response.headers.has("content-disposition")).toBe(false);
  });

  it("is sent by range", async () => {
    const size = csv.length;
    for (const [range, start, end] of [
      ["bytes=0-0", 0, 1],
      ["bytes=100-199", 100, 200],
      [`bytes=${size - 5}-`, size - 5, size],
      ["bytes=-7", size - 7, size],
      [`bytes=10-${size * 2}`, 10, size],
    ] as const) {
      const response = await get("/measurements.csv", { Range: range });
      expect(response.status).toBe(206);
      expect(response.headers.get("Content-Range")).toBe(`bytes ${start}-${end - 1}/${size}`);
      expect(response.headers.get("Content-Length")).toBe(String(end - start));
      expect(Buffer.from(await response.arrayBuffer())).toEqual(csv.subarray(start, end));
    }
    const beyond = await get("/measurements.csv", { Range: `bytes=${size}-` });
    expect(beyond.headers.get("Content-Range")).toBe(`bytes */${size}`);
    await expectProblem(beyond, 416, /has 11000 bytes/);
    await expectProblem(await get("/empty.csv", { Range: "bytes=0-" }), 416, /has 0 bytes/);
    for (const range of ["bytes=0-1,4-5", "lines=1-2", "bytes=9-1", "bytes=-"]) {
      const response = await get("/measurements.csv", { Range: range });
      expect(response.status).toBe(200);
      expect((await response.arrayBuffer()).byteLength).toBe(size);
    }
  });

  it("is not sent for a matching If-None-Match, and sent whole for another If-Range", async () => {
    const etag = (await get("/measurements.csv", {}, "HEAD")).headers.get("ETag")!;
    for (const header of [etag, `"x", W/${etag}`, "*"]) {
      const response = await get("/measurements.csv", { "If-None-Match": header });
      expect(response.status).toBe(304);
      expect(await response.text()).toBe("");
    }
    expect((await get("/measurements.csv", { "If-None-Match": '"x"' })).status).toBe(200);
    expect((await get("/measurements.csv", { Range: "bytes=1-2", "If-Range": etag })).status).toBe(206);
    expect((await get("/measurements.csv", { Range: "bytes=1-2", "If-Range": '"x"' })).status).toBe(200);
  });

  it("is described by HEAD", async () => {
    const response = await get("/measurements.csv", {}, "HEAD");
    expect(response.status).toBe(200);
    expect(response.headers.get("Content-Length")).toBe(String(csv.length));
    expect(await response.text()).toBe("");
    expect((await get("/nothing.csv", {}, "HEAD")).status).toBe(404);
  });

  it("is sent from folders, with odd names and empty; active content is sent as a download", async () => {
    expect(await (await get("/labels.ome.zarr/0/c/17")).text()).toBe("17");
    const page = await get(`/${encodeURIComponent("odd näme+%41.html")}`);
    expect(await page.text()).toBe("<script>");
    expect(page.headers.get("Content-Type")).toBe("application/octet-stream");
    expect(page.headers.get("Content-Disposition")).toBe(
      "attachment; filename*=UTF-8''odd%20n%C3%A4me%2B%2541.html",
    );
    expect(page.headers.get("Content-Security-Policy")).toMatch(/^sandbox/);
    expect((await (await get("/empty.csv")).arrayBuffer()).byteLength).toBe(0);
  });

  it.each([
    "/nothing.csv",
    "/labels.ome.zarr",
    `/..%2f${"f".repeat(32)}%2fsecret.csv`,
    `/%2e%2e/${"f".repeat(32)}/secret.csv`,
    `/%252e%252e/${"f".repeat(32)}/secret.csv`,
    "/..%5c..%5cwork/secret.csv",
    "//work/secret.csv",
    "/a%00b",
    "/%zz",
    "/",
  ])("gives 404 for %s", async (path) => {
    const response = await get(path);
    expect(response.status).toBe(404);
    expect(await response.text()).not.toContain("not yours");
  });
});

describe("ranges, paths and etags", () => {
  it("a range is always part of the file", () => {
    const part = fc.option(fc.nat(200), { nil: "" });
    fc.assert(
      fc.property(part, part, fc.nat(100), (first, last, size) => {
        const range = byteRange(`bytes=${first}-${last}`, size);
        if (range === undefined || range === "unsatisfiable") return;
        expect(range.offset).toBeGreaterThanOrEqual(0);
        expect(range.length).toBeGreaterThan(0);
        expect(range.offset + range.length).toBeLessThanOrEqual(size);
        if (first !== "") expect(range.offset).toBe(first);
      }),
    );
  });

  it("a path is decoded once and stays in its folder", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary", minLength: 1 }), { minLength: 1 }), (segments) => {
        const encoded = segments.map(encodeURIComponent).join("/");
        const path = outputPath(encoded);
        if (path === undefined) return;
        expect(path).toBe(segments.join("/"));
        expect(new URL(`r:/results/job/${encoded}`).pathname).toMatch(/^\/results\/job\//);
        for (const segment of path.split("/")) expect(["", ".", ".."]).not.toContain(segment);
      }),
    );
  });

  it("etags are compared as a whole", () => {
    expect(namesEtag('"ab"', '"a"')).toBe(false);
    expect(namesEtag(undefined, '"a"')).toBe(false);
  });
});
