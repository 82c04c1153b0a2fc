import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Bindings } from "../../../src/edge/jobs/context/bindings.ts";
import { chooseShardQueue, shardQueueIndex } from "../../../src/edge/jobs/lifecycle/shard-queues.ts";

const hex = fc.stringMatching(/^[0-9a-f]{32}$/);

describe("the queue of shards", () => {
  it("is one of the bound queues, and always the same", () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 100 }), (job, count) => {
        const index = shardQueueIndex(job, count);
        expect(Number.isInteger(index) && index >= 0 && index < count).toBe(true);
        expect(shardQueueIndex(job, count)).toBe(index);
      }),
    );
  });

  it("gets an even share of shards", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(hex, { minLength: 4000, maxLength: 4000 }),
        fc.constantFrom(2, 4, 16, 40),
        (jobs, count) => {
          const share = new Array<number>(count).fill(0);
          for (const job of jobs) share[shardQueueIndex(job, count)]!++;
          const expected = jobs.length / count;
          // Within six standard deviations of a random choice.
          const bound = 6 * Math.sqrt(expected);
          for (const jobsHere of share) expect(Math.abs(jobsHere - expected)).toBeLessThan(bound);
        },
      ),
      { numRuns: 8 },
    );
  });

  it("is among SHARDS, SHARDS_1 … up to the first gap", () => {
    const named = (name: string) => ({ name }) as unknown as Bindings["SHARDS"];
    const env: Bindings = { SHARDS: named("0"), SHARDS_1: named("1"), SHARDS_3: named("3") };
    const chosen = Array.from({ length: 50 }, (_, n) => chooseShardQueue(env, "job", 100 * n));
    expect(new Set(chosen)).toEqual(new Set([env.SHARDS, env.SHARDS_1]));
    const one = { SHARDS: named("0") };
    expect(chooseShardQueue(one, "any", 7)).toBe(one.SHARDS);
  });
});
