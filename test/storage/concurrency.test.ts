import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { forEachConcurrent, mapConcurrent } from "../../src/storage/concurrency.ts";

/** A call that ends after so many turns of the event loop, with an error if told to. */
const call = fc.record({ turns: fc.nat({ max: 4 }), fails: fc.boolean() });

async function turns(count: number): Promise<void> {
  for (let n = 0; n < count; n++) await new Promise((resolve) => setImmediate(resolve));
}

describe("mapConcurrent", () => {
  it("keeps the limit, the order of starts and results, and stops at the first error", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(call, { maxLength: 12 }),
        fc.integer({ min: 1, max: 5 }),
        async (calls, limit) => {
          const started: number[] = [];
          const errors: Error[] = [];
          let running = 0;
          let startedAfterError = 0;
          const outcome = await mapConcurrent(calls, limit, async ({ turns: count, fails }, index) => {
            if (errors.length > 0) startedAfterError++;
            started.push(index);
            expect(++running).toBeLessThanOrEqual(limit);
            await turns(count);
            running--;
            if (fails) {
              errors.push(new Error(`call ${index}`));
              throw errors.at(-1);
            }
            return index;
          }).catch((error: unknown) => ({ error }));
          expect(running).toBe(0);
          expect(startedAfterError).toBe(0);
          expect(started).toEqual(started.map((_, n) => n));
          if (errors.length === 0) expect(outcome).toEqual(calls.map((_, n) => n));
          else expect(outcome).toEqual({ error: errors[0] });
        },
      ),
    );
  });

  it("uses all of its limit", async () => {
    let running = 0;
    let most = 0;
    await forEachConcurrent(Array.from({ length: 20 }), 7, async () => {
      most = Math.max(most, ++running);
      await turns(1);
      running--;
    });
    expect(most).toBe(7);
  });

  it("starts nothing after an abort, awaits running calls and throws the reason", async () => {
    const controller = new AbortController();
    const reason = new Error("stop");
    const ended: number[] = [];
    const all = mapConcurrent(
      [0, 1, 2, 3, 4],
      2,
      async (n) => {
        await turns(3);
        ended.push(n);
      },
      { signal: controller.signal },
    );
    await turns(1);
    controller.abort(reason);
    await expect(all).rejects.toBe(reason);
    expect(ended).toEqual([0, 1]);
  });

  it("calls nothing under a signal that is already aborted", async () => {
    let calls = 0;
    const signal = AbortSignal.abort(new Error("stop"));
    await expect(mapConcurrent([1], 1, () => calls++, { signal })).rejects.toThrow("stop");
    expect(calls).toBe(0);
    expect(await mapConcurrent([], 1, () => calls++, { signal })).toEqual([]);
  });

  it("returns all results if the abort comes after the last start", async () => {
    const controller = new AbortController();
    const all = mapConcurrent([1, 2], 2, (n) => turns(2).then(() => n), { signal: controller.signal });
    await turns(1);
    controller.abort();
    expect(await all).toEqual([1, 2]);
  });

  it("treats a synchronous error like a rejected promise", async () => {
    await expect(
      mapConcurrent([1, 2], 1, () => {
        throw new RangeError("no");
      }),
    ).rejects.toThrow(new RangeError("no"));
  });

  it("rejects a limit below one", async () => {
    await expect(mapConcurrent([1], 0, () => 1)).rejects.toThrow(TypeError);
  });
});
