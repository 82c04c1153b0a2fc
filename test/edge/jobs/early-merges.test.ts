import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SqlStorage } from "../../../bench/scale/sql-storage.ts";
import { EarlyMerges } from "../../../src/edge/jobs/lifecycle/early-merges.ts";

const merges = fc.array(fc.uniqueArray(fc.nat(9), { minLength: 1, maxLength: 5 }), { maxLength: 8 });

describe("merges that wait for shards", () => {
  it("are found by each of their shards until they are dispatched, also after a restart", () => {
    const step = fc.record({ action: fc.constantFrom("send", "unsend", "restart"), id: fc.nat(7) });
    fc.assert(
      fc.property(merges, fc.array(step, { maxLength: 20 }), (needs, steps) => {
        const sql = new SqlStorage();
        let table = new EarlyMerges(sql as never);
        // Twice, as a step of a Workflow that is repeated.
        for (let n = 0; n < 2; n++) table.add(needs.map((shards, id) => ({ id, shards })));
        const sent = new Set<number>();
        for (const { action, id } of steps) {
          if (action === "restart") table = new EarlyMerges(sql as never);
          else if (id < needs.length) {
            table.markSent([id], action === "send");
            if (action === "send") sent.add(id);
            else sent.delete(id);
          }
          for (let shard = 0; shard < 10; shard++) {
            const expected = needs.flatMap((shards, n) =>
              shards.includes(shard) && !sent.has(n) ? [n] : [],
            );
            expect(table.waitingFor(shard).map((merge) => merge.id)).toEqual(expected);
          }
          for (const [n, shards] of needs.entries()) {
            expect(table.isSent(n)).toBe(sent.has(n));
            expect(table.shardsOf(n)).toEqual(shards);
          }
          expect(table.shardsOf(needs.length)).toEqual([]);
        }
        table.clear();
        expect(table.waitingFor(0)).toEqual([]);
        expect(table.isSent(0)).toBe(false);
      }),
    );
  });
});
