import { createHash, randomBytes } from "node:crypto";
import { GetObjectCommand } from "@aws-sdk/client-s3";
import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, expect, it } from "vitest";
import { runTransferWorker } from "../edge/jobs/transfer-worker/run.ts";
import { type Bundle, bundleWorker } from "../edge/run-worker.ts";
import { client, endpoint, makeBucket } from "./server.ts";

const PART = 5 * 2 ** 20;
const keys = {
  accessKeyId: process.env.AWS_ACCESS_KEY_ID!,
  secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY!,
  region: "us-east-1",
};

/** A bucket behind the S3 API only, and the Worker with its keys. */
let bundle: Bundle;
let worker: Miniflare;
let url: URL;
let bucket: string;

beforeAll(async () => {
  bucket = await makeBucket();
  bundle = await bundleWorker("test/edge/jobs/transfer-worker/wrangler.toml");
  worker = await runTransferWorker(bundle, {
    bindings: {
      SCANS_BUCKET: bucket,
      SCANS_S3_ENDPOINT: endpoint,
      SCANS_S3_KEYS: JSON.stringify(keys),
    },
  });
  url = await worker.ready;
});
afterAll(async () => {
  await worker?.dispose();
  await bundle?.remove();
});

// biome-ignore lint/suspicious/noExplicitAny: tests check the fields they read
async function ask(method: string, path: string, body?: unknown): Promise<{ status: number; body: any }> {
  const response = await fetch(new URL(path, url), {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
}
const put = (address: string, body: Uint8Array<ArrayBuffer>) => fetch(address, { method: "PUT", body });

it("parts go to the storage by presigned URLs, and are checked on completion", async () => {
  const file = randomBytes(2 * PART + 777);
  const name = "größe (1) & +.svs";
  const begun = await ask("POST", "/v1/uploads", {
    name,
    byteLength: file.length,
    presigned: true,
    request: { model: "nuclei" },
  });
  expect(begun.status).toBe(201);
  const { id, urls } = begun.body;
  expect(urls.map((u: { n: number }) => u.n)).toEqual([1, 2, 3]);
  for (const { url: address } of urls) {
    expect(address).toContain("X-Amz-Expires=3600");
    expect(address).not.toContain(keys.secretAccessKey);
  }
  expect((await put(urls[0].url, file.subarray(0, PART))).status).toBe(200);
  expect((await put(urls[2].url, file.subarray(2 * PART, -1))).status).toBe(200);
  // A part of the wrong length counts as missing.
  expect((await ask("GET", `/v1/uploads/${id}?urls=1`)).body).toMatchObject({
    done: [1],
    urls: [{ n: 2 }, { n: 3 }],
  });
  expect(await ask("POST", `/v1/uploads/${id}/complete`)).toMatchObject({
    status: 409,
    body: { error: { code: "parts_missing", message: expect.stringContaining("the first of them 2, 3") } },
  });
  expect(await ask("PUT", `/v1/uploads/${id}/parts/2`, "x")).toMatchObject({
    status: 409,
    body: { error: { code: "presigned" } },
  });

  expect((await put(urls[1].url, file.subarray(PART, 2 * PART))).status).toBe(200);
  expect((await put(urls[2].url, file.subarray(2 * PART))).status).toBe(200);
  const done = await ask("POST", `/v1/uploads/${id}/complete`);
  expect(done).toMatchObject({ status: 200, body: { byteLength: file.length } });
  expect(await ask("POST", `/v1/uploads/${id}/complete`)).toEqual(done);
  const object = await client.send(
    new GetObjectCommand({ Bucket: bucket, Key: `uploads/${id}/${name.normalize("NFC")}` }),
  );
  expect(object.ETag).toBe(`"${done.body.etag}"`);
  expect(JSON.parse(object.Metadata!["tilewright-request"]!)).toMatchObject({ model: "nuclei" });
  const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
  expect(hash(await object.Body!.transformToByteArray())).toBe(hash(file));
});

it("a presigned URL works for its part only, and not after an abort", async () => {
  const { id, urls } = (
    await ask("POST", "/v1/uploads", { name: "a", byteLength: PART + 1, presigned: true })
  ).body;
  const other = urls[0].url.replace("partNumber=1", "partNumber=2");
  expect((await put(other, randomBytes(1))).status).toBe(403);
  expect((await ask("DELETE", `/v1/uploads/${id}`)).status).toBe(204);
  expect((await put(urls[0].url, randomBytes(PART))).status).toBe(404);
  expect((await ask("GET", `/v1/uploads/${id}`)).status).toBe(404);
});

it("returns a hundred presigned URLs at a time", async () => {
  const { id, parts, urls } = (
    await ask("POST", "/v1/uploads", { name: "a", byteLength: 250 * PART, presigned: true })
  ).body;
  expect([parts, urls.length]).toEqual([250, 100]);
  const from = async (n: number) =>
    (await ask("GET", `/v1/uploads/${id}?urls=${n}`)).body.urls.map((u: { n: number }) => u.n);
  expect((await from(101)).slice(-1)).toEqual([200]);
  expect(await from(201)).toHaveLength(50);
  expect(await from(251)).toEqual([]);
  expect((await ask("GET", `/v1/uploads/${id}?urls=0`)).status).toBe(422);
});

it("an incomplete configuration is reported without the secret", async () => {
  const half = await runTransferWorker(bundle, {
    bindings: { SCANS_S3_ENDPOINT: "https://storage.example", SCANS_S3_KEYS: '{"secretAccessKey":"hidden"}' },
  });
  try {
    const response = await fetch(new URL("/v1/uploads", await half.ready), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ name: "a", byteLength: 1 }),
    });
    expect(response.status).toBe(503);
    const text = await response.text();
    expect(text).toContain("SCANS_S3_KEYS");
    expect(text).not.toContain("hidden");
  } finally {
    await half.dispose();
  }
});
