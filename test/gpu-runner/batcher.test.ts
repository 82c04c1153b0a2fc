import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Batcher, type BatcherOptions } from "../../gpu-runner/batcher.ts";
import { RunnerError } from "../../gpu-runner/errors.ts";
import { InferenceError } from "../../src/inference/errors.ts";
import { encodeWindows } from "../../src/tiling/wire/mask-record.ts";
import { expected, RoundingDevice, SimulatedDevice, windowsOf } from "./simulated-device.ts";

const SCALING = { low: 0, high: 1 };
const POISON = 999;
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

function batcherOf(devices: SimulatedDevice[], options: Partial<BatcherOptions> = {}): Batcher {
  return new Batcher(devices, { maxBatch: 4, latencyMs: 5, maxQueued: 10_000, ...options });
}

describe("Batcher: properties", () => {
  const request = fc.record({
    tags: fc.array(fc.integer({ min: 0, max: 998 }), { minLength: 1, maxLength: 9 }),
    /** Its kind: windows of different ones never share a run. */
    kind: fc.integer({ min: 0, max: 2 }),
    poisoned: fc.boolean(),
    abortAfterMs: fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined, freq: 3 }),
    startsAfterMs: fc.integer({ min: 0, max: 4 }),
  });

  it("returns each window's result once; aborts, failures and lack of memory of one request do not affect others", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(request, { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 6 }),
        async (requests, count, maxBatch, memoryWindows) => {
          const devices = Array.from(
            { length: count },
            (_, i) => new SimulatedDevice({ runMs: i % 2, poison: POISON, memoryWindows }),
          );
          const batcher = batcherOf(devices, { maxBatch });
          await Promise.all(
            requests.map(async ({ tags, kind, poisoned, abortAfterMs, startsAfterMs }) => {
              await pause(startsAfterMs);
              const sent = poisoned ? [...tags, POISON] : tags;
              const controller = new AbortController();
              const reason = new Error("no longer wanted");
              if (abortAfterMs !== undefined) setTimeout(() => controller.abort(reason), abortAfterMs);
              const got = new Map<number, number[]>();
              let over = false;
              const options = { scaling: { low: 0, high: kind + 1 }, signal: controller.signal };
              const outcome = await batcher
                .segmentEach(windowsOf(sent), options, (n, probabilities) => {
                  expect(over, "handed over after the end").toBe(false);
                  expect(got.has(n), "handed over twice").toBe(false);
                  got.set(n, [...probabilities]);
                })
                .catch((error) => error);
              over = true;
              for (const [n, values] of got) {
                const [a, b] = expected(sent[n]!);
                expect(values).toEqual([a, a, b, b]);
              }
              if (outcome === undefined) {
                expect(poisoned, "a poisoned request must fail").toBe(false);
                expect(got.size).toBe(sent.length);
              } else if (outcome === reason) expect(abortAfterMs).toBeDefined();
              else {
                expect(outcome).toBeInstanceOf(InferenceError);
                expect(poisoned, "only a poisoned request may fail").toBe(true);
              }
            }),
          );
          expect(batcher.queued).toBe(0);
          await batcher.close();
          for (const device of devices) {
            expect(device.closed).toBe(true);
            for (const run of device.runs) expect(run.windows).toBeLessThanOrEqual(maxBatch);
          }
        },
      ),
      { numRuns: 120 },
    ));

  it("runs windows of one kind in the order of arrival", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 5 }),
        async (sizes, maxBatch, memoryWindows) => {
          const device = new SimulatedDevice({ memoryWindows });
          const batcher = batcherOf([device], { maxBatch });
          let next = 0;
          const requests = sizes.map((size) =>
            batcher.segment(windowsOf(Array.from({ length: size }, () => next++)), { scaling: SCALING }),
          );
          await Promise.all(requests);
          const done = device.runs.filter((run) => run.windows <= memoryWindows).flatMap((run) => run.tags);
          expect(done).toEqual(Array.from({ length: next }, (_, i) => i));
        },
      ),
      { numRuns: 60 },
    ));

  it("runs only windows of equal normalization, type and precision together, and passes these to the device", async () => {
    const device = new SimulatedDevice({ runMs: 2 });
    const batcher = batcherOf([device], { maxBatch: 64 });
    const kinds = [
      { scaling: { low: 0, high: 1 } },
      { scaling: { low: 0, high: 2 } },
      { scaling: { low: 0, high: 2 }, precision: "u8" as const },
      { scaling: { low: 0, high: 2, clip: [0, 1] as const } },
      { scaling: { low: 0, high: 2, offset: 1 } },
      { scaling: { low: 0, high: 2, scale: 1 } },
    ];
    await Promise.all(
      Array.from({ length: 30 }, (_, i) => batcher.segment(windowsOf([i, i]), kinds[i % kinds.length]!)),
    );
    // The first finds the device idle; all the others wait behind it and come as one run a kind.
    expect(device.runs.length).toBe(kinds.length + 1);
    for (const run of device.runs) {
      const kind = kinds[run.tags[0]! % kinds.length]!;
      expect(run.options).toEqual({ precision: "f32", ...kind });
      for (const tag of run.tags) expect(tag % kinds.length).toBe(run.tags[0]! % kinds.length);
    }
  });
});

describe("a session that returns another shape", () => {
  it("fails and pauses like one that throws, and is tried again later", async () => {
    class Misshapen extends SimulatedDevice {
      right = false;
      override async segment(...args: Parameters<SimulatedDevice["segment"]>) {
        const result = await super.segment(...args);
        return this.right ? result : { ...result, shape: [result.shape[0]!, 1, 2, 2] };
      }
    }
    const device = new Misshapen();
    const batcher = batcherOf([device], { restMs: 50 });
    for (let i = 0; i < 3; i++) {
      expect(batcher.healthy).toBe(true);
      await expect(batcher.segment(windowsOf([i]), { scaling: SCALING })).rejects.toThrow("expected 1×2×1×2");
    }
    expect(batcher.healthy).toBe(false);
    // Who asks whether it is ready must let work come again, or nobody would ever find out.
    await pause(60);
    expect(batcher.healthy).toBe(true);
    device.right = true;
    await batcher.segment(windowsOf([5]), { scaling: SCALING });
    expect(batcher.healthy).toBe(true);
    await batcher.close();
  });
});

describe("records", () => {
  const tags = [3, 141, 592, 653];
  it.each(["u8", "f16", "f32"] as const)("in %s are the same whoever rounds", async (precision) => {
    const answers = await Promise.all(
      [new SimulatedDevice(), new RoundingDevice()].map(async (device) => {
        const batcher = batcherOf([device]);
        const encoded = await batcher.segmentEncoded(windowsOf(tags), { scaling: SCALING, precision });
        await batcher.close();
        return encoded;
      }),
    );
    expect(answers[0]).toEqual(answers[1]);
    const probabilities = Float32Array.from(tags.flatMap((tag) => expected(tag).flatMap((p) => [p, p])));
    expect(answers[0]).toEqual(encodeWindows({ data: probabilities, shape: [4, 2, 1, 2] }, precision));
  });

  it("do not keep the memory of other windows of their run", async () => {
    class OneBuffer extends RoundingDevice {
      override async segmentEncoded(...args: Parameters<RoundingDevice["segmentEncoded"]>) {
        const { data, shape } = await super.segmentEncoded(...args);
        const all = Buffer.concat(data as Uint8Array[]);
        return { shape, data: data.map((_, n) => new Uint8Array(all.buffer, all.byteOffset + n * 4, 4)) };
      }
    }
    const batcher = batcherOf([new OneBuffer()]);
    const { data } = await batcher.segmentEncoded(windowsOf(tags), { scaling: SCALING, precision: "u8" });
    for (const one of data) expect(one.buffer.byteLength).toBe(4);
    await batcher.close();
  });
});

describe("when windows run", () => {
  it("at once on an idle session, spread over all sessions", async () => {
    const devices = [1, 2, 3].map(() => new SimulatedDevice({ runMs: 40 }));
    const batcher = batcherOf(devices, { maxBatch: 1, latencyMs: 10_000 });
    const started = performance.now();
    await batcher.segment(windowsOf([1, 2, 3, 4, 5, 6]), { scaling: SCALING });
    // None waits for others to come.
    expect(performance.now() - started).toBeLessThan(9000);
    expect(devices.map((d) => d.runs.length)).toEqual([2, 2, 2]);
  });

  it("a window waits for others up to the maximum delay, then queues behind the current run", async () => {
    const device = new SimulatedDevice({ runMs: 150 });
    const batcher = batcherOf([device], { maxBatch: 8, latencyMs: 30 });
    const first = batcher.segment(windowsOf([1]), { scaling: SCALING });
    const second = batcher.segment(windowsOf([2]), { scaling: SCALING });
    await pause(5);
    const third = batcher.segment(windowsOf([3]), { scaling: SCALING });
    expect(batcher.queued).toBe(2);
    await pause(75);
    expect(batcher.queued, "both stand in line now, in one batch").toBe(0);
    const late = batcher.segment(windowsOf([4]), { scaling: SCALING });
    await Promise.all([first, second, third, late]);
    expect(device.runs.map((run) => run.tags)).toEqual([[1], [2, 3], [4]]);
  });

  it("a full batch does not wait", async () => {
    const device = new SimulatedDevice({ runMs: 30 });
    const batcher = batcherOf([device], { maxBatch: 3, latencyMs: 10_000 });
    const all = [1, 2, 3, 4].map((tag) => batcher.segment(windowsOf([tag]), { scaling: SCALING }));
    expect(batcher.queued).toBe(0);
    await Promise.all(all);
    expect(device.runs.map((run) => run.tags)).toEqual([[1], [2, 3, 4]]);
  });

  it("a rare kind is not starved by a kind with full batches", async () => {
    const device = new SimulatedDevice({ runMs: 4 });
    const batcher = batcherOf([device], { maxBatch: 4, latencyMs: 15 });
    const ATONCE = 10;
    let stop = false;
    const flood = Array.from({ length: ATONCE }, async () => {
      while (!stop) await batcher.segment(windowsOf([1, 1, 1, 1]), { scaling: SCALING });
    });
    await pause(40);
    const before = device.runs.length;
    await batcher.segment(windowsOf([700]), { scaling: { low: 0, high: 2 } });
    const waited = device.runs.length - before;
    stop = true;
    await Promise.all(flood);
    // What was there before it, what was let past while it was not overdue, and its own.
    expect(waited).toBeLessThan(ATONCE + 10);
  });

  it("two devices each do half of the work", async () => {
    const devices = Array.from({ length: 2 }, () => new SimulatedDevice({ runMs: 20 }));
    const batcher = batcherOf(devices, { maxBatch: 4 });
    await Promise.all(
      Array.from({ length: 20 }, () => batcher.segment(windowsOf([1, 2, 3, 4]), { scaling: SCALING })),
    );
    const [a, b] = devices.map(({ runs }) => runs.length) as [number, number];
    expect(a + b).toBe(20);
    expect(Math.min(a, b)).toBeGreaterThanOrEqual(9);
  });
});

describe("failures", () => {
  it("a full queue rejects at once and accepts again later", async () => {
    const device = new SimulatedDevice({ runMs: 20 });
    const batcher = batcherOf([device], { maxBatch: 1, maxQueued: 3 });
    const first = batcher.segment(windowsOf([1, 2, 3]), { scaling: SCALING });
    const refused = batcher.segment(windowsOf([4, 5, 6]), { scaling: SCALING });
    await expect(refused).rejects.toMatchObject({ name: "RunnerError", code: "busy" });
    await first;
    await batcher.segment(windowsOf([4, 5, 6]), { scaling: SCALING });
  });

  it("an abort drops waiting windows before they reach the device", async () => {
    const device = new SimulatedDevice({ runMs: 20 });
    const batcher = batcherOf([device], { maxBatch: 1, maxQueued: 10 });
    const controller = new AbortController();
    const reason = new Error("gone");
    const gone = batcher.segment(windowsOf([1, 2, 3, 4, 5, 6, 7, 8]), {
      scaling: SCALING,
      signal: controller.signal,
    });
    expect(batcher.queued).toBe(6);
    controller.abort(reason);
    await expect(gone).rejects.toBe(reason);
    expect(batcher.queued).toBe(0);
    await batcher.segment(windowsOf([20]), { scaling: SCALING });
    expect(device.runs.map((run) => run.tags[0])).toEqual([1, 2, 20]);
    const before = AbortSignal.abort(reason);
    await expect(batcher.segment(windowsOf([1]), { scaling: SCALING, signal: before })).rejects.toBe(reason);
  });

  it("lack of memory halves batches until they fit; they grow again later", async () => {
    const device = new SimulatedDevice({ memoryWindows: 3 });
    const batcher = batcherOf([device], { maxBatch: 16, regrowMs: 60 });
    const tags = Array.from({ length: 40 }, (_, i) => i);
    const { data } = await batcher.segment(windowsOf(tags), { scaling: SCALING });
    expect([...data].filter((_, i) => i % 4 === 0)).toEqual(tags.map((tag) => expected(tag)[0]));
    expect(batcher.batchLimit).toBe(2);
    device.options = {};
    for (const limit of [4, 8, 16]) {
      await pause(70);
      await batcher.segment(windowsOf(tags), { scaling: SCALING });
      expect(batcher.batchLimit).toBe(limit);
    }
  });

  it("a request is rejected if not even one window fits, and the next one is tried", async () => {
    const device = new SimulatedDevice({ memoryWindows: 0 });
    const batcher = batcherOf([device], { maxBatch: 8 });
    const refused = batcher.segment(windowsOf([1, 2, 3, 4, 5]), { scaling: SCALING });
    await expect(refused).rejects.toMatchObject({ name: "RunnerError", code: "out_of_memory" });
    await expect(refused).rejects.toThrow(/no memory for a single window/);
    expect(batcher.healthy).toBe(true);
    device.options = { memoryWindows: 1 };
    await batcher.segment(windowsOf([1, 2, 3]), { scaling: SCALING });
  });

  it("a session that fails repeatedly gets no work while another one works", async () => {
    const broken = new SimulatedDevice({ poison: 1 });
    const sound = new SimulatedDevice({ runMs: 5 });
    const batcher = batcherOf([broken, sound], { maxBatch: 1 });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 40 }, () => batcher.segment(windowsOf([1]), { scaling: SCALING })),
    );
    const failed = outcomes.filter((o) => o.status === "rejected").length;
    expect(failed).toBeGreaterThan(0);
    expect(failed).toBeLessThanOrEqual(5);
    expect(batcher.healthy).toBe(true);
    sound.options = { poison: 1 };
    for (let i = 0; i < 6; i++) {
      await expect(batcher.segment(windowsOf([1]), { scaling: SCALING })).rejects.toThrow(InferenceError);
    }
    expect(batcher.healthy).toBe(false);
    // And is sound again as soon as something has worked.
    sound.options = {};
    broken.options = {};
    await batcher.segment(windowsOf([1]), { scaling: SCALING });
    expect(batcher.healthy).toBe(true);
  });

  it("a result of another shape is an error", async () => {
    const device = new SimulatedDevice();
    const wrong = Object.assign(Object.create(device) as SimulatedDevice, {
      segment: async () => ({ data: new Float32Array(3), shape: [1, 3, 1, 1] }),
    });
    const batcher = batcherOf([wrong]);
    await expect(batcher.segment(windowsOf([1]), { scaling: SCALING })).rejects.toThrow(
      "the model returned 1×3×1×1, expected 1×2×1×2",
    );
  });

  it("closing rejects waiting requests and awaits running ones", async () => {
    const device = new SimulatedDevice({ runMs: 20 });
    const batcher = batcherOf([device], { maxBatch: 1 });
    const request = batcher.segment(windowsOf([1, 2, 3, 4]), { scaling: SCALING });
    request.catch(() => {});
    await batcher.close();
    await expect(request).rejects.toBeInstanceOf(RunnerError);
    expect(device.closed).toBe(true);
    expect(device.runs.length).toBe(2);
    await expect(batcher.segment(windowsOf([1]), { scaling: SCALING })).rejects.toMatchObject({
      code: "draining",
    });
  });
});
