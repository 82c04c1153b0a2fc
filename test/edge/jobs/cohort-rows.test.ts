import { beforeEach, describe, expect, it } from "vitest";
import { SqlStorage } from "../../../bench/scale/sql-storage.ts";
import { CohortRows } from "../../../src/edge/jobs/cohorts/cohort-rows.ts";

/** Rows of a cohort on a real SQLite. */
let rows: CohortRows;
beforeEach(() => {
  rows = new CohortRows(new SqlStorage() as never);
  rows.add({ id: "a", source: "r2://scans/a.tiff" });
});

const next = (nowMs: number) => rows.next(nowMs)!;

describe("the start time of a row", () => {
  it("is that of its first attempt until one succeeds, so that the job of any attempt is billed to the cohort", () => {
    for (const nowMs of [1000, 7000, 20_000]) {
      const begun = rows.begin(next(nowMs), nowMs);
      expect(begun.started_at).toBe(1000);
      expect(rows.current(begun)).toBeDefined();
      rows.postpone(begun, nowMs + 5000);
      expect(rows.current(begun)).toBeUndefined();
      expect(rows.next(nowMs + 4999)).toBeUndefined();
    }
    expect(next(50_000)).toMatchObject({ state: "pending", tries: 3 });
  });

  it.each([
    ["its job was given up", (row: ReturnType<typeof next>) => rows.requeue(row, 0, true)],
    ["the cohort was cancelled", (row: ReturnType<typeof next>) => rows.requeue(row, 0, false)],
    [
      "it failed and is done again",
      (row: ReturnType<typeof next>) => {
        rows.fail(row, { code: "storage", reason: "none" }, undefined);
        rows.reopen(rows.failed()[0]!);
      },
    ],
    [
      "its source is another",
      (row: ReturnType<typeof next>) => rows.replace(row, { source: "r2://scans/b.tiff" }),
    ],
  ])("is reset where %s, so that earlier jobs are older than the next start", (_, happens) => {
    const first = rows.begin(next(1000), 1000);
    rows.postpone(first, 2000);
    const second = rows.begin(next(2000), 2000);
    happens(second);
    expect(rows.begin(next(3000), 3000).started_at).toBe(3000);
    expect(rows.counts).toMatchObject({ pending: 0, running: 1, failed: 0 });
  });

  it.each([
    ["that was given up", (row: ReturnType<typeof next>) => rows.requeue(row, 0, true)],
    ["that was cancelled", (row: ReturnType<typeof next>) => rows.requeue(row, 0, false)],
    [
      "that failed and is done again",
      (row: ReturnType<typeof next>) => {
        rows.fail(row, { code: "storage", reason: "none" }, undefined);
        rows.reopen(rows.failed()[0]!);
      },
    ],
  ])("keeps the id of a job %s, so that clients can delete it with the cohort", (_, happens) => {
    const row = rows.begin(next(1000), 1000);
    rows.started(row, "c".repeat(32), true);
    happens(row);
    expect(rows.page(0, 10).rows).toMatchObject([{ state: "pending", job: "c".repeat(32) }]);
    // The next start has none yet.
    expect(rows.begin(next(3000), 3000).job).toBeNull();
    expect(rows.running()[0]!.job).toBeNull();
  });

  it("keeps no job that others started", () => {
    const row = rows.begin(next(1000), 1000);
    rows.started(row, "c".repeat(32), false);
    rows.requeue(row, 0, false);
    expect(rows.page(0, 10).rows[0]!.job).toBeUndefined();
  });
});
