import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  applyEvent,
  type CohortEvent,
  Journal,
  type KeyState,
  readJournal,
  replayJournal,
} from "../../src/cohort/journal.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-journal-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const key = fc.constantFrom("a", "b", "c");
const at = fc.constant("2026-11-24T00:00:00.000Z");
const event: fc.Arbitrary<CohortEvent> = fc.oneof(
  fc.record({ at, type: fc.constant("begun" as const), key }),
  fc.record({ at, type: fc.constant("done" as const), key, job: fc.string(), found: fc.boolean() }),
  fc.record({
    at,
    type: fc.constant("failed" as const),
    key,
    code: fc.string(),
    reason: fc.string({ unit: "binary" }),
  }),
  fc.record({ at, type: fc.constant("retried" as const), key }),
  fc.record({ at, type: fc.constant("cancelled" as const) }),
);
const events = fc.array(event, { maxLength: 12 });

function statesOf(list: readonly CohortEvent[]): Map<string, KeyState> {
  const states = new Map<string, KeyState>();
  for (const e of list) applyEvent(states, e);
  return states;
}

describe("a journal", () => {
  it("cut at any byte has the state of its complete lines, and continues from there", () => {
    fc.assert(
      fc.property(events, events, fc.double({ min: 0, max: 1, noNaN: true }), (first, then, share) => {
        const lines = first.map((e) => `${JSON.stringify(e)}\n`);
        const bytes = Buffer.from(lines.join(""));
        const cut = Math.round(share * bytes.length);
        let whole = 0;
        for (let n = 0; whole < lines.length; whole++) {
          n += Buffer.byteLength(lines[whole]!);
          if (n > cut) break;
        }
        const file = join(directory, "cut.jsonl");
        writeFileSync(file, bytes.subarray(0, cut));
        expect(readJournal(file)).toEqual(statesOf(first.slice(0, whole)));
        const journal = Journal.open(file);
        for (const e of then) journal.append(e);
        journal.close();
        const all = statesOf([...first.slice(0, whole), ...then]);
        expect(journal.states).toEqual(all);
        expect(replayJournal(readFileSync(file)).states).toEqual(all);
      }),
      { numRuns: 60 },
    );
  });

  it("skips damaged lines and unknown events", () => {
    const file = join(directory, "spoiled.jsonl");
    writeFileSync(
      file,
      '{"type":"begun","key":"a"}\n\u0000\u0000garbage\nnull\n{"type":"later","key":"a"}\n',
    );
    appendFileSync(file, '{"type":"begun","key":"b"}\n');
    expect([...readJournal(file).keys()]).toEqual(["a", "b"]);
  });
});
