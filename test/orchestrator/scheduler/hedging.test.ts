import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chooseHedge, type HedgeCandidate } from "../../../src/orchestrator/scheduler/hedging.ts";
import { requestSize } from "../../../src/orchestrator/scheduler/request-size.ts";
import {
  countInFlight,
  type OpenRange,
  ShardBacklog,
} from "../../../src/orchestrator/scheduler/shard-backlog.ts";

interface Worker {
  msPerWindow: number | undefined;
}
type Candidate = HedgeCandidate<string, Worker>;

/** A request for the windows of a new shard, in flight since time 0. */
function attempt(worker: Worker, windows = 8): Candidate {
  const backlog = new ShardBacklog<string>();
  backlog.add("shard", windows);
  const range = backlog.take(windows) as OpenRange<string>;
  countInFlight(range, 1);
  return { ...range, worker, startedAt: 0 };
}

const idle: Worker = { msPerWindow: 10 };
const policy = { worker: idle, isOnly: false, canTimeOut: true, maxWindows: 64, batchSize: 1, now: 0 };

describe("chooseHedge", () => {
  it("chooses the request with the longest to go", () => {
    const short = attempt({ msPerWindow: 100 });
    const long = attempt({ msPerWindow: 300 });
    expect(chooseHedge([short, long, short], policy)).toMatchObject({ open: long.open, from: 0, to: 8 });
  });

  it("takes at most the size of one request, from the first free window on", () => {
    const slow = attempt({ msPerWindow: 100 });
    slow.open.done.fill(1, 0, 3);
    expect(chooseHedge([slow], { ...policy, maxWindows: 4 })).toMatchObject({ from: 3, to: 7 });
    expect(chooseHedge([slow], { ...policy, maxWindows: 4, batchSize: 2 })).toMatchObject({ from: 4, to: 8 });
  });

  it("chooses nothing that would end sooner by itself", () => {
    expect(chooseHedge([attempt({ msPerWindow: 5 })], policy)).toBeUndefined();
    // 11 ms a window against 10: less than the margin.
    expect(chooseHedge([attempt({ msPerWindow: 11 })], policy)).toBeUndefined();
    // 8 windows of 4 ms: nothing to save.
    expect(
      chooseHedge([attempt({ msPerWindow: 4 })], { ...policy, worker: { msPerWindow: 0.1 } }),
    ).toBeUndefined();
  });

  it("sends a second hedged request only if the first is overdue", () => {
    const hung = attempt({ msPerWindow: 10 });
    countInFlight(hung, 1);
    expect(chooseHedge([hung], { ...policy, now: 4000 })).toBeUndefined();
    expect(chooseHedge([hung], { ...policy, now: 6000 })).toMatchObject({ from: 0, to: 8 });
    countInFlight(hung, 1);
    expect(chooseHedge([hung], { ...policy, now: 6000 })).toBeUndefined();
  });

  it("repeats a backend's own request only if it is overdue, can get lost, and no other backend is left", () => {
    const own = attempt(idle);
    const repeat = { ...policy, isOnly: true, now: 6000 };
    expect(chooseHedge([own], repeat)).toMatchObject({ from: 0, to: 8 });
    expect(chooseHedge([own], { ...repeat, now: 4000 })).toBeUndefined();
    expect(chooseHedge([own], { ...repeat, isOnly: false })).toBeUndefined();
    expect(chooseHedge([own], { ...repeat, canTimeOut: false })).toBeUndefined();
  });

  it("never asks a backend twice for a window while others are left", () =>
    fc.assert(
      fc.property(fc.nat({ max: 7 }), fc.nat({ max: 7 }), (a, b) => {
        const slow = attempt({ msPerWindow: 1000 });
        const own = { ...slow, from: Math.min(a, b), to: Math.max(a, b) + 1, worker: idle };
        const hedge = chooseHedge([slow, own], policy);
        if (hedge) expect(hedge.to <= own.from || hedge.from >= own.to).toBe(true);
        else expect(own.to - own.from).toBe(8);
      }),
    ));
});

describe("requestSize", () => {
  const size = { windowsPerRequest: 64, msPerWindow: 10, windowsPerMs: 0.2, windowsLeft: 1e6, batchSize: 1 };

  it("is the backend's maximum while much is left, and a quarter before its speed is known", () => {
    expect(requestSize(size)).toBe(64);
    expect(requestSize({ ...size, msPerWindow: undefined })).toBe(16);
  });

  it("shrinks to a quarter of the backend's share towards the end", () => {
    expect(requestSize({ ...size, windowsLeft: 80 })).toBe(10);
    expect(requestSize({ ...size, windowsLeft: 1 })).toBe(1);
  });

  it("is a positive multiple of the batch size, and at most the maximum if that holds a batch", () =>
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 64 }),
        fc.integer({ min: 1, max: 16 }),
        fc.integer({ min: 1, max: 1e5 }),
        fc.option(fc.double({ min: 0.1, max: 1e4, noNaN: true }), { nil: undefined }),
        (windowsPerRequest, batchSize, windowsLeft, msPerWindow) => {
          const windowsPerMs = 1 / (msPerWindow ?? 1);
          const n = requestSize({ windowsPerRequest, batchSize, windowsLeft, msPerWindow, windowsPerMs });
          expect(n).toBeGreaterThan(0);
          expect(n % batchSize).toBe(0);
          expect(n).toBeLessThanOrEqual(Math.max(windowsPerRequest, batchSize));
        },
      ),
    ));
});
