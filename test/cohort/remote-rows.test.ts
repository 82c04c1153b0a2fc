import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { splitIntoPages } from "../../src/cohort/remote/cohort-client.ts";
import { cohortRowSchema, rowsPageSchema, rowsSchema } from "../../src/contracts/cohort-request.ts";

const row = fc.record({
  id: fc.stringMatching(/^[\w. -]{1,200}$/),
  source: fc.string({ minLength: 1, maxLength: 2048 }),
});

describe("rows sent to a service", () => {
  it("are split into pages that fit a request, without losing or repeating any", () => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 300 }), fc.integer({ min: 1, max: 12 }), (some, times) => {
        const rows = Array.from({ length: times }, () => some)
          .flat()
          .map((row, i) => ({ ...row, id: `${i} ${row.id}`.slice(0, 200) }));
        const pages = [...splitIntoPages(rows)];
        expect(pages.flat()).toEqual(rows);
        for (const page of pages) {
          expect(rowsSchema.safeParse(page).success).toBe(true);
          // At most three bytes per character, below the 1 MiB of a request.
          expect(new TextEncoder().encode(JSON.stringify({ rows: page })).length).toBeLessThan(2 ** 20);
        }
      }),
      { numRuns: 30 },
    );
  });

  it.each(["", "a/b", "a\\b", "a\nb", "x".repeat(201)])("with the id %j are refused", (id) => {
    expect(cohortRowSchema.safeParse({ id, source: "r2://b/k" }).success).toBe(false);
  });
});

describe("rows of a service's response", () => {
  const page = (row: object) =>
    rowsPageSchema.safeParse({ rows: [{ id: "a", source: "r2://b/k", ...row }], cursor: "1", more: false });

  it("are rejected when a job's id is no directory name, or a done row has no job", () => {
    expect(page({ state: "done", job: "0123456789abcdef0123456789abcdef" }).success).toBe(true);
    expect(page({ state: "pending" }).success).toBe(true);
    for (const job of ["../../elsewhere", "/etc", "..", "", undefined])
      expect(page({ state: "done", job }).success).toBe(false);
  });
});
