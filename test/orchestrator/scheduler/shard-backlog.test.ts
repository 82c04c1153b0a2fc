import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { countInFlight, isDone, ShardBacklog } from "../../../src/orchestrator/scheduler/shard-backlog.ts";

describe("ShardBacklog", () => {
  it("hands out every window once, in order, and those of failed requests again", () =>
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }),
        fc.array(fc.record({ size: fc.integer({ min: 1, max: 5 }), fails: fc.boolean() }), { maxLength: 30 }),
        (shards, requests) => {
          const backlog = new ShardBacklog<number>();
          for (const [n, windows] of shards.entries()) backlog.add(n, windows);
          const total = shards.reduce((a, b) => a + b, 0);
          expect(backlog.pendingWindows).toBe(total);
          const results: string[] = [];
          const last = { shard: -1, from: 0 };
          for (const { size, fails } of [...requests, ...Array(total).fill({ size: 9, fails: false })]) {
            const range = backlog.take(size);
            if (!range) break;
            expect(range.to - range.from).toBeLessThanOrEqual(size);
            const { shard } = range.open;
            // Never ahead of a window that is pending.
            expect(shard > last.shard || (shard === last.shard && range.from >= last.from)).toBe(true);
            countInFlight(range, 1);
            countInFlight(range, -1);
            if (fails) {
              backlog.requeue(range);
              continue;
            }
            Object.assign(last, { shard, from: range.to });
            const names = Array.from(
              { length: range.to - range.from },
              (_, i) => `${shard}:${range.from + i}`,
            );
            results.push(...backlog.complete(range, names));
            expect(isDone(range)).toBe(true);
          }
          expect(results).toEqual(
            shards.flatMap((n, shard) => Array.from({ length: n }, (_, i) => `${shard}:${i}`)),
          );
          expect(backlog).toMatchObject({ pendingWindows: 0, doneWindows: total, isFinished: true, span: 0 });
        },
      ),
    ));

  it("returns only the results of windows that had none", () => {
    const backlog = new ShardBacklog<string>();
    backlog.add("a", 4);
    const range = backlog.take(4)!;
    expect(backlog.complete({ ...range, to: 2 }, ["0", "1"])).toEqual(["0", "1"]);
    expect(backlog.complete(range, ["0", "1", "2", "3"])).toEqual(["2", "3"]);
    expect(backlog.complete(range, ["0", "1", "2", "3"])).toEqual([]);
    expect(backlog.doneWindows).toBe(4);
  });

  it("requeues only the windows that no other request has", () => {
    const backlog = new ShardBacklog<string>();
    backlog.add("a", 6);
    const range = backlog.take(6)!;
    const hedge = { ...range, from: 2, to: 4 };
    countInFlight(hedge, 1);
    backlog.requeue(range);
    expect(backlog.pendingWindows).toBe(4);
    expect(backlog.take(9)).toMatchObject({ from: 0, to: 2 });
    expect(backlog.take(9)).toMatchObject({ from: 4, to: 6 });
  });

  it("counts the span from the oldest unfinished shard", () => {
    const backlog = new ShardBacklog<string>();
    for (const shard of ["a", "b", "c"]) backlog.add(shard, 2);
    const [a, b] = [backlog.take(2)!, backlog.take(2)!];
    backlog.complete(b, [1, 2]);
    expect(backlog.span).toBe(6);
    backlog.complete(a, [1, 2]);
    expect(backlog.span).toBe(2);
    expect(backlog.largestShard).toBe(2);
  });
});
