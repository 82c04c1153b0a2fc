import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InferenceError, RemoteError } from "../../../src/inference/errors.ts";
import type { BackendLimits } from "../../../src/orchestrator/scheduler/backend.ts";
import { classifyFailure } from "../../../src/orchestrator/scheduler/classify-failure.ts";
import {
  Scheduler,
  type SchedulerOptions,
  type WindowRange,
} from "../../../src/orchestrator/scheduler/scheduler.ts";
import { systemClock } from "../../../src/portable/system-clock.ts";
import { VirtualClock } from "./virtual-clock.ts";

interface Shard {
  first: number;
}

/** What a simulated backend does with a request: how long it takes, or how it fails. */
type Behaviour = (range: WindowRange<Shard>, nth: number, clock: VirtualClock) => Promise<void>;

const takes =
  (ms: number): Behaviour =>
  ({ from, to }, _, clock) =>
    clock.wait(ms * (to - from));
const hangs: Behaviour = () => new Promise(() => {});
const failsWith =
  (error: () => Error, ms = 1): Behaviour =>
  async (_, __, clock) => {
    await clock.wait(ms);
    throw error();
  };
/** `first` for so many requests, then `later`. */
const then =
  (requests: number, first: Behaviour, later: Behaviour): Behaviour =>
  (range, nth, clock) =>
    nth < requests ? first(range, nth, clock) : later(range, nth, clock);

const unreachable = () => new RemoteError("cannot reach it", { code: "unreachable", retryable: true });
const wrong = () => new RemoteError("another model", { code: "wrong_model", retryable: false });
const busy = () => new RemoteError("busy", { code: "busy", retryable: true, retryAfterMs: 1000 });

interface Setup {
  shards: number[];
  backends: (Partial<BackendLimits> & { does: Behaviour })[];
  readMs?: number;
  deliverMs?: number;
  options?: (clock: VirtualClock) => Partial<SchedulerOptions<BackendLimits, Shard, number>>;
}

/** Runs a fleet in virtual time. Every window must be delivered once; what was delivered comes back in order. */
async function run({ shards, backends, readMs = 0, deliverMs = 0, options }: Setup) {
  const clock = new VirtualClock();
  const behaviours = new Map<BackendLimits, Behaviour>();
  const requests = new Map<BackendLimits, number>();
  const list: BackendLimits[] = backends.map(({ does, ...backend }, n) => {
    const full: BackendLimits = {
      name: `m${n}`,
      concurrency: 2,
      windowsPerRequest: 4,
      timeoutMs: 60_000,
      ...backend,
    };
    behaviours.set(full, does);
    return full;
  });
  const delivered: number[] = [];
  const disabled: string[] = [];
  let unfinished = 0;
  let widest = 0;
  let read = 0;
  let next = 0;
  let reading = false;
  const total = shards.reduce((a, b) => a + b, 0);
  const scheduler = new Scheduler<BackendLimits, Shard, number>({
    backends: list,
    async next() {
      expect(reading, "one shard is read at a time").toBe(false);
      reading = true;
      if (readMs > 0) await clock.wait(readMs);
      reading = false;
      if (next === shards.length) return undefined;
      const shard = { first: read };
      const windows = shards[next++]!;
      read += windows;
      unfinished += windows;
      widest = Math.max(widest, unfinished);
      return { shard, windows };
    },
    async run(backend, range) {
      const nth = requests.get(backend) ?? 0;
      requests.set(backend, nth + 1);
      await behaviours.get(backend)!(range, nth, clock);
      return Array.from({ length: range.to - range.from }, (_, i) => range.shard.first + range.from + i);
    },
    async deliver(windows) {
      if (deliverMs > 0) await clock.wait(deliverMs);
      unfinished -= windows.length;
      delivered.push(...windows);
    },
    classifyFailure,
    totalWindows: total,
    batchSize: 1,
    clock,
    random: () => 0.5,
    signal: new AbortController().signal,
    onDisabled: ({ name }) => disabled.push(name),
    ...options?.(clock),
  });
  const reports = await clock.run(scheduler.run());
  return { reports, delivered, disabled, ms: clock.now(), widest, total };
}

const whole = (total: number) => Array.from({ length: total }, (_, i) => i);
const sorted = (windows: number[]) => [...windows].sort((a, b) => a - b);

const behaviour = fc.oneof(
  fc.integer({ min: 1, max: 500 }).map(takes),
  fc
    .tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 1, max: 50 }))
    .map(([n, ms]) => then(n, takes(ms), hangs)),
  fc
    .tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 1, max: 50 }))
    .map(([n, ms]) => then(n, takes(ms), failsWith(wrong))),
  fc
    .tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 1, max: 50 }))
    .map(([n, ms]) => then(n, failsWith(unreachable), takes(ms))),
  fc.integer({ min: 1, max: 50 }).map(
    (ms): Behaviour =>
      (range, nth, clock) =>
        nth % 3 === 0 ? failsWith(unreachable)(range, nth, clock) : takes(ms)(range, nth, clock),
  ),
  fc.constant(failsWith(unreachable)),
  fc.constant(failsWith(() => new InferenceError("not a number"))),
);

describe("Scheduler", () => {
  it("delivers every window exactly once as long as one backend works, whatever the others do", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 16 }), { maxLength: 12 }),
        fc.array(
          fc.record({
            does: behaviour,
            concurrency: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constant("auto" as const)),
            windowsPerRequest: fc.integer({ min: 1, max: 20 }),
          }),
          { maxLength: 3 },
        ),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 0, max: 30 }),
        fc.integer({ min: 0, max: 30 }),
        async (shards, others, batchSize, readMs, deliverMs) => {
          const good = { does: takes(20), windowsPerRequest: 3 };
          const { delivered, reports, total } = await run({
            shards,
            backends: [...others, good],
            readMs,
            deliverMs,
            options: () => ({ batchSize }),
          });
          expect(sorted(delivered)).toEqual(whole(total));
          expect(reports.reduce((n, r) => n + r.windows, 0)).toBe(total);
        },
      ),
      { numRuns: 150 },
    );
  });

  it("starts and ends requests at multiples of the batch size on every backend", async () => {
    const seen: [number, number, number][] = [];
    const noting =
      (does: Behaviour): Behaviour =>
      (range, nth, clock) => {
        seen.push([range.shard.first, range.from, range.to]);
        return does(range, nth, clock);
      };
    await run({
      shards: [16, 16, 7, 16],
      backends: [
        { does: noting(takes(5)), windowsPerRequest: 3 },
        { does: noting(failsWith(unreachable)), windowsPerRequest: 7 },
      ],
      options: () => ({ batchSize: 4 }),
    });
    for (const [first, from, to] of seen) {
      const windows = first === 32 ? 7 : 16;
      expect(from % 4).toBe(0);
      expect(to % 4 === 0 || to === windows).toBe(true);
    }
  });

  it("bounds the windows read since the oldest unfinished shard", async () => {
    const { widest } = await run({
      shards: new Array(200).fill(16),
      backends: [
        { does: then(1, hangs, takes(1)), windowsPerRequest: 16, timeoutMs: 1e8 },
        { does: takes(1), windowsPerRequest: 16 },
      ],
    });
    // Two backends of two requests of 16 windows: twice that, 64 to spare, and the shards at either end.
    expect(widest).toBeLessThanOrEqual(2 * 64 + 64 + 3 * 16);
  });

  it("splits the windows by speed, so that all backends end together", async () => {
    const { reports, ms, total } = await run({
      shards: new Array(40).fill(16),
      backends: [
        { does: takes(10), concurrency: 1, windowsPerRequest: 16 },
        { does: takes(30), concurrency: 1, windowsPerRequest: 16 },
      ],
    });
    const ideal = total / (1 / 10 + 1 / 30);
    expect(ms / ideal).toBeLessThan(1.05);
    expect(reports[0]!.windows / reports[1]!.windows).toBeGreaterThan(2.6);
  });

  it.each<[string, Behaviour, number]>([
    ["that is slow", takes(300), 1 / 10 + 1 / 300],
    ["that hangs from the start", hangs, 1 / 10],
    ["that dies in the middle", then(10, takes(10), failsWith(unreachable)), 1 / 10],
    ["that hangs in the middle", then(10, takes(10), hangs), 1 / 10],
  ])("ends within 1.15 of the ideal time with one backend %s", async (_, does, rate) => {
    const { ms, total, delivered } = await run({
      shards: new Array(60).fill(16),
      backends: [
        { does: takes(10), concurrency: 1, windowsPerRequest: 16 },
        { does, concurrency: 1, windowsPerRequest: 16 },
      ],
    });
    expect(sorted(delivered)).toEqual(whole(total));
    expect(ms / (total / rate)).toBeLessThan(1.15);
  });

  it.each([1, 3, 5])(
    "ends within 1.15 of the ideal time with one backend that hangs at concurrency %i",
    async (concurrency) => {
      const { ms, total, delivered } = await run({
        shards: new Array(60).fill(16),
        backends: [
          { does: takes(30), concurrency, windowsPerRequest: 64 },
          { does: then(10, takes(30), hangs), concurrency, windowsPerRequest: 64, timeoutMs: 120_000 },
        ],
      });
      expect(sorted(delivered)).toEqual(whole(total));
      expect(ms / ((total * 30) / concurrency)).toBeLessThan(1.15);
    },
  );

  it("uses a backend again after an outage", async () => {
    const { reports } = await run({
      shards: new Array(200).fill(16),
      backends: [
        { does: takes(10), concurrency: 1 },
        { does: then(5, failsWith(unreachable), takes(10)), concurrency: 4 },
      ],
    });
    expect(reports[1]).toMatchObject({ errors: { unreachable: 5 } });
    expect(reports[1]!.expelled).toBeUndefined();
    expect(reports[1]!.windows).toBeGreaterThan(500);
  });

  it("opens the circuit: a failing backend gets one request at a time, less and less often, then none", async () => {
    const at: number[] = [];
    const { reports, disabled } = await run({
      shards: new Array(400).fill(16),
      backends: [
        { does: takes(10), concurrency: 1 },
        {
          concurrency: 8,
          does: async (t, n, c) => {
            at.push(c.now());
            return failsWith(unreachable, 5)(t, n, c);
          },
        },
      ],
    });
    expect(disabled).toEqual(["m1"]);
    expect(reports[1]!.expelled).toMatch(/cannot reach/);
    // The first concurrency together, the tries before it opens, then one at a time.
    const alone = at.slice(-5);
    for (let i = 1; i < alone.length; i++) expect(alone[i]! - alone[i - 1]!).toBeGreaterThan(500);
  });

  it.each<[string, () => Error, string]>([
    ["another model", wrong, "another model"],
    [
      "wrong windows or shapes",
      () => new RemoteError("records are 2×2", { code: "bad_answer", retryable: false }),
      "2×2",
    ],
    ["no probabilities", () => new InferenceError("returned NaN where a probability was expected"), "NaN"],
  ])("disables a backend at once that responds with %s", async (_, error, reason) => {
    const { reports, disabled } = await run({
      shards: [16, 16],
      backends: [{ does: takes(10) }, { does: failsWith(error) }],
    });
    expect(disabled).toEqual(["m1"]);
    expect(reports[1]!.expelled).toContain(reason);
    expect(reports[1]!.windows).toBe(0);
  });

  it("sends shorter requests after out-of-memory errors, and fails if one window is too large", async () => {
    const memory =
      (most: number): Behaviour =>
      (range, nth, clock) =>
        range.to - range.from > most
          ? failsWith(() => new RemoteError("no memory", { code: "out_of_memory", retryable: false }))(
              range,
              nth,
              clock,
            )
          : takes(5)(range, nth, clock);
    const { reports } = await run({
      shards: [16, 16, 16, 16],
      backends: [{ does: memory(3), windowsPerRequest: 64 }],
    });
    expect(reports[0]!.expelled).toBeUndefined();
    await expect(run({ shards: [16], backends: [{ does: memory(0) }] })).rejects.toThrow("no memory");
  });

  it("adapts to the number of requests that a service accepts", async () => {
    let active = 0;
    let refused = 0;
    const does: Behaviour = async (range, nth, clock) => {
      if (active >= 6) {
        refused++;
        return failsWith(busy)(range, nth, clock);
      }
      active++;
      await takes(10)(range, nth, clock);
      active--;
    };
    const { ms, total, reports } = await run({
      shards: new Array(200).fill(16),
      backends: [{ does, concurrency: "auto", windowsPerRequest: 4 }],
    });
    expect(ms / ((total * 10) / 6)).toBeLessThan(1.2);
    expect(refused / reports[0]!.requests).toBeLessThan(0.05);
  });

  it("repeats a lost request on the only backend", async () => {
    const { delivered, total, ms } = await run({
      shards: [8, 8],
      backends: [{ does: then(1, hangs, takes(10)), timeoutMs: 120_000 }],
    });
    expect(sorted(delivered)).toEqual(whole(total));
    expect(ms).toBeLessThan(10_000);
  });

  it("aborts a request after its timeout", async () => {
    const { reports } = await run({
      shards: [1],
      backends: [{ does: then(1, hangs, takes(10)), concurrency: 1, timeoutMs: 1000 }],
    });
    expect(reports[0]!.errors).toEqual({ timeout: 1 });
  });

  it("throws the error of the last backend once all are disabled", async () => {
    const none = run({ shards: [4], backends: [{ does: failsWith(wrong) }, { does: failsWith(wrong, 5) }] });
    await expect(none).rejects.toThrow("another model");
  });

  it("throws the error of a read or delivery after running deliveries have ended", async () => {
    const disk = new Error("the disk is full");
    let late = false;
    const failing = run({
      shards: [4, 4],
      backends: [{ does: takes(1), windowsPerRequest: 1 }],
      options: (clock) => ({
        async deliver(windows) {
          if (windows[0] === 1) throw disk;
          await clock.wait(30);
          late = true;
        },
      }),
    });
    await expect(failing).rejects.toBe(disk);
    expect(late).toBe(true);
    const unreadable = new Error("the slide is gone");
    await expect(
      run({
        shards: [4],
        backends: [{ does: takes(1) }],
        options: () => ({ next: () => Promise.reject(unreadable) }),
      }),
    ).rejects.toBe(unreadable);
  });

  it("receives remote responses while a local backend computes on the same thread", async () => {
    let left = 40;
    const scheduler = new Scheduler<BackendLimits, Shard, number>({
      backends: [
        { name: "here", concurrency: 3, windowsPerRequest: 1 },
        { name: "elsewhere", concurrency: 1, windowsPerRequest: 1, timeoutMs: 60_000 },
      ],
      next: async () => (left-- > 0 ? { shard: { first: 0 }, windows: 1 } : undefined),
      async run({ name }) {
        if (name === "elsewhere") await new Promise((resolve) => setTimeout(resolve, 5));
        else for (const end = performance.now() + 10; performance.now() < end; );
        return [0];
      },
      deliver: async () => {},
      classifyFailure,
      totalWindows: 40,
      batchSize: 1,
      clock: systemClock,
      random: () => 0.5,
      signal: new AbortController().signal,
    });
    expect((await scheduler.run())[1]!.windows).toBeGreaterThan(3);
  });

  it("frees the memory of a finished request while the job and its signal live", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const controller = new AbortController();
    const clock = new VirtualClock();
    const shards = new Array(400).fill(16);
    collect();
    const before = process.memoryUsage().arrayBuffers;
    const reports = await clock.run(
      new Scheduler<BackendLimits, Shard, Uint8Array>({
        backends: [{ name: "m", concurrency: 4, windowsPerRequest: 1 }],
        next: async () => (shards.length > 0 ? { shard: { first: 0 }, windows: shards.pop()! } : undefined),
        run: async (_, { from, to }) => Array.from({ length: to - from }, () => new Uint8Array(10_000)),
        deliver: async () => {},
        classifyFailure,
        totalWindows: 6400,
        batchSize: 1,
        clock,
        random: () => 0.5,
        signal: controller.signal,
      }).run(),
    );
    expect(reports[0]!.windows).toBe(6400);
    // Freed buffers are swept beside the program: on a loaded machine that takes a while.
    const held = () => process.memoryUsage().arrayBuffers - before;
    for (let i = 0; i < 200 && held() >= 5e6; i++) {
      collect();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    // 64 MB went through.
    expect(held()).toBeLessThan(5e6);
    expect(controller.signal.aborted).toBe(false);
  });

  it("throws the reason of its signal after an abort", async () => {
    const reason = new Error("enough");
    const signal = AbortSignal.abort(reason);
    await expect(run({ shards: [4], backends: [{ does: hangs }], options: () => ({ signal }) })).rejects.toBe(
      reason,
    );
    const controller = new AbortController();
    const running = run({
      shards: [4],
      backends: [{ does: hangs, timeoutMs: undefined }],
      options: () => ({ signal: controller.signal }),
    });
    setTimeout(() => controller.abort(reason), 20);
    await expect(running).rejects.toThrow();
  });
});
