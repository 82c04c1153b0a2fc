import type { BackendCounts, BackendLimits } from "../../src/orchestrator/scheduler/backend.ts";
import { Scheduler } from "../../src/orchestrator/scheduler/scheduler.ts";
import { Random } from "./random.ts";
import { VirtualTime } from "./virtual-time.ts";

/** A runner with one device, as the scheduler meets it. */
export interface SimulatedRunner {
  msPerWindow: number;
  /** Concurrent requests, and maximum windows of each. */
  concurrency: number;
  windowsPerRequest: number;
  /** Round trip of a request. */
  roundTripMs: number;
  /** Stops responding after so many windows. */
  hangsAfter?: number;
}

export interface FleetOutcome {
  seconds: number;
  reports: BackendCounts[];
  /** CPU time of this machine for the whole simulation. */
  cpuMs: number;
}

/** Runs the real scheduler over a list of shards in virtual time; each device computes one window at a time. */
export async function simulateFleet(options: {
  seed: number;
  runners: readonly SimulatedRunner[];
  /** Windows of each shard, in the order of reading. */
  shards: readonly number[];
  timeoutMs: number;
}): Promise<FleetOutcome> {
  const time = new VirtualTime();
  const random = new Random(options.seed);
  const devices = options.runners.map((runner, n) => ({ runner, name: `runner ${n}`, freeAt: 0, done: 0 }));
  const byName = new Map<string, (typeof devices)[number]>(devices.map((device) => [device.name, device]));
  const totalWindows = options.shards.reduce((sum, n) => sum + n, 0);
  let delivered = 0;
  let nextShard = 0;
  let over = false;
  const cpuBefore = process.cpuUsage();
  const scheduler = new Scheduler<BackendLimits, number, number>({
    backends: devices.map(({ name, runner }) => ({
      name,
      concurrency: runner.concurrency,
      windowsPerRequest: runner.windowsPerRequest,
      timeoutMs: options.timeoutMs,
    })),
    next: async () => {
      const shard = nextShard++;
      const windows = options.shards[shard];
      return windows === undefined ? undefined : { shard, windows };
    },
    run: async ({ name }, { from, to }) => {
      const device = byName.get(name)!;
      const { msPerWindow, roundTripMs, hangsAfter = Number.POSITIVE_INFINITY } = device.runner;
      device.done += to - from;
      if (device.done > hangsAfter) return new Promise(() => {});
      device.freeAt = Math.max(device.freeAt, time.now() + roundTripMs / 2) + (to - from) * msPerWindow;
      await time.wait(device.freeAt + roundTripMs / 2 - time.now());
      return Array.from({ length: to - from }, (_, n) => n);
    },
    deliver: async (results) => {
      delivered += results.length;
    },
    classifyFailure: (error) =>
      (error as Error).name === "TimeoutError"
        ? { kind: "retryable", code: "timeout" }
        : { kind: "fatal", code: "unexpected" },
    totalWindows,
    batchSize: 1,
    clock: time,
    random: () => random.uniform(),
    signal: new AbortController().signal,
  });
  const running = scheduler.run().finally(() => {
    over = true;
  });
  // An error is thrown by the second await below.
  running.catch(() => {});
  await time.run(() => over);
  const reports = await running;
  if (delivered !== totalWindows) throw new Error(`${delivered} of ${totalWindows} windows were delivered`);
  const { user, system } = process.cpuUsage(cpuBefore);
  return { seconds: time.now() / 1000, reports, cpuMs: (user + system) / 1000 };
}
