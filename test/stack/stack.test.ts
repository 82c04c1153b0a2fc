import { createHmac } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import SwaggerParser from "@apidevtools/swagger-parser";
import type { Workflow } from "@cloudflare/workers-types";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bundles, bundleWorkers, type Stack, startStack } from "../../src/cli/stack/local-stack.ts";
import { upload } from "../../src/client/upload.ts";
import { decodePlannedJob, type JobDocument } from "../../src/contracts/job-plan-message.ts";
import { type JobStatus, jobRequestSchema } from "../../src/contracts/job-request.ts";
import type { Ledger } from "../../src/edge/shared/ledger-port.ts";
import { PLANE_OUTPUTS } from "../../src/image/output-targets.ts";
import { plan, segment } from "../../src/index.ts";
import { planMergeBlocks } from "../../src/orchestrator/map/merge-block.ts";
import { planShards } from "../../src/tiling/grid/shards.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { treeHashes } from "../builders/tree-hashes.ts";
import { type CallbackHost, openCallbackHost } from "./callback-host.ts";
import { type FlakyHost, openFlakyHost } from "./flaky-host.ts";
import {
  JOBS_BINDINGS,
  READ_TOKEN,
  SEGMENT_BINDINGS,
  Service,
  SUBMIT_TOKEN,
  TOKEN,
  until,
} from "./service.ts";

/** Both deployable Workers in workerd, with a package whose labels are known. */
let directory: string;
let bundles: Bundles;
let stack: Stack;
let service: Service;
let host: FlakyHost;
let callbacks: CallbackHost;
let slide: string;
let larger: string;
/** The reference: results of one machine with the same runtime. */
let expected: Record<string, string>;
let expectedLarger: Record<string, string>;

const CALLBACK_SECRET = "secret-of-the-callbacks-of-the-tests";
const SLIDE_OUTPUTS = PLANE_OUTPUTS.filter((name) => name !== "labels.seg.dcm");
const REQUEST = { model: "pointwise", outputs: SLIDE_OUTPUTS };

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-stack-"));
  slide = writeMadeSlide(join(directory, "slide.tiff"), { width: 1300, height: 900 }).path;
  larger = writeMadeSlide(join(directory, "larger.tiff"), { width: 3100, height: 2300 }).path;
  const model = writePointwisePackage(join(directory, "pointwise"));
  const alone = async (source: string) => {
    const out = `${source}-alone`;
    await segment({ source, model, out, backends: ["wasm"], outputs: [...SLIDE_OUTPUTS] });
    return treeHashes(out);
  };
  expected = await alone(slide);
  expectedLarger = await alone(larger);
  host = await openFlakyHost(larger);
  callbacks = await openCallbackHost();
  bundles = await bundleWorkers();
  const sources = { SOURCES: JSON.stringify([{ kind: "http", host: host.host }]) };
  stack = await startStack({
    state: join(directory, "state"),
    host: "127.0.0.1",
    port: 0,
    model,
    bundles,
    jobs: {
      ...JOBS_BINDINGS,
      ...sources,
      MAX_GIGAPIXELS: "0.0075",
      CALLBACK_HOSTS: callbacks.host,
      CALLBACK_SECRET,
    },
    segment: { ...SEGMENT_BINDINGS, ...sources },
    log: (line) => process.env.STACK_LOG && console.error(line),
  });
  service = new Service(stack.url);
}, 180_000);
afterAll(async () => {
  await stack?.stop();
  await host?.close();
  await callbacks?.close();
  await bundles?.remove();
  rmSync(directory, { recursive: true, force: true });
});

async function results(job: string): Promise<Record<string, string>> {
  const out = join(directory, job);
  await service.download(job, out);
  return treeHashes(out);
}

function put(key: string, file: string) {
  return stack.miniflare
    .getR2Bucket("SCANS", "tilewright")
    .then((bucket) => bucket.put(key, readFileSync(file)));
}

async function results0(): Promise<Awaited<ReturnType<typeof stack.miniflare.getR2Bucket>>> {
  return stack.miniflare.getR2Bucket("RESULTS", "tilewright");
}

/** Waits for the plan of a job. */
async function planOf(job: string) {
  const bucket = await results0();
  return until(
    async () => {
      const object = await bucket.get(`work/${job}/plan`);
      return object ? decodePlannedJob(new Uint8Array(await object.arrayBuffer())).plan : undefined;
    },
    30,
    20,
  );
}

/** The ledger of a job that has no Workflow. */
async function openLedger(id: string): Promise<Ledger> {
  const document: JobDocument = {
    id,
    tilewright: "0",
    createdAt: new Date().toISOString(),
    source: { uri: "r2://tilewright-scans/in/x.tiff", name: "x.tiff", etag: "e", byteLength: 1 },
    model: { name: "pointwise", version: "1", variant: "v", hash: "h", license: "Apache-2.0" },
    request: jobRequestSchema.parse({ source: "r2://tilewright-scans/in/x.tiff" }),
  };
  const ledgers = await stack.miniflare.getDurableObjectNamespace("LEDGERS", "tilewright");
  const ledger = ledgers.get(ledgers.idFromName(id)) as unknown as Ledger;
  await ledger.create(document, { again: false });
  return ledger;
}

it("both Workers are far below the limit of 64 MiB", () => {
  for (const bundle of [bundles.jobs, bundles.segment]) {
    const code = readdirSync(bundle).filter((name) => /\.(js|wasm)$/.test(name));
    const bytes = code.reduce((sum, name) => sum + statSync(join(bundle, name)).size, 0);
    expect(bytes).toBeGreaterThan(2 ** 20);
    expect(bytes).toBeLessThan(24 * 2 ** 20);
  }
});

describe("a scan that is uploaded", () => {
  it("gives the bytes of one machine, and its temporary objects are deleted", async () => {
    const upload = await service.upload(slide, "slide.tiff", REQUEST);
    const id = await service.jobOf(upload.id);
    const job = await service.ended(id);
    expect(job.error).toBeUndefined();
    expect(job.state).toBe("done");
    expect(job.windows!.done).toBe(job.windows!.total);
    expect(await results(id)).toEqual(expected);
    const run = JSON.parse(readFileSync(join(directory, id, "run.json"), "utf8"));
    expect(run.plan.windows).toBe(job.windows!.total);
    expect(run.coverage.complete).toBe(true);
    expect(run.outputs.map((o: { name: string }) => o.name)).toEqual([...SLIDE_OUTPUTS]);
    expect(job.outputs).toEqual(run.outputs);
    expect(run.estimatedCost.amount).toBeGreaterThan(0);
    const bucket = await results0();
    await until(async () =>
      (await bucket.list({ prefix: "work/" })).objects.length === 0 ? true : undefined,
    );
  });

  it("starts one job for repeated events, and a request finds it", async () => {
    const upload = await service.upload(slide, "told-twice.tiff", REQUEST);
    const id = await service.jobOf(upload.id);
    const queue = await stack.miniflare.getQueueProducer("EVENTS", "tilewright");
    const [, bucket, key] = /^r2:\/\/([^/]+)\/(.+)$/.exec(upload.source)!;
    const event = {
      account: "local",
      action: "PutObject",
      bucket,
      object: { key, size: 1, eTag: upload.etag },
      eventTime: new Date().toISOString(),
    };
    await queue.sendBatch([{ body: event }, { body: event }, { body: event }]);
    const before = await service.ended(id);
    await new Promise((resolve) => setTimeout(resolve, 2000));
    expect(await service.job(id)).toEqual(before);
    const { status, job } = await service.start({ ...REQUEST, source: upload.source });
    expect([status, job.id]).toEqual([200, id]);
  });

  it("without a matching rule starts no job, and its upload says so", async () => {
    const upload = await service.upload(slide, "alone.tiff");
    const state = await until(async () => {
      const now = (await (await service.fetch(`/v1/uploads/${upload.id}`)).json()) as { refusal?: string };
      return now.refusal;
    });
    expect(state).toContain("no job");
  });
});

describe("a job", () => {
  it("is followed by server-sent events to its end", async () => {
    await put("in/followed.tiff", slide);
    const { status, job } = await service.start({
      ...REQUEST,
      source: "r2://tilewright-scans/in/followed.tiff",
    });
    expect(status).toBe(202);
    const response = await service.fetch(`/v1/jobs/${job.id}/events`);
    expect(response.headers.get("Content-Type")).toContain("text/event-stream");
    const events = (await response.text())
      .split("\n\n")
      .filter((block) => block.includes("event: status"))
      .map((block) => JSON.parse(/^data: (.*)$/m.exec(block)![1]!) as JobStatus);
    expect(events.at(-1)!.state).toBe("done");
    const states = events.map((event) => event.state);
    expect([...states].sort((a, b) => order(a) - order(b))).toEqual(states);
  });

  it("sends a signed callback at its end, and retries it", async () => {
    await put("in/told.tiff", slide);
    const { job } = await service.start({
      ...REQUEST,
      source: "r2://tilewright-scans/in/told.tiff",
      callback: `http://${callbacks.host}/ended?by=tests`,
    });
    const ended = await service.ended(job.id);
    const [first, second] = await until(async () =>
      callbacks.received.length < 2 ? undefined : callbacks.received,
    );
    expect(second!.path).toBe("/ended?by=tests");
    expect(JSON.parse(second!.body)).toEqual(ended);
    for (const { body, signature } of [first!, second!]) {
      const [, seconds, hex] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(signature)!;
      expect(createHmac("sha256", CALLBACK_SECRET).update(`${seconds}.${body}`).digest("hex")).toBe(hex);
    }
  });

  it("that is cancelled stops, leaves no objects, and can be requested again", async () => {
    await put("in/cancelled.tiff", larger);
    const request = { ...REQUEST, source: "r2://tilewright-scans/in/cancelled.tiff" };
    const { job } = await service.start(request);
    await planOf(job.id);
    const cancelled = await service.fetch(`/v1/jobs/${job.id}`, { method: "DELETE" });
    expect(((await cancelled.json()) as JobStatus).state).toBe("cancelled");
    const bucket = await results0();
    await until(async () => {
      const left = await Promise.all(
        ["work", "results"].map((top) => bucket.list({ prefix: `${top}/${job.id}/` })),
      );
      return left.every((page) => page.objects.length === 0) ? true : undefined;
    });
    expect((await service.fetch(`/v1/jobs/${job.id}/outputs`)).status).toBe(404);
    const again = await service.start(request);
    expect([again.status, again.job.id]).toEqual([202, job.id]);
    expect((await service.ended(job.id)).state).toBe("done");
    expect((await service.fetch(`/v1/jobs/${job.id}`, { method: "DELETE" })).status).toBe(409);
  });

  it("that has ended is deleted completely on request, and can be requested again", async () => {
    await put("in/removed.tiff", slide);
    const request = { ...REQUEST, source: "r2://tilewright-scans/in/removed.tiff" };
    const { job } = await service.start(request);
    const remove = (token?: string) => service.fetch(`/v1/jobs/${job.id}/data`, { method: "DELETE" }, token);
    const early = await remove();
    expect([early.status, await early.text()]).toEqual([409, expect.stringContaining("cancel it first")]);
    expect((await service.ended(job.id)).state).toBe("done");
    for (const [token, status] of [
      [READ_TOKEN, 403],
      [SUBMIT_TOKEN, 403],
      ["a-token-that-nobody-was-given", 401],
    ] as const) {
      expect((await remove(token)).status).toBe(status);
    }
    expect((await service.fetch(`/v1/jobs/${job.id}/outputs`)).status).toBe(200);
    expect((await remove()).status).toBe(204);
    const bucket = await results0();
    for (const top of ["work", "results"]) {
      expect((await bucket.list({ prefix: `${top}/${job.id}/` })).objects).toEqual([]);
    }
    for (const path of ["", "/events", "/outputs", "/outputs/run.json"]) {
      expect((await service.fetch(`/v1/jobs/${job.id}${path}`)).status).toBe(404);
    }
    expect((await remove()).status).toBe(404);
    const again = await service.start(request);
    expect([again.status, again.job.id]).toEqual([202, job.id]);
    expect((await service.ended(job.id)).state).toBe("done");
    expect(await results(job.id)).toEqual(expect.objectContaining(labelsOf(expected)));
  });

  it("that failed or was cancelled can be deleted too", async () => {
    const { job } = await service.start({ ...REQUEST, source: `http://${host.host}/removed-early.tiff` });
    await planOf(job.id);
    await (await service.fetch(`/v1/jobs/${job.id}`, { method: "DELETE" })).text();
    expect((await service.fetch(`/v1/jobs/${job.id}/data`, { method: "DELETE" })).status).toBe(204);
    expect((await service.fetch(`/v1/jobs/${job.id}`)).status).toBe(404);
    // Its Workflow ends without the record, and deletes late objects.
    const bucket = await results0();
    await bucket.put(`work/${job.id}/records/0`, "late");
    await until(async () => ((await bucket.head(`work/${job.id}/records/0`)) ? undefined : true));
  });

  it("that was started over while it was deleted fails, because its objects may be missing", async () => {
    const ledger = await openLedger("b".repeat(32));
    expect(await ledger.delete()).toBe(false);
    const { state, error } = (await ledger.status())!;
    expect([state, error?.code]).toEqual(["failed", "work_lost"]);
    expect(await ledger.delete()).toBe(true);
    expect(await ledger.status()).toBeUndefined();
    // A concurrent removal gets the same response.
    expect(await ledger.delete()).toBe(true);
  });

  it("that has ended deletes objects that late tasks write", async () => {
    await put("in/late.tiff", larger);
    const { job } = await service.start({ ...REQUEST, source: "r2://tilewright-scans/in/late.tiff" });
    await planOf(job.id);
    await (await service.fetch(`/v1/jobs/${job.id}`, { method: "DELETE" })).text();
    const bucket = await results0();
    await until(async () => ((await bucket.head(`work/${job.id}/plan`)) ? undefined : true));
    const late = [`work/${job.id}/records/0`, `results/${job.id}/run.json`];
    for (const key of late) await bucket.put(key, "late");
    await until(async () => {
      const found = await Promise.all(late.map((key) => bucket.head(key)));
      return found.every((object) => object === null) ? true : undefined;
    });
  });

  it("that ends while its Workflow cannot be notified is cleaned up", async () => {
    // As after a request that was cut off between ledger and Workflow.
    const id = "f".repeat(32);
    await openLedger(id);
    const bucket = await results0();
    await bucket.put(`work/${id}/plan`, "left");
    const cancelled = await service.fetch(`/v1/jobs/${id}`, { method: "DELETE" });
    expect(((await cancelled.json()) as JobStatus).state).toBe("cancelled");
    await until(async () => ((await bucket.head(`work/${id}/plan`)) ? undefined : true), 30);
  });

  it("whose plan is missing fails, and is not retried forever", async () => {
    const id = "e".repeat(32);
    const ledger = await openLedger(id);
    await ledger.register("plan", [0], 1);
    await ledger.done("plan", 0, {});
    expect(await service.ended(id)).toMatchObject({ state: "failed", error: { code: "work_lost" } });
  });

  it("continues when its Workflow gets an event of an earlier run", async () => {
    await put("in/stale.tiff", larger);
    const { job } = await service.start({ ...REQUEST, source: "r2://tilewright-scans/in/stale.tiff" });
    await planOf(job.id);
    const { JOBS } = await stack.miniflare.getBindings<{ JOBS: Workflow }>("tilewright");
    await (await JOBS.get(job.id)).sendEvent({ type: "shard-done", payload: { state: "cancelled" } });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect((await service.job(job.id)).state).toBe("mapping");
    expect(await (await results0()).head(`work/${job.id}/plan`)).not.toBeNull();
    const ended = await service.ended(job.id);
    expect(ended.error).toBeUndefined();
    expect(await results(job.id)).toEqual(expect.objectContaining(labelsOf(expectedLarger)));
  });

  it("whose messages arrive twice and in any order gives the same bytes, each window once", async () => {
    await put("in/larger.tiff", larger);
    const { job } = await service.start({ ...REQUEST, source: "r2://tilewright-scans/in/larger.tiff" });
    const plan = await planOf(job.id);
    const shards = [...planShards(plan.grid, plan.kept, plan.shardBlock)].map((shard) => shard.id).reverse();
    const queue = await stack.miniflare.getQueueProducer("SHARDS", "tilewright");
    for (let i = 0; i < shards.length; i += 50) {
      await queue.sendBatch(shards.slice(i, i + 50).map((shard) => ({ body: { job: job.id, shard } })));
    }
    const tasks = await stack.miniflare.getQueueProducer("TASKS", "tilewright");
    // Before their phase, twice in it, and after it.
    const merges = planMergeBlocks(plan).map(({ id }) => ({ body: { job: job.id, kind: "merge", id } }));
    await tasks.sendBatch([...merges, { body: { job: job.id, kind: "finish", id: 0 } }]);
    for (const stage of ["merging", "finishing"] as const) {
      await until(
        async () => (order((await service.job(job.id)).state) >= order(stage) ? true : undefined),
        90,
        5,
      );
      await tasks.sendBatch([...merges, { body: { job: job.id, kind: "finish", id: 0 } }]);
    }
    const ended = await service.ended(job.id);
    await tasks.sendBatch([...merges, { body: { job: job.id, kind: "finish", id: 0 } }]);
    expect(ended.error).toBeUndefined();
    expect(ended.windows).toEqual({ total: plan.kept.size, done: plan.kept.size });
    expect(ended.shards).toEqual({ total: shards.length, done: shards.length });
    expect(await results(job.id)).toEqual(expectedLarger);
  });

  it("whose records are damaged or of another window computes them again", async () => {
    await put("in/damaged.tiff", larger);
    const { job } = await service.start({ ...REQUEST, source: "r2://tilewright-scans/in/damaged.tiff" });
    const plan = await planOf(job.id);
    const [first, second, ...rest] = [...planShards(plan.grid, plan.kept, plan.shardBlock)].map((s) => s.id);
    const bucket = await results0();
    const key = (shard: number) => `work/${job.id}/records/${shard}`;
    // One object is garbage before its shard runs, the other has the windows of a third shard.
    await bucket.put(key(first!), "garbage");
    const third = await until(async () => (await bucket.get(key(rest.at(-1)!))) ?? undefined, 60, 5);
    await bucket.put(key(second!), await third.arrayBuffer());
    const ended = await service.ended(job.id);
    expect(ended.error).toBeUndefined();
    expect(ended.windows!.done).toBe(plan.kept.size);
    expect(await results(job.id)).toEqual(expect.objectContaining(labelsOf(expectedLarger)));
  });

  it("that is too large to be finished is rejected when it is planned", async () => {
    const { path } = writeMadeSlide(join(directory, "large.tiff"), { width: 3300, height: 2400 });
    await put("in/large.tiff", path);
    const { job } = await service.start({
      ...REQUEST,
      source: "r2://tilewright-scans/in/large.tiff",
      settings: { tissueMask: false },
    });
    const ended = await service.ended(job.id);
    expect(ended).toMatchObject({ state: "failed", error: { code: "job_refused" } });
    expect(ended.error!.message).toContain("gigapixels");
    expect(ended.shards).toBeUndefined();
  });

  it("whose source is replaced fails, and mixes no data", async () => {
    await put("in/replaced.tiff", larger);
    const { job } = await service.start({ ...REQUEST, source: "r2://tilewright-scans/in/replaced.tiff" });
    await planOf(job.id);
    await put("in/replaced.tiff", slide);
    const ended = await service.ended(job.id);
    expect(ended).toMatchObject({ state: "failed", error: { code: "source_changed" } });
    expect((await service.fetch(`/v1/jobs/${job.id}/outputs`)).status).toBe(404);
  });

  it.each(["fails", "hangs", "breaks off"] as const)(
    "whose source %s for a while continues",
    async (fault) => {
      host.reset(fault);
      const { job } = await service.start({
        ...REQUEST,
        source: `http://${host.host}/${fault.replace(" ", "-")}.tiff`,
      });
      const plan = await planOf(job.id);
      host.fail(4);
      const ended = await service.ended(job.id);
      expect(ended.error).toBeUndefined();
      expect(host.failures).toBeGreaterThan(0);
      expect(ended.windows!.done).toBe(plan.kept.size);
      expect(await results(job.id)).toEqual(expect.objectContaining(labelsOf(expectedLarger)));
    },
  );

  it("that cannot succeed fails with its reason after its last attempt, and others continue", async () => {
    host.reset("fails");
    const { job } = await service.start({
      ...REQUEST,
      source: `http://${host.host}/poison.tiff`,
      // One shard, so that only one task uses up its attempts.
      settings: { roi: [40, 40, 190, 190] },
    });
    await planOf(job.id);
    host.fail(Number.POSITIVE_INFINITY);
    await put("in/beside.tiff", slide);
    const beside = await service.start({ ...REQUEST, source: "r2://tilewright-scans/in/beside.tiff" });
    const ended = await service.ended(job.id);
    expect(ended.state).toBe("failed");
    expect(ended.error!.code).toBe("task_failed");
    expect(ended.error!.message).toContain(host.host);
    expect((await service.ended(beside.job.id)).state).toBe("done");
    host.reset("fails");
  });
});

describe("every route", () => {
  const ID = "0".repeat(32);
  const body = (init: unknown): RequestInit => ({
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(init),
  });

  it("is in the OpenAPI document, and the document has no other", async () => {
    const document = (await (await service.fetch("/v1/openapi.json", {}, "")).json()) as {
      openapi: string;
      paths: Record<string, Record<string, unknown>>;
    };
    expect(document.openapi).toBe("3.1.0");
    expect(JSON.stringify(document)).toContain('"maxMagnification"');
    const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(routes.sort()).toEqual([
      "DELETE /v1/cohorts/{id}",
      "DELETE /v1/jobs/{id}",
      "DELETE /v1/jobs/{id}/data",
      "DELETE /v1/uploads/{id}",
      "GET /healthz",
      "GET /v1/cohorts",
      "GET /v1/cohorts/{id}",
      "GET /v1/cohorts/{id}/rows",
      "GET /v1/folders/{id}/files",
      "GET /v1/jobs",
      "GET /v1/jobs/{id}",
      "GET /v1/jobs/{id}/events",
      "GET /v1/jobs/{id}/labels",
      "GET /v1/jobs/{id}/labels/{row}/{column}",
      "GET /v1/jobs/{id}/outputs",
      "GET /v1/jobs/{id}/outputs/{path}",
      "GET /v1/jobs/{id}/read-link",
      "GET /v1/jobs/{id}/request",
      "GET /v1/jobs/{id}/source",
      "GET /v1/jobs/{id}/source/{path}",
      "GET /v1/model",
      "GET /v1/model/files/{path}",
      "GET /v1/read/{job}/{expires}/{signature}/{path}",
      "GET /v1/uploads/{id}",
      "GET /v1/uploads/{id}/source/{path}",
      "GET /v1/work/{job}/objects",
      "GET /v1/work/{job}/plan",
      "GET /v1/work/{job}/source/{path}",
      "HEAD /v1/webhooks/minio",
      "PATCH /v1/cohorts/{id}",
      "POST /v1/cohorts",
      "POST /v1/cohorts/{id}/cancel",
      "POST /v1/cohorts/{id}/pause",
      "POST /v1/cohorts/{id}/resume",
      "POST /v1/cohorts/{id}/retry",
      "POST /v1/cohorts/{id}/rows",
      "POST /v1/folders",
      "POST /v1/folders/{id}/complete",
      "POST /v1/jobs",
      "POST /v1/jobs/{id}/retry",
      "POST /v1/uploads",
      "POST /v1/uploads/{id}/complete",
      "POST /v1/webhooks/eventbridge",
      "POST /v1/webhooks/minio",
      "POST /v1/webhooks/s3",
      "POST /v1/webhooks/sns",
      "POST /v1/work/{job}/shards/{shard}",
      "PUT /v1/folders/{id}/files/{path}",
      "PUT /v1/uploads/{id}/parts/{n}",
      "PUT /v1/work/{job}/shards/{shard}/records",
    ]);
    expect(await (await service.fetch("/healthz", {}, "")).json()).toEqual({ ok: true });
  });

  it("is described by a valid document, with a name, a group and plain patterns", async () => {
    const text = await (await service.fetch("/v1/openapi.json", {}, "")).text();
    const document = JSON.parse(text) as {
      tags: { name: string }[];
      paths: Record<string, Record<string, { operationId?: string; tags: string[] }>>;
    };
    await expect(SwaggerParser.validate(JSON.parse(text))).resolves.toBeDefined();
    const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods));
    const names = operations.map(({ operationId }) => operationId);
    expect(names.every((name) => /^[a-z][A-Za-z0-9]+$/.test(name ?? ""))).toBe(true);
    expect(new Set(names).size).toBe(names.length);
    const groups = document.tags.map(({ name }) => name);
    for (const { tags } of operations) expect(groups).toContain(tags[0]);
    let patterns = 0;
    JSON.parse(text, (key, value) => {
      if (key === "pattern" && typeof value === "string") {
        patterns++;
        // A literal of JavaScript would end with a slash and its flags.
        expect(value).toMatch(/^\^.*\$$/);
        expect(() => new RegExp(value, "u")).not.toThrow();
      }
      return value;
    });
    expect(patterns).toBeGreaterThan(20);
  });

  it.each<[string, RequestInit]>([
    ["/v1/jobs", body({ source: "r2://tilewright-scans/x" })],
    [`/v1/jobs/${ID}`, {}],
    [`/v1/jobs/${ID}`, { method: "DELETE" }],
    [`/v1/jobs/${ID}/data`, { method: "DELETE" }],
    [`/v1/jobs/${ID}/retry`, body({})],
    [`/v1/jobs/${ID}/events`, {}],
    [`/v1/jobs/${ID}/labels`, {}],
    [`/v1/jobs/${ID}/labels/0/0`, {}],
    [`/v1/jobs/${ID}/outputs`, {}],
    [`/v1/jobs/${ID}/read-link`, {}],
    [`/v1/jobs/${ID}/outputs/run.json`, {}],
    ["/v1/cohorts", body({})],
    [`/v1/cohorts/${ID}`, {}],
    [`/v1/cohorts/${ID}`, { method: "PATCH" }],
    [`/v1/cohorts/${ID}/rows`, {}],
    [`/v1/cohorts/${ID}/cancel`, body({})],
    ["/v1/uploads", body({ name: "a", byteLength: 1 })],
    [`/v1/uploads/${ID}`, {}],
    [`/v1/uploads/${ID}`, { method: "DELETE" }],
    [`/v1/uploads/${ID}/complete`, body({})],
    [`/v1/uploads/${ID}/parts/1`, { method: "PUT", body: "x" }],
  ])("%s needs a token with the right scope", async (path, init) => {
    const close = { ...init, headers: { ...(init.headers as Record<string, string>), Connection: "close" } };
    for (const token of ["", "a-token-that-nobody-was-given"]) {
      const response = await service.fetch(path, close, token);
      expect(response.status).toBe(401);
      expect(((await response.json()) as { error: { code: string } }).error.code).toBe("unauthorized");
    }
    const reader = await service.fetch(path, close, READ_TOKEN);
    if ((init.method ?? "GET") === "GET") expect(reader.status).toBe(404);
    else expect(reader.status).toBe(403);
    await reader.arrayBuffer();
  });

  it.each<[string, unknown, number, string]>([
    ["no JSON", "not json", 400, "JSON"],
    ["more than it reads", { source: "x".repeat(1 << 20) }, 413, "524288"],
    ["no source", {}, 422, "source"],
    ["a field nobody knows", { source: "r2://tilewright-scans/x", colour: 1 }, 422, "colour"],
    [
      "an overlap of one",
      { source: "r2://tilewright-scans/x", settings: { overlapRatio: 1 } },
      422,
      "overlapRatio",
    ],
    [
      "a region that crosses itself",
      {
        source: "r2://tilewright-scans/x",
        settings: {
          polygons: [
            [
              [
                [0, 0],
                [9, 9],
                [9, 0],
                [0, 9],
              ],
            ],
          ],
        },
      },
      422,
      "polygon 1 crosses itself at 5, 5",
    ],
    [
      "polygons beside a rectangle",
      {
        source: "r2://tilewright-scans/x",
        settings: {
          roi: [0, 0, 9, 9],
          polygons: [
            [
              [
                [0, 0],
                [9, 9],
                [9, 0],
              ],
            ],
          ],
        },
      },
      422,
      "not both",
    ],
    ["another model", { source: "r2://tilewright-scans/in/larger.tiff", model: "kidneys" }, 422, "pointwise"],
    ["another bucket", { source: "r2://elsewhere/x", model: "pointwise" }, 422, "r2://elsewhere"],
    ["a private address", { source: "http://10.0.0.1/x.tiff", model: "pointwise" }, 422, "10.0.0.1"],
    ["the metadata service", { source: "http://169.254.169.254/latest", model: "pointwise" }, 422, "169.254"],
    ["a path out of its bucket", { source: "r2://tilewright-scans/../x", model: "pointwise" }, 422, ""],
    [
      "a key that is not there",
      { source: "r2://tilewright-scans/none.tiff", model: "pointwise" },
      404,
      "none.tiff",
    ],
    [
      "a callback nobody allowed",
      { source: "r2://tilewright-scans/x", model: "pointwise", callback: "https://example.org/" },
      422,
      "callback",
    ],
  ])("POST /v1/jobs rejects %s with a sentence", async (_, request, status, word) => {
    const response =
      typeof request === "string"
        ? await service.fetch("/v1/jobs", {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: request,
          })
        : await service.post("/v1/jobs", request);
    const answer = (await response.json()) as { error: { message: string } };
    expect([response.status, answer.error.message]).toEqual([status, expect.stringContaining(word)]);
  });

  it("gives 404 for missing resources", async () => {
    for (const path of [`/v1/jobs/${ID}`, "/v1/jobs/short", "/v1/none", "/v1/webhooks/s3"]) {
      const response = await service.fetch(path);
      expect([path, response.status < 500 && response.status >= 400]).toEqual([path, true]);
      await response.arrayBuffer();
    }
  });
});

function order(state: JobStatus["state"]): number {
  return ["planning", "mapping", "merging", "finishing", "done"].indexOf(state);
}

/** Object ids and tables contain the name of the slide; labels do not. */
function labelsOf(hashes: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(hashes).filter(([name]) => name.startsWith("labels.")));
}

describe("a scan whose pixels are far coarser than the model's", () => {
  it("is rejected when it is planned, and segmented with a forced level", async () => {
    const options = {
      file: slide,
      server: stack.url.href,
      token: TOKEN,
      model: "pointwise",
      mpp: 2,
      watch: true,
    };
    await expect(upload(options)).rejects.toThrow(
      /pixels of 2 µm \(level 0\) would be magnified 4 times for model pointwise, which was made for 0.5 µm/,
    );
    const out = join(directory, "insisted");
    await upload({ ...options, out, settings: { maxMagnification: 4 } });
    const alone = join(directory, "insisted-alone");
    const model = join(directory, "pointwise");
    await segment({ source: slide, model, out: alone, backends: ["wasm"], mpp: 2, maxMagnification: 4 });
    expect(treeHashes(out)).toEqual(treeHashes(alone));
  });
});

describe("a region of polygons", () => {
  const polygons = [
    [
      [
        [20.5, 30],
        [300, 60],
        [150, 290.25],
      ],
      [
        [120, 80],
        [180, 90],
        [150, 140],
      ],
    ],
  ] as const;

  it("is uploaded with a scan, planned and segmented as on one machine", async () => {
    const out = join(directory, "polygons");
    const settings = { polygons, tissueMask: false };
    await upload({
      server: stack.url.href,
      token: TOKEN,
      file: slide,
      model: "pointwise",
      out,
      outputs: ["labels.ome.zarr", "objects.geojson", "measurements.csv"],
      settings,
    });
    const alone = join(directory, "polygons-alone");
    const model = join(directory, "pointwise");
    const outputs = ["labels.ome.zarr", "objects.geojson", "measurements.csv"];
    const local = await segment({
      source: slide,
      model,
      out: alone,
      backends: ["wasm"],
      outputs,
      ...settings,
    });
    expect(treeHashes(out)).toEqual(treeHashes(alone));
    const run = JSON.parse(readFileSync(join(out, "run.json"), "utf8"));
    expect(run.settings.polygons).toEqual(polygons);
    expect(run.plan.windows).toBe(local.plan.windows);
    const { roi, polygons: stated } = await service.job(run.job);
    expect({ roi, stated }).toEqual({ roi: [20, 30, 280, 261], stated: 1 });
    const box = await plan({ source: slide, model, roi: [20, 30, 280, 261], tissueMask: false });
    expect(local.plan.windows).toBeLessThan(box.windows);
  });

  it("outside the image fails the job with a reason", async () => {
    const settings = {
      polygons: [
        [
          [
            [0, 0],
            [90_000, 0],
            [0, 90],
          ],
        ],
      ] as const,
    };
    await expect(
      upload({
        server: stack.url.href,
        token: TOKEN,
        file: slide,
        model: "pointwise",
        watch: true,
        settings,
      }),
    ).rejects.toThrow(/the polygons of the region reach outside the image/);
  });
});

describe("an OME-Zarr in common codecs", () => {
  const fixtures = new URL("../readers/fixtures/", import.meta.url).pathname;
  const shared = new URL("../../../shared/data/zarr/", import.meta.url).pathname;
  const uploadOptions = () => ({
    server: stack.url.href,
    token: TOKEN,
    model: "pointwise",
    mpp: 0.5,
    watch: true,
  });

  it.each([
    [`${fixtures}v2-blosc-fortran.ome.zarr`, "blosc of lz4"],
    [`${fixtures}v3-sharded.ome.zarr`, "blosc of zstd in shards"],
    [`${fixtures}v3-zstd.ome.zarr`, "zstd"],
    [`${shared}zarr-ngio-fixtures/tests/data/v04/images/test_image_cyx.zarr`, "blosc"],
    [`${shared}zarr-ome-examples/data/valid/image-02.zarr`, "blosc"],
    [`${shared}zarr-viv-fixtures/packages/loaders/tests/fixtures/ome-zarr/blobs_image_v05.ome.zarr`, "zstd"],
  ])("%s, in %s: the bytes of one machine", async (file, _) => {
    if (!existsSync(file)) return console.warn(`skipped: there is no ${file}`);
    const name = file.split("/").at(-1)!;
    const alone = join(directory, `alone-${name}`);
    const settings = { channels: [0] };
    await segment({
      source: file,
      model: join(directory, "pointwise"),
      out: alone,
      backends: ["wasm"],
      mpp: 0.5,
      ...settings,
    });
    const out = join(directory, `out-${name}`);
    await upload({ ...uploadOptions(), file, out, settings });
    expect(treeHashes(out)).toEqual(treeHashes(alone));
  });

  it.each([
    ["v2-blosc-fortran.ome.zarr", "0/0/1/1", 40, /is damaged: .* \(its Blosc data is damaged or cut short\)/],
    ["v3-zstd.ome.zarr", "0/c/0/1/1", 30, /is damaged: .* \(its Zstandard data is damaged/],
  ])("a truncated chunk of %s fails the job with a reason", async (name, chunk, length, sentence) => {
    const file = join(directory, `cut-${name}`);
    cpSync(join(fixtures, name), file, { recursive: true });
    truncateSync(join(file, chunk), length);
    await expect(upload({ ...uploadOptions(), file, settings: { channels: [0] } })).rejects.toThrow(sentence);
  });

  it("a chunk that states more bytes than its shape is rejected before it is decompressed", async () => {
    const file = join(directory, "bomb.ome.zarr");
    cpSync(join(fixtures, "v2-blosc-fortran.ome.zarr"), file, { recursive: true });
    const chunk = readFileSync(join(file, "0/0/0/0"));
    chunk.writeUInt32LE(2 ** 31 - 1, 4);
    writeFileSync(join(file, "0/0/0/0"), chunk);
    await expect(upload({ ...uploadOptions(), file, settings: { channels: [0] } })).rejects.toThrow(
      /its Blosc data states more than the \d+ bytes expected/,
    );
  });

  it("a TIFF in Zstandard: the bytes of one machine", async () => {
    const file = `${fixtures}zstd-bigtiff.tif`;
    const alone = join(directory, "alone-zstd-tiff");
    const options = { mpp: 0.5, model: join(directory, "pointwise") };
    const settings = { channels: [0] };
    await segment({ source: file, out: alone, backends: ["wasm"], ...options, ...settings });
    const out = join(directory, "out-zstd-tiff");
    await upload({ ...uploadOptions(), file, out, settings });
    expect(treeHashes(out)).toEqual(treeHashes(alone));
  });
});
