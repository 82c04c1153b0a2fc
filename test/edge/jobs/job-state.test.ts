import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { JobDocument } from "../../../src/contracts/job-plan-message.ts";
import { isFinal, type JobState } from "../../../src/contracts/job-request.ts";
import { JOB_PHASES } from "../../../src/edge/jobs/lifecycle/job-phase.ts";
import {
  canReplace,
  createJobRecord,
  currentPhase,
  dispatchRoom,
  endJob,
  isActive,
  type JobRecord,
  markStalled,
  millisecondsUntilStall,
  parseJobRecord,
  stateAfter,
  toJobStatus,
  touch,
} from "../../../src/edge/jobs/lifecycle/job-state.ts";

const STALL_SECONDS = 300;
const document = {
  id: "0".repeat(32),
  source: { uri: "r2://scans/a.tiff", etag: "e", byteLength: 10, name: "a.tiff" },
  model: { name: "nuclei", variant: "fp32", version: "1", hash: "h" },
  request: { settings: {} },
} as unknown as JobDocument;
const create = (now = 0) => createJobRecord(document, now, STALL_SECONDS);

const ended = fc.constantFrom("done" as const, "failed" as const, "cancelled" as const);
const states: JobState[] = [...JOB_PHASES.map(({ state }) => state), "done", "failed", "cancelled"];
const event = fc.oneof(
  fc.record({
    type: fc.constant("finished" as const),
    kind: fc.constantFrom(...JOB_PHASES).map((p) => p.kind),
  }),
  fc.record({ type: fc.constant("ended" as const), state: ended }),
  fc.record({ type: fc.constant("progress" as const) }),
  fc.record({ type: fc.constant("alarm" as const) }),
);

/** Applies an event as the ledger does: calls to a job that has ended change nothing. */
function apply(record: JobRecord, e: typeof event extends fc.Arbitrary<infer T> ? T : never, now: number) {
  if (!isActive(record)) return record;
  if (e.type === "ended") return endJob(record, e.state);
  if (e.type === "progress") return touch(record, now, STALL_SECONDS);
  if (e.type === "alarm") return millisecondsUntilStall(record, now) <= 0 ? markStalled(record, now) : record;
  const next = stateAfter(record, e.kind);
  if (next === undefined) return record;
  return next === "done" ? endJob(record, "done") : touch({ ...record, state: next }, now, STALL_SECONDS);
}

describe("the state of a job", () => {
  it("only moves forward, one phase at a time, and never leaves a final state", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(event, fc.nat(10_000_000)), { maxLength: 40 }), (events) => {
        let record = create();
        let now = 0;
        for (const [e, elapsed] of events) {
          now += elapsed;
          const next = apply(record, e, now);
          if (next.state !== record.state) {
            expect(isFinal(record.state)).toBe(false);
            expect(states.indexOf(next.state)).toBeGreaterThan(states.indexOf(record.state));
            if (e.type === "finished") expect(currentPhase(record).kind).toBe(e.kind);
            if (e.type === "finished" && !isFinal(next.state)) {
              expect(states.indexOf(next.state)).toBe(states.indexOf(record.state) + 1);
            }
          }
          expect(next.notificationPending === true).toBe(isFinal(next.state));
          record = next;
        }
      }),
    );
  });

  it("goes through every phase to done", () => {
    let record = create();
    const seen: JobState[] = [];
    for (const { kind } of JOB_PHASES) {
      seen.push(record.state);
      record = { ...record, state: stateAfter(record, kind)! };
    }
    expect([...seen, record.state]).toEqual(["planning", "mapping", "merging", "finishing", "done"]);
    expect(() => currentPhase(record)).toThrow("a job that is done is in no phase");
  });

  it("doubles its stall timeout up to an hour, and progress resets it", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30 }), (stalls) => {
        let record = create();
        let now = 0;
        for (let i = 1; i <= stalls; i++) {
          now += millisecondsUntilStall(record, now);
          expect(millisecondsUntilStall(record, now)).toBe(0);
          record = markStalled(record, now);
          expect(record.stallTimeoutSeconds).toBe(Math.min(STALL_SECONDS * 2 ** i, 3600));
        }
        expect(record.stalled).toBe(true);
        record = touch(record, now, STALL_SECONDS);
        expect(millisecondsUntilStall(record, now)).toBe(STALL_SECONDS * 1000);
      }),
    );
  });

  it("keeps at most 1000 characters of an error", () => {
    const failed = endJob(create(), "failed", { code: "task_failed", message: "x".repeat(2000) });
    expect(failed.error).toEqual({ code: "task_failed", message: "x".repeat(1000) });
  });
});

it.each([
  ["planning", true, true, false],
  ["mapping", true, true, false],
  ["failed", true, false, true],
  ["cancelled", true, false, true],
  ["failed", false, true, false],
  ["done", true, false, false],
  ["done", true, true, true],
] as const)("a job that is %s is replaced with again %s and lost %s: %s", (state, again, lost, replaced) => {
  expect(canReplace({ ...create(), state }, { again, lost })).toBe(replaced);
});

describe("dispatching", () => {
  it("never has more tasks in flight than allowed, and ends with all of them dispatched", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3000 }),
        fc.integer({ min: 1, max: 500 }),
        (total, tasksAhead) => {
          const limits = { tasksAhead, refillShare: 0.2 };
          let record: JobRecord = { ...create(), dispatched: { kind: "shard", lastId: -1, tasks: 0 } };
          for (let done = 0; done <= total; done++) {
            const { tasks } = record.dispatched!;
            const room = Math.min(dispatchRoom(record, { tasks: done, windows: 0 }, limits), total - tasks);
            record = {
              ...record,
              dispatched: { kind: "shard", lastId: tasks + room - 1, tasks: tasks + room },
            };
            expect(tasks + room - done).toBeLessThanOrEqual(tasksAhead);
            // A phase in which nothing is in flight would wait for the alarm.
            if (done < total) expect(tasks + room).toBeGreaterThan(done);
          }
          expect(record.dispatched!.tasks).toBe(total);
        },
      ),
    );
  });

  it("dispatches nothing before the phase starts", () => {
    const limits = { tasksAhead: 500, refillShare: 0.2 };
    expect(dispatchRoom(create(), { tasks: 0, windows: 0 }, limits)).toBe(0);
  });
});

it("reads its own records, and those of version 0.1.0", () => {
  const record = {
    ...markStalled(create(1000), 5000),
    dispatched: { kind: "merge" as const, lastId: 7, tasks: 8 },
  };
  expect(parseJobRecord(JSON.stringify(record))).toEqual(record);
  const { lastProgressAt, stallTimeoutSeconds, stalled, dispatched, ...rest } = { ...record, untold: true };
  const old = {
    ...rest,
    movedAt: lastProgressAt,
    stallSeconds: stallTimeoutSeconds,
    woken: stalled,
    sent: { kind: dispatched.kind, last: dispatched.lastId, tasks: dispatched.tasks },
  };
  expect(parseJobRecord(JSON.stringify(old))).toEqual({ ...record, notificationPending: true });
});

it("reports progress of registered tasks only, and outputs only once the job is done", () => {
  const outputs = [{ path: "labels.ome.zarr" }] as unknown as JobRecord["outputs"];
  const record: JobRecord = { ...create(), state: "mapping", windows: 9, expected: { shard: 4 }, outputs };
  const finished = () => ({ tasks: 3, windows: 7 });
  const status = toJobStatus(record, finished);
  expect(status).toMatchObject({ windows: { total: 9, done: 7 }, shards: { total: 4, done: 3 } });
  expect([status.merges, status.outputs]).toEqual([undefined, undefined]);
  expect(toJobStatus({ ...record, state: "done" }, finished).outputs).toBe(outputs);
});

it("estimates the cost of a job so far, and of all of it until it has ended", () => {
  const record: JobRecord = {
    ...create(),
    state: "mapping",
    windows: 100,
    expected: { shard: 10, merge: 2 },
  };
  const at = (state: JobState, share: number) =>
    toJobStatus({ ...record, state }, (kind) => ({
      tasks: share * (record.expected[kind] ?? 0),
      windows: kind === "shard" ? share * 100 : 0,
    })).estimatedCost!;
  const [none, half, whole] = [at("mapping", 0), at("mapping", 0.5), at("finishing", 1)];
  expect(none.amount).toBeLessThan(half.amount);
  expect(half.amount).toBeLessThan(whole.amount);
  expect(whole.amount).toBeCloseTo(whole.total!, 3);
  expect(at("done", 1).total).toBeUndefined();
  expect(toJobStatus(create(), () => ({ tasks: 0, windows: 0 })).estimatedCost).toBeUndefined();
});
