import { createHash, randomBytes } from "node:crypto";
import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { folderFileKey, isFolderFile } from "../../../src/edge/jobs/uploads/folder-plan.ts";
import { prefixEtag } from "../../../src/storage/prefix-etag.ts";
import { type Bundle, bundleWorker } from "../run-worker.ts";
import { runTransferWorker } from "./transfer-worker/run.ts";

let bundle: Bundle;
let worker: Miniflare;
let url: URL;
beforeAll(async () => {
  bundle = await bundleWorker("test/edge/jobs/transfer-worker/wrangler.toml");
  worker = await runTransferWorker(bundle);
  url = await worker.ready;
});
afterAll(async () => {
  await worker?.dispose();
  await bundle?.remove();
});

async function ask(method: string, path: string, body?: unknown) {
  const init = { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const response = await fetch(new URL(path, url), body === undefined ? { method } : init);
  const text = await response.text();
  // biome-ignore lint/suspicious/noExplicitAny: tests check the fields they read
  return { status: response.status, body: (/^[{[]/.test(text) ? JSON.parse(text) : undefined) as any };
}

const md5 = (bytes: Uint8Array) => createHash("md5").update(bytes).digest();

async function put(
  id: string,
  path: string,
  bytes: Uint8Array,
  sum: string | undefined = md5(bytes).toString("base64"),
) {
  const response = await fetch(new URL(`v1/folders/${id}/files/${path}`, url), {
    method: "PUT",
    body: bytes as Uint8Array<ArrayBuffer>,
    headers: sum === undefined ? {} : { "Content-MD5": sum },
  });
  const text = await response.text();
  // A path that leaves the folder is another route, whose response is not JSON.
  return { status: response.status, code: text.startsWith("{") ? JSON.parse(text).error.code : undefined };
}

const folderEtag = (files: Record<string, Uint8Array>) =>
  prefixEtag(
    Object.entries(files).map(([key, bytes]) => ({
      key,
      etag: md5(bytes).toString("hex"),
      byteLength: bytes.length,
    })),
  );

const begin = async (name = "case 1") =>
  (await ask("POST", "v1/folders", { name })).body as { id: string; source: string };

describe("a folder", () => {
  test("is uploaded file by file, and its job starts when the etag of all files matches", async () => {
    const { id, source } = await begin();
    expect(source).toBe(`r2://scans/uploads/${id}/case 1`);
    const files = { "a.dcm": randomBytes(5000), "b/ü #?%.dcm": randomBytes(7), empty: new Uint8Array(0) };
    const etag = await folderEtag(files);
    const complete = () =>
      ask("POST", `v1/folders/${id}/complete`, { name: "case 1", etag, request: { series: 2 } });
    for (const [path, bytes] of Object.entries(files)) {
      expect(await complete()).toMatchObject({ status: 409, body: { error: { code: "files_missing" } } });
      const encoded = `case 1/${path}`.split("/").map(encodeURIComponent).join("/");
      expect(await put(id, encoded, bytes)).toEqual({ status: 204, code: undefined });
      // A retry after a lost response.
      expect((await put(id, encoded, bytes)).status).toBe(204);
    }
    const listed = (await ask("GET", `v1/folders/${id}/files`)).body.files;
    expect(listed).toEqual(
      Object.entries(files)
        .map(([path, bytes]) => ({
          path: `case 1/${path}`,
          byteLength: bytes.length,
          etag: md5(bytes).toString("hex"),
        }))
        .sort((a, b) => (a.path < b.path ? -1 : 1)),
    );
    for (let times = 0; times < 2; times++) {
      expect(await complete()).toEqual({
        status: 200,
        body: { source, job: expect.stringMatching(/^[0-9a-f]{32}$/) },
      });
    }
    const started = (await ask("GET", "test/started")).body as { source: string; request: object }[];
    expect(started.filter((job) => job.source === source)).toMatchObject([
      { request: { series: 2, settings: { precision: "u8" } } },
      {},
    ]);
  });

  test("a file is written once, and only if its MD5 matches", async () => {
    const { id } = await begin();
    const bytes = randomBytes(3000);
    const other = randomBytes(3000);
    expect(await put(id, "case%201/a", bytes, md5(other).toString("base64"))).toEqual({
      status: 422,
      code: "wrong_md5",
    });
    for (const sum of ["", "x", md5(bytes).toString("hex")])
      expect(await put(id, "case%201/a", bytes, sum)).toEqual({ status: 422, code: "wrong_md5" });
    expect((await ask("GET", `v1/folders/${id}/files`)).body.files).toEqual([]);
    expect((await put(id, "case%201/a", bytes)).status).toBe(204);
    expect(await put(id, "case%201/a", other)).toEqual({ status: 409, code: "file_exists" });
    const object = await (await worker.getR2Bucket("SCANS")).get(`uploads/${id}/case 1/a`);
    expect(Buffer.from(await object!.arrayBuffer()).equals(bytes)).toBe(true);
  });

  test("rejects a file that is too large before storing it", async () => {
    const { id } = await begin();
    const large = new Uint8Array(60 * 2 ** 20 + 1);
    expect(await put(id, "case%201/a", large)).toEqual({ status: 413, code: "too_large" });
  });

  test.each([
    "a",
    "case%201",
    "case%201/",
    "..%2f/a",
    "case%201/../../x/a",
    "case%201/%2e%2e/a",
    "case%201/b%2fc",
    "case%201//a",
    "%20x/a",
    "case%201/a%00",
    "case%201/a%5cb",
  ])("rejects the path %s", async (path) => {
    const { id } = await begin();
    const { status } = await put(id, path, new Uint8Array(3));
    expect([404, 422]).toContain(status);
    const { objects } = await (await worker.getR2Bucket("SCANS")).list({ prefix: `uploads/${id}` });
    expect(objects).toEqual([]);
  });

  test.each(["", "..", "a/b", "a\\b", "a\nb", "x".repeat(300)])("%j names none", async (name) => {
    expect((await ask("POST", "v1/folders", { name })).status).toBe(422);
  });

  test("rejects invalid ids", async () => {
    for (const id of ["0", "..", `${"0".repeat(31)}G`]) {
      expect((await ask("GET", `v1/folders/${id}/files`)).status).toBeGreaterThanOrEqual(404);
      expect((await put(id, "case/a", new Uint8Array(1))).status).toBe(404);
    }
  });
});

test("its keys differ from those of single uploads", () => {
  const id = "0".repeat(32);
  expect(folderFileKey(id, "case/1.dcm")).toBe(`uploads/${id}/case/1.dcm`);
  expect(isFolderFile(`uploads/${id}/case/1.dcm`)).toBe(true);
  for (const key of [
    `uploads/${id}/1.dcm`,
    `uploads/x/case/1.dcm`,
    `a/uploads/${id}/case/1.dcm`,
    "case/1.dcm",
  ])
    expect(isFolderFile(key)).toBe(false);
});
