import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Miniflare } from "miniflare";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Bundle, bundleWorker } from "../run-worker.ts";
import { runTransferWorker } from "./transfer-worker/run.ts";

const MIB = 2 ** 20;
const PART = 5 * MIB;

let bundle: Bundle;
let worker: Miniflare;
let url: URL;
const others: { miniflare: Miniflare; directory?: string }[] = [];

beforeAll(async () => {
  bundle = await bundleWorker("test/edge/jobs/transfer-worker/wrangler.toml");
  worker = await runTransferWorker(bundle);
  url = await worker.ready;
});
afterEach(async () => {
  for (const { miniflare, directory } of others.splice(0)) {
    await miniflare.dispose();
    if (directory) await rm(directory, { recursive: true, force: true });
  }
});
afterAll(async () => {
  await worker?.dispose();
  await bundle?.remove();
});

interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests check the fields they read
  body: any;
  headers: Headers;
}

async function ask(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
  base = url,
): Promise<Answer> {
  const init: RequestInit = { method, headers };
  if (body instanceof Uint8Array) init.body = body as Uint8Array<ArrayBuffer>;
  else if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "Content-Type": "application/json", ...headers };
  }
  const response = await fetch(new URL(path, base), init);
  const text = await response.text();
  return {
    status: response.status,
    body: text === "" ? undefined : JSON.parse(text),
    headers: response.headers,
  };
}

function expectProblem(answer: Answer, status: number, code: string, sentence: RegExp): void {
  expect(answer.body).toMatchObject({ error: { code } });
  expect(answer.body.error.message).toMatch(sentence);
  expect(answer.status).toBe(status);
}

const begin = (byteLength: number, more: object = {}, base = url) =>
  ask("POST", "/v1/uploads", { name: "slide.svs", byteLength, ...more }, {}, base);

const slicePart = (file: Uint8Array, n: number) => file.subarray((n - 1) * PART, n * PART);

async function sendAll(id: string, file: Uint8Array, parts: Iterable<number>, base = url): Promise<void> {
  for (const n of parts) {
    const { status, body } = await ask("PUT", `/v1/uploads/${id}/parts/${n}`, slicePart(file, n), {}, base);
    expect(body).toEqual({ n, etag: expect.any(String) });
    expect(status).toBe(200);
  }
}

async function scanHash(miniflare: Miniflare, key: string): Promise<{ hash: string; metadata: unknown }> {
  const object = await (await miniflare.getR2Bucket("SCANS")).get(key);
  const bytes = new Uint8Array(await object!.arrayBuffer());
  return { hash: sha256(bytes), metadata: object!.customMetadata };
}
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

describe("an upload", () => {
  it("becomes an object from parts in any order, with the job request in its metadata", async () => {
    const file = randomBytes(2 * PART + 12_345);
    const request = { model: "nuclei", mpp: 0.25, settings: { level: 1 }, callback: "https://example.org/ü" };
    const { status, body: upload } = await begin(file.length, { name: " größe 1.svs ", request });
    expect(status).toBe(201);
    expect(upload).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{32}$/),
      state: "open",
      bucket: "scans",
      key: `uploads/${upload.id}/größe 1.svs`,
      byteLength: file.length,
      partBytes: PART,
      parts: 3,
      done: [],
      presigned: false,
    });
    await sendAll(upload.id, file, [3, 1]);
    expect((await ask("GET", `/v1/uploads/${upload.id}`)).body.done).toEqual([1, 3]);

    const early = await ask("POST", `/v1/uploads/${upload.id}/complete`);
    expectProblem(early, 409, "parts_missing", /the first of them 2; send them/);

    await sendAll(upload.id, file, [2]);
    const done = await ask("POST", `/v1/uploads/${upload.id}/complete`);
    const etag = expect.any(String);
    expect(done.body).toEqual({ source: `r2://scans/${upload.key}`, etag, byteLength: file.length });
    expect(done.status).toBe(200);
    const { hash, metadata } = await scanHash(worker, upload.key);
    expect(hash).toBe(sha256(file));
    const carried = JSON.parse((metadata as Record<string, string>)["tilewright-request"]!);
    expect(carried).toMatchObject(request);

    // Repeated and concurrent requests get the same response, and the event is published once.
    const again = await Promise.all([1, 2, 3].map(() => ask("POST", `/v1/uploads/${upload.id}/complete`)));
    for (const answer of again) expect(answer.body).toEqual(done.body);
    const told = (await ask("GET", "/test/told")).body.filter((s: { key: string }) => s.key === upload.key);
    expect(told).toEqual([
      { bucket: "scans", key: upload.key, etag: done.body.etag, byteLength: file.length },
    ]);
    expect((await ask("GET", `/v1/uploads/${upload.id}`)).body).toMatchObject({
      state: "complete",
      done: [1, 2, 3],
      source: done.body.source,
      etag: done.body.etag,
    });
    expectProblem(
      await ask("DELETE", `/v1/uploads/${upload.id}`),
      409,
      "complete",
      /the upload is complete already/,
    );
    const late = await ask("PUT", `/v1/uploads/${upload.id}/parts/1`, slicePart(file, 1));
    expectProblem(late, 409, "complete", /the upload is complete already/);
  });

  it("is completed once by concurrent requests", async () => {
    const file = randomBytes(1000);
    const { id, key } = (await begin(file.length)).body;
    await sendAll(id, file, [1]);
    const answers = await Promise.all([1, 2, 3, 4].map(() => ask("POST", `/v1/uploads/${id}/complete`)));
    for (const { status, body } of answers) {
      expect(status).toBe(200);
      expect(body).toEqual(answers[0]!.body);
    }
    expect((await scanHash(worker, key)).hash).toBe(sha256(file));
  });

  it("continues after a restart of the service", async () => {
    const directory = await mkdtemp(join(tmpdir(), "tilewright-uploads-"));
    const file = randomBytes(2 * PART + 1);
    const first = await runTransferWorker(bundle, { directory });
    const { id, key } = (await begin(file.length, {}, await first.ready)).body;
    await sendAll(id, file, [2], await first.ready);
    await first.dispose();

    const second = await runTransferWorker(bundle, { directory });
    others.push({ miniflare: second, directory });
    const base = await second.ready;
    expect((await ask("GET", `/v1/uploads/${id}`, undefined, {}, base)).body.done).toEqual([2]);
    await sendAll(id, file, [1, 3], base);
    expect((await ask("POST", `/v1/uploads/${id}/complete`, undefined, {}, base)).status).toBe(200);
    expect((await scanHash(second, key)).hash).toBe(sha256(file));
  });

  it("replaces a part that is sent again", async () => {
    const file = randomBytes(PART + 10);
    const { id, key } = (await begin(file.length)).body;
    await sendAll(id, randomBytes(file.length), [1, 2]);
    await sendAll(id, file, [2, 1]);
    expect((await ask("POST", `/v1/uploads/${id}/complete`)).status).toBe(200);
    expect((await scanHash(worker, key)).hash).toBe(sha256(file));
  });

  it("survives concurrent requests with the same part", async () => {
    const file = randomBytes(PART + 10);
    const { id, key } = (await begin(file.length)).body;
    const answers = await Promise.all(
      [1, 1, 1, 2, 2].map((n) => ask("PUT", `/v1/uploads/${id}/parts/${n}`, slicePart(file, n))),
    );
    for (const answer of answers) {
      if (answer.status !== 200)
        expectProblem(answer, 409, "part_overtaken", /sent twice at once; send it again/);
    }
    const { done } = (await ask("GET", `/v1/uploads/${id}`)).body;
    await sendAll(
      id,
      file,
      [1, 2].filter((n) => !done.includes(n)),
    );
    expect((await ask("POST", `/v1/uploads/${id}/complete`)).status).toBe(200);
    expect((await scanHash(worker, key)).hash).toBe(sha256(file));
  });

  it("counts an incomplete part as missing", async () => {
    const { id } = (await begin(PART + 10)).body;
    await new Promise<void>((resolve, reject) => {
      const socket = connect(Number(url.port), url.hostname, () => {
        socket.write(
          `PUT /v1/uploads/${id}/parts/1 HTTP/1.1\r\nHost: x\r\nContent-Length: ${PART}\r\n\r\n${"x".repeat(1000)}`,
          () => socket.destroy(),
        );
      });
      socket.on("close", () => resolve()).on("error", reject);
    });
    expect((await ask("GET", `/v1/uploads/${id}`)).body.done).toEqual([]);
  });

  it("is deleted with its parts when aborted", async () => {
    const { id, key } = (await begin(PART + 10)).body;
    await sendAll(id, randomBytes(PART + 10), [1]);
    expect((await ask("DELETE", `/v1/uploads/${id}`)).status).toBe(204);
    for (const [method, path, body] of [
      ["GET", "", undefined],
      ["PUT", "/parts/1", randomBytes(PART)],
      ["POST", "/complete", undefined],
      ["DELETE", "", undefined],
    ] as const) {
      expectProblem(await ask(method, `/v1/uploads/${id}${path}`, body), 404, "not_found", /no such upload/);
    }
    expect(await (await worker.getR2Bucket("SCANS")).head(key)).toBeNull();
  });

  it("expires without activity, and not with activity", async () => {
    const miniflare = await runTransferWorker(bundle, { bindings: { IDLE_MS: "1500" } });
    others.push({ miniflare });
    const base = await miniflare.ready;
    const [idle, busy] = [
      (await begin(PART + 10, {}, base)).body.id,
      (await begin(PART + 10, {}, base)).body.id,
    ];
    const file = randomBytes(PART + 10);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await sendAll(busy, file, [1], base);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect((await ask("GET", `/v1/uploads/${idle}`, undefined, {}, base)).status).toBe(404);
    expect((await ask("GET", `/v1/uploads/${busy}`, undefined, {}, base)).body.done).toEqual([1]);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect((await ask("GET", `/v1/uploads/${busy}`, undefined, {}, base)).status).toBe(404);
  });

  it("reports its job: at once, later, or why there is none", async () => {
    for (const [when, tells] of [
      ["at once", { job: "0123456789abcdef0123456789abcdef" }],
      ["later", { job: "0123456789abcdef0123456789abcdef" }],
      ["refused", { refusal: "the model is not there" }],
    ] as const) {
      const miniflare = await runTransferWorker(bundle, { bindings: { JOB: when } });
      others.push({ miniflare });
      const base = await miniflare.ready;
      const { id } = (await begin(10, { request: {} }, base)).body;
      await sendAll(id, randomBytes(10), [1], base);
      const done = await ask("POST", `/v1/uploads/${id}/complete`, undefined, {}, base);
      if (when === "at once") expect(done.body).toMatchObject(tells);
      expect((await ask("GET", `/v1/uploads/${id}`, undefined, {}, base)).body).toMatchObject(tells);
    }
  });

  it.each([
    ["before", [503]],
    ["after", []],
    ["parts", [409]],
  ] as const)("is completed in the end when completion fails %s", async (when, refusals) => {
    const miniflare = await runTransferWorker(bundle, { bindings: { COMPLETION_FAILS: when } });
    others.push({ miniflare });
    const base = await miniflare.ready;
    const file = randomBytes(PART + 10);
    const { id, key } = (await begin(file.length, {}, base)).body;
    await sendAll(id, file, [1, 2], base);
    const complete = () => ask("POST", `/v1/uploads/${id}/complete`, undefined, {}, base);
    for (const status of refusals) expect((await complete()).status).toBe(status);
    if (when === "parts") {
      expect((await ask("GET", `/v1/uploads/${id}`, undefined, {}, base)).body.done).toEqual([]);
      await sendAll(id, file, [1, 2], base);
    }
    expect(await complete()).toMatchObject({ status: 200, body: { byteLength: file.length } });
    expect((await scanHash(miniflare, key)).hash).toBe(sha256(file));
    expect((await ask("GET", "/test/told", undefined, {}, base)).body).toHaveLength(1);
  });

  it("is published in the end, even if the first attempt fails", async () => {
    const { id, key } = (await begin(10)).body;
    await sendAll(id, randomBytes(10), [1]);
    await ask("POST", "/test/fail-next");
    expectProblem(await ask("POST", `/v1/uploads/${id}/complete`), 503, "queue_unavailable", /try again/);
    expect((await ask("POST", `/v1/uploads/${id}/complete`)).status).toBe(200);
    const told = (await ask("GET", "/test/told")).body.filter((s: { key: string }) => s.key === key);
    expect(told).toHaveLength(1);
  });
});

describe("rejects with a sentence", () => {
  it.each<[string, object, number, string, RegExp]>([
    ["a folder in the name", { name: "a/b.svs" }, 422, "bad_name", /plain name of a file/],
    ["a way out", { name: ".." }, 422, "bad_name", /plain name of a file/],
    ["a line break", { name: "a\nb" }, 422, "bad_name", /plain name of a file/],
    ["a name too long", { name: "ü".repeat(128) }, 422, "bad_name", /at most 255 bytes/],
    ["no bytes", { byteLength: 0 }, 422, "bad_request", /byteLength/],
    ["half a byte", { byteLength: 1.5 }, 422, "bad_request", /byteLength/],
    ["a file too large", { byteLength: 301 * 2 ** 30 }, 413, "too_large", /at most 322122547200 are allowed/],
    ["an unknown field", { size: 1 }, 422, "bad_request", /size/],
    ["an unknown field in the job", { request: { models: "x" } }, 422, "bad_request", /request: .*models/],
    ["a source of its own", { request: { source: "r2://a/b" } }, 422, "bad_request", /source/],
    [
      "presigned parts where there are none",
      { presigned: true },
      422,
      "not_presigned",
      /send the parts to it/,
    ],
    [
      "a job that the object cannot carry",
      { request: { callback: `https://example.org/${"a".repeat(1950)}` } },
      422,
      "request_too_large",
      /upload without it and post the job after/,
    ],
    ["a long body", { name: "x".repeat(20_000) }, 413, "too_large", /at most 16384 bytes/],
  ])("%s", async (_, change, status, code, sentence) => {
    expectProblem(await begin(10, change), status, code, sentence);
  });

  it("a body that is not JSON, or empty", async () => {
    for (const body of ["{", ""]) {
      const response = await fetch(new URL("/v1/uploads", url), {
        method: "POST",
        body,
        headers: { "Content-Type": "application/json" },
      });
      expect([400, 422]).toContain(response.status);
      expect(((await response.json()) as { error: { message: string } }).error.message).toMatch(/\w{4}/);
    }
  });

  it("parts with a wrong length, number, or upload", async () => {
    const { id } = (await begin(PART + 10)).body;
    const put = (n: number | string, bytes: number, upload = id) =>
      ask("PUT", `/v1/uploads/${upload}/parts/${n}`, randomBytes(bytes));
    expectProblem(
      await put(1, PART - 1),
      422,
      "wrong_length",
      /part 1 has 5242880 bytes, the request states 5242879/,
    );
    expectProblem(await put(1, PART + 1), 422, "wrong_length", /states 5242881/);
    expectProblem(await put(2, 11), 422, "wrong_length", /part 2 has 10 bytes/);
    expectProblem(await put(0, 10), 404, "no_such_part", /parts 1 to 2, not 0/);
    expectProblem(await put(3, 10), 404, "no_such_part", /not 3/);
    expectProblem(await put("1e1", 10), 422, "bad_request", /number of a part/);
    expectProblem(await put(1, 10, "f".repeat(32)), 404, "not_found", /no such upload/);
    expectProblem(await put(1, 10, id.toUpperCase().padEnd(33, "0")), 404, "not_found", /no such upload/);
    expect((await ask("GET", `/v1/uploads/${id}`)).body.done).toEqual([]);
  });

  it("a part without a stated length", async () => {
    const { id } = (await begin(10)).body;
    const response = await fetch(new URL(`/v1/uploads/${id}/parts/1`, url), {
      method: "PUT",
      body: new Blob([randomBytes(10)]).stream(),
      duplex: "half",
    } as RequestInit);
    expect(response.status).toBe(411);
  });
});

it("large files have parts that a Worker accepts", async () => {
  for (const byteLength of [1, PART, PART + 1, 3 * 2 ** 30, 300 * 2 ** 30]) {
    const { partBytes, parts } = (await begin(byteLength)).body;
    expect(partBytes % PART).toBe(0);
    expect(partBytes).toBeLessThanOrEqual(64 * MIB);
    expect(parts).toBe(Math.ceil(byteLength / partBytes));
    expect(parts).toBeLessThanOrEqual(10_000);
  }
});

it("every route is in the OpenAPI document", async () => {
  const { paths } = (await ask("GET", "/test/openapi")).body;
  expect(
    Object.fromEntries(Object.entries(paths).map(([path, item]) => [path, Object.keys(item as object)])),
  ).toEqual({
    "/v1/uploads": ["post"],
    "/v1/uploads/{id}": ["get", "delete"],
    "/v1/uploads/{id}/parts/{n}": ["put"],
    "/v1/uploads/{id}/complete": ["post"],
    "/v1/folders": ["post"],
    "/v1/folders/{id}/files": ["get"],
    "/v1/folders/{id}/files/{path}": ["put"],
    "/v1/folders/{id}/complete": ["post"],
    "/v1/jobs/{id}/outputs": ["get"],
    "/v1/jobs/{id}/outputs/{path}": ["get"],
  });
});
