import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { SqlStorage } from "../../../bench/scale/sql-storage.ts";
import { TaskTable } from "../../../src/edge/jobs/lifecycle/task-table.ts";

const create = (sql = new SqlStorage()) => new TaskTable(sql as never);

afterEach(() => void vi.useRealTimers());

describe("the table of tasks", () => {
  it("counts every task once, however often it is done or reopened", () => {
    const step = fc.record({
      id: fc.integer({ min: 0, max: 9 }),
      windows: fc.integer({ min: 0, max: 50 }),
      action: fc.constantFrom("done", "reopen", "error", "restart"),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const sql = new SqlStorage();
        let table = create(sql);
        table.add("shard", [0, 1, 2, 3, 4, 5, 6, 7]);
        const model = new Map<number, number>();
        for (const { id, windows, action } of steps) {
          if (action === "done") {
            const isNew = id < 8 && !model.has(id);
            expect(table.markDone("shard", id, { windows })).toBe(isNew);
            if (isNew) model.set(id, windows);
          } else if (action === "reopen") {
            expect(table.reopen("shard", id)).toBe(model.delete(id));
          } else if (action === "error") {
            table.recordError("shard", id, "no memory");
          } else {
            table = create(sql);
          }
          const sum = [...model.values()].reduce((a, b) => a + b, 0);
          expect(table.finished("shard")).toEqual({ tasks: model.size, windows: sum });
          const open = [0, 1, 2, 3, 4, 5, 6, 7].filter((n) => !model.has(n));
          expect(table.openIds("shard", -1, 100)).toEqual(open);
          expect(table.isOpen("shard", id)).toBe(open.includes(id));
        }
        expect([...table.reports("shard")]).toHaveLength(model.size);
        sql.close();
      }),
      { numRuns: 50 },
    );
  });

  it("keeps kinds apart, adds a task once, and lists a page of open ids", () => {
    const table = create();
    table.add("merge", [0, 1, 2, 3]);
    table.markDone("merge", 1, {});
    table.add("merge", [0, 1, 2, 3]);
    expect(table.openIds("merge", 0, 1)).toEqual([2]);
    expect(table.openIds("shard", -1, 10)).toEqual([]);
    table.clear();
    expect(table.finished("merge")).toEqual({ tasks: 0, windows: 0 });
  });

  it("keeps 500 characters of the last error", () => {
    const table = create();
    table.add("plan", [0]);
    expect(table.lastError("plan", 0)).toBeUndefined();
    table.recordError("plan", 0, "x".repeat(600));
    expect(table.lastError("plan", 0)).toBe("x".repeat(500));
  });

  it("counts attempts far enough apart, until one reports", () => {
    vi.useFakeTimers({ now: 1_000_000 });
    const table = create();
    table.add("shard", [5]);
    expect(table.countAttempt("shard", 5, 300_000)).toBe(1);
    expect(table.countAttempt("shard", 5, 300_000)).toBe(1);
    vi.advanceTimersByTime(300_000);
    expect(table.countAttempt("shard", 5, 300_000)).toBe(2);
    table.recordError("shard", 5, "the network is down");
    vi.advanceTimersByTime(300_000);
    expect(table.countAttempt("shard", 5, 300_000)).toBe(1);
  });

  it("adds the columns that tables of version 0.1.0 lack", () => {
    const sql = new SqlStorage();
    sql.exec(
      "CREATE TABLE tasks (kind TEXT, id INTEGER, done INTEGER NOT NULL DEFAULT 0, report TEXT, error TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID",
    );
    sql.exec("INSERT INTO tasks (kind, id, done, report) VALUES ('shard', 3, 1, '[12,100]')");
    const table = create(sql);
    expect(table.finished("shard")).toEqual({ tasks: 1, windows: 12 });
    table.add("shard", [4]);
    expect(table.countAttempt("shard", 4, 1000)).toBe(1);
  });
});
