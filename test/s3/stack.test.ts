import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Stack, startStack } from "../../src/cli/stack/local-stack.ts";
import type { JobStatus } from "../../src/contracts/job-request.ts";
import { segment } from "../../src/index.ts";
import { treeHashes } from "../builders/tree-hashes.ts";
import { JOBS_BINDINGS, SEGMENT_BINDINGS, Service, until } from "../stack/service.ts";
import { client, endpoint, makeBucket } from "./server.ts";

const SVS = fileURLToPath(
  new URL("../../../shared/data/slides/aperio-jpeg/CMU-1-Small-Region.svs", import.meta.url),
);
const MODEL = fileURLToPath(new URL("../../models/nuclei", import.meta.url));
const VARIANT = "int4-edge";
const WEBHOOK_TOKEN = "token-of-the-bucket-that-tells";
/** A region of the slide: a few dozen windows of the real model. */
const SETTINGS = { roi: [600, 900, 420, 500] as const, tissueMask: false };

let directory: string;
let bucket: string;
let stack: Stack;
let service: Service;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-s3-stack-"));
  bucket = await makeBucket();
  const sources = {
    SOURCES: JSON.stringify([{ kind: "s3", bucket, endpoint, region: "us-east-1" }]),
    SOURCE_KEYS: JSON.stringify({
      [bucket]: {
        accessKeyId: process.env.AWS_ACCESS_KEY_ID,
        secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
      },
    }),
  };
  const rule = { name: "slides", bucket, prefix: "slides/", suffix: [".svs"] };
  stack = await startStack({
    state: join(directory, "state"),
    host: "127.0.0.1",
    port: 0,
    model: MODEL,
    variant: VARIANT,
    jobs: {
      ...JOBS_BINDINGS,
      ...sources,
      RULES: JSON.stringify([{ ...rule, request: { model: "nuclei", settings: SETTINGS } }]),
      WEBHOOKS: JSON.stringify({ s3: { token: WEBHOOK_TOKEN } }),
    },
    segment: { ...SEGMENT_BINDINGS, ...sources },
  });
  service = new Service(stack.url);
}, 180_000);
afterAll(async () => {
  await stack?.stop();
  if (directory) rmSync(directory, { recursive: true, force: true });
});

/** Uploads a file in parts. @returns its etag as in events of S3 */
async function multipart(key: string, file: string): Promise<string> {
  const Bucket = bucket;
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key: key }));
  const bytes = readFileSync(file);
  const Parts = [];
  for (let n = 1, at = 0; at < bytes.length; n++, at += 5 << 20) {
    const Body = bytes.subarray(at, at + (5 << 20));
    const { ETag } = await client.send(
      new UploadPartCommand({ Bucket, Key: key, UploadId, PartNumber: n, Body }),
    );
    Parts.push({ PartNumber: n, ETag });
  }
  const done = await client.send(
    new CompleteMultipartUploadCommand({ Bucket, Key: key, UploadId, MultipartUpload: { Parts } }),
  );
  return done.ETag!.replaceAll('"', "");
}

function tell(key: string, eTag: string, token: string): Promise<Response> {
  const record = {
    eventVersion: "2.1",
    eventSource: "aws:s3",
    eventName: "ObjectCreated:CompleteMultipartUpload",
    s3: { bucket: { name: bucket }, object: { key: encodeURIComponent(key), size: 1, eTag, sequencer: "1" } },
  };
  return fetch(new URL("/v1/webhooks/s3", service.url), {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
    body: JSON.stringify({ Records: [record] }),
  });
}

describe.runIf(existsSync(SVS))("a slide that lands in a bucket", () => {
  it("is segmented automatically, with the result of one machine", async () => {
    const key = "slides/CMU-1-Small-Region.svs";
    const etag = await multipart(key, SVS);
    expect((await tell(key, etag, "wrong")).status).toBe(401);
    expect((await tell(key, etag, WEBHOOK_TOKEN)).status).toBe(200);
    // Objects in work/ would be the first sign of an unwanted job.
    const results = await stack.miniflare.getR2Bucket("RESULTS", "tilewright");
    const started = await until(async () => {
      const [object] = (await results.list({ prefix: "work/" })).objects;
      return object?.key.split("/")[1];
    });
    const request = { source: `s3://${bucket}/${key}`, model: "nuclei", settings: SETTINGS };
    const { status, job } = await service.start(request);
    expect([status, job.id]).toEqual([200, started]);
    const events = await (await service.fetch(`/v1/jobs/${job.id}/events`)).text();
    const last = JSON.parse(events.trim().split("\n").at(-1)!.slice("data: ".length)) as JobStatus;
    expect(last.error).toBeUndefined();
    expect(last.state).toBe("done");
    const out = join(directory, "out");
    await service.download(job.id, out);
    const alone = join(directory, "alone");
    await segment({
      source: SVS,
      model: MODEL,
      variant: VARIANT,
      backends: ["wasm"],
      out: alone,
      ...SETTINGS,
    });
    expect(treeHashes(out)).toEqual(treeHashes(alone));
    const run = JSON.parse(readFileSync(join(out, "run.json"), "utf8"));
    expect(run.summary.objects[0].count).toBeGreaterThan(20);
  }, 240_000);

  it("without a matching rule starts no job", async () => {
    const key = "elsewhere/CMU-1-Small-Region.svs";
    const etag = await multipart(key, SVS);
    expect((await tell(key, etag, WEBHOOK_TOKEN)).status).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const { status } = await service.start({
      source: `s3://${bucket}/${key}`,
      model: "nuclei",
      settings: { ...SETTINGS, roi: [0, 0, 200, 200] },
    });
    expect(status).toBe(202);
  });
});
