import { getEventListeners } from "node:events";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { pullShards } from "../../gpu-runner/pull/pull-shards.ts";
import { QueueClient } from "../../gpu-runner/pull/queue-client.ts";
import { ShardWorker } from "../../gpu-runner/pull/shard-worker.ts";
import { WorkClient } from "../../gpu-runner/pull/work-client.ts";
import { loadModel } from "../../src/local/resolve-model.ts";
import { type FakeQueue, openFakeQueue } from "./fake-queue.ts";
import { runRunner, TOKEN } from "./run-runner.ts";
import { SimulatedDevice } from "./simulated-device.ts";

let queue: FakeQueue;
beforeEach(async () => {
  queue = await openFakeQueue();
});
afterEach(() => queue.close());

const message = (n: number) => ({ lease: `lease-${n}`, body: { job: "0".repeat(32), shard: n } });
async function until(what: () => Promise<boolean> | boolean): Promise<void> {
  for (let i = 0; i < 4000 && !(await what()); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(await what()).toBe(true);
}

async function pulling(options: { shards: number; drainMs?: number }) {
  const stop = new AbortController();
  const { manifest, hash } = await loadModel("nuclei");
  const work = new WorkClient(queue.url.href, TOKEN);
  const backlogs: number[] = [];
  const done = pullShards(
    {
      queue: new QueueClient(queue.url.href, TOKEN),
      work,
      worker: new ShardWorker(work, { manifest, hash }, new SimulatedDevice(), 1),
      drainMs: 2000,
      log: pino({ level: "silent" }),
      onBacklog: (messages) => backlogs.push(messages),
      ...options,
    },
    stop.signal,
  );
  return { stop, done, backlogs };
}

describe("pulling", () => {
  it("frees the memory of finished shards", async () => {
    queue.waiting = Array.from({ length: 60 }, (_, n) => message(n));
    const { stop, done } = await pulling({ shards: 2 });
    await until(() => queue.acks.length === 60);
    expect(getEventListeners(stop.signal, "abort").length).toBeLessThanOrEqual(3);
    stop.abort();
    await done;
    expect(new Set(queue.acks).size).toBe(60);
  });

  it("returns messages leased by the pull in progress at shutdown", async () => {
    let answer!: () => void;
    queue.beforeAnswer = () => new Promise((resolve) => (answer = resolve));
    queue.waiting = [message(1), message(2)];
    const { stop, done } = await pulling({ shards: 2 });
    await until(() => queue.pulls === 1 && answer !== undefined);
    stop.abort();
    answer();
    await done;
    expect(queue.acks).toEqual([]);
    expect(queue.retries).toEqual([1, 2].map((n) => ({ lease_id: `lease-${n}`, delay_seconds: 0 })));
  });

  it("ends in time if that pull is never answered", async () => {
    queue.beforeAnswer = () => new Promise(() => {});
    const { stop, done } = await pulling({ shards: 2, drainMs: 200 });
    await until(() => queue.pulls === 1);
    const started = performance.now();
    stop.abort();
    await done;
    // Never answered is for ever: any time at all is before that.
    expect(performance.now() - started).toBeLessThan(30_000);
  });

  it.each([
    [7, [7]],
    [undefined, []],
    [-1, []],
  ])("tells the backlog where the queue says %s", async (backlog, told) => {
    queue.backlog = backlog;
    const { stop, done, backlogs } = await pulling({ shards: 1 });
    await until(() => queue.pulls === 1);
    stop.abort();
    await done;
    expect(backlogs).toEqual(told);
  });
});

it("exports the backlog metric only after the queue has reported it", async () => {
  const pull = { queue: queue.url.href, queueToken: TOKEN, service: queue.url.href, serviceToken: TOKEN };
  const { runner, metric } = await runRunner(await loadModel("nuclei"), { pull });
  await until(() => queue.pulls === 1);
  expect(await metric("tilewright_queue_backlog")).toBeNaN();
  queue.backlog = 42;
  await until(() => queue.pulls === 2);
  await until(async () => (await metric("tilewright_queue_backlog")) === 42);
  await runner.stop();
});
