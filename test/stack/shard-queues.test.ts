import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Stack, startStack } from "../../src/cli/stack/local-stack.ts";
import { segment } from "../../src/index.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { treeHashes } from "../builders/tree-hashes.ts";
import { JOBS_BINDINGS, SEGMENT_BINDINGS, Service } from "./service.ts";

/** The service with two shard queues and three tasks in flight per queue. */
let directory: string;
let stack: Stack;
let service: Service;
let slide: string;
let expected: Record<string, string>;
const OUTPUTS = ["labels.ome.zarr"] as const;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-queues-"));
  slide = writeMadeSlide(join(directory, "slide.tiff"), { width: 3100, height: 2300 }).path;
  const model = writePointwisePackage(join(directory, "pointwise"));
  const out = join(directory, "alone");
  await segment({ source: slide, model, out, backends: ["wasm"], outputs: [...OUTPUTS] });
  expected = treeHashes(out);
  stack = await startStack({
    state: join(directory, "state"),
    host: "127.0.0.1",
    port: 0,
    model,
    shardQueues: 2,
    jobs: { ...JOBS_BINDINGS, TASKS_AHEAD: "3" },
    segment: SEGMENT_BINDINGS,
  });
  service = new Service(stack.url);
}, 180_000);
afterAll(async () => {
  await stack?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function start(name: string) {
  const bucket = await stack.miniflare.getR2Bucket("SCANS", "tilewright");
  await bucket.put(`in/${name}`, readFileSync(slide));
  const source = `r2://tilewright-scans/in/${name}`;
  return (await service.start({ model: "pointwise", outputs: OUTPUTS, source })).job;
}

it("jobs over both queues give the bytes of one machine, with few tasks in flight", async () => {
  const jobs = [(await start("0.tiff")).id, (await start("1.tiff")).id];
  for (const id of jobs) {
    const job = await service.ended(id);
    expect(job.error).toBeUndefined();
    expect(job.state).toBe("done");
    expect(job.shards!.total).toBeGreaterThan(3);
    expect(job.shards!.done).toBe(job.shards!.total);
    const out = join(directory, id);
    await service.download(id, out);
    expect(treeHashes(out)).toEqual(expected);
  }
});

it("a shard from any queue is accepted, so the number of queues may change while jobs run", async () => {
  const { id } = await start("moved.tiff");
  const queues = [
    await stack.miniflare.getQueueProducer("SHARDS", "tilewright"),
    await stack.miniflare.getQueueProducer("SHARDS_1", "tilewright"),
  ];
  let job = await service.job(id);
  for (let n = 0; n < 300 && job.shards === undefined && job.state !== "failed"; n++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    job = await service.job(id);
  }
  // All shards on both queues, so also on those that would not be chosen.
  const messages = Array.from({ length: 40 }, (_, shard) => ({ body: { job: id, shard } }));
  for (const queue of queues) await queue.sendBatch(messages);
  const ended = await service.ended(id);
  expect(ended.error).toBeUndefined();
  expect(ended.windows!.done).toBe(ended.windows!.total);
  const out = join(directory, id);
  await service.download(id, out);
  expect(treeHashes(out)).toEqual(expected);
});
