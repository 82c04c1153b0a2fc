import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CohortCell, filterRows, sortRows } from "../../web/src/cohort/cohort-rows.ts";

const columns = [
  { name: "id", isNumber: false },
  { name: "status", isNumber: false },
  { name: "flags", isNumber: false },
  { name: "value", isNumber: true },
];
const row = fc.tuple(
  fc.string({ minLength: 1 }),
  fc.constantFrom("done", "failed"),
  fc.option(fc.constantFrom("little-tissue", "out-of-domain")),
  fc.option(fc.double({ noNaN: true, min: -1e6, max: 1e6 })),
) as fc.Arbitrary<CohortCell[]>;
const table = fc.array(row, { maxLength: 30 }).map((rows) => ({ columns, rows }));

describe("the table of a cohort", () => {
  it("sorted holds the same rows, in order, and those without a value last", () => {
    fc.assert(
      fc.property(table, fc.boolean(), (data, isAscending) => {
        const all = data.rows.map((_, i) => i);
        const sorted = sortRows(data, all, { column: 3, isAscending });
        expect(sorted.toSorted((a, b) => a - b)).toEqual(all);
        const values = sorted.map((i) => data.rows[i]![3] as number | null);
        const firstNull = values.indexOf(null);
        const numbers = (firstNull < 0 ? values : values.slice(0, firstNull)) as number[];
        expect(values.slice(numbers.length).every((value) => value === null)).toBe(true);
        const ordered = numbers.toSorted((a, b) => (isAscending ? a - b : b - a));
        expect(numbers).toEqual(ordered);
      }),
    );
  });

  it("filtered holds exactly the rows that pass every filter", () => {
    fc.assert(
      fc.property(
        table,
        fc.constantFrom("", "done", "failed"),
        fc.boolean(),
        fc.constantFrom("", "A", "tissue"),
        fc.option(fc.tuple(fc.integer({ min: -1e6, max: 1e6 }), fc.integer({ min: -1e6, max: 1e6 }))),
        (data, status, flaggedOnly, text, limits) => {
          const range = limits
            ? { column: 3, low: Math.min(...limits), high: Math.max(...limits) }
            : undefined;
          const kept = new Set(filterRows(data, { text, status, flaggedOnly, range }));
          data.rows.forEach(([id, state, flags, value], i) => {
            const texts = [id, state, flags].filter((cell) => cell !== null).map(String);
            const passes =
              (status === "" || state === status) &&
              (!flaggedOnly || flags !== null) &&
              (range === undefined ||
                (value !== null && Number(value) >= range.low && Number(value) <= range.high)) &&
              (text === "" || texts.some((cell) => cell.toLowerCase().includes(text.toLowerCase())));
            expect(kept.has(i)).toBe(passes);
          });
        },
      ),
    );
  });
});
