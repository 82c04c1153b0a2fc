import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { budgetDecision, forecastRunning, overBudgetMessage } from "../../../src/edge/jobs/cohorts/spend.ts";

const usd = fc.double({ min: 0.001, max: 10, noNaN: true });

interface Scan {
  usd: number;
  /** Steps until it is planned, and from there to its end. */
  planned: number;
  ends: number;
}

/** Simulates a cohort: each step starts what the budget allows, then advances all running scans. */
function play(scans: readonly Scan[], limit: number | null, concurrency: number) {
  const waiting = [...scans];
  let running: { scan: Scan; age: number }[] = [];
  const known: number[] = [];
  let spent = 0;
  let alone = true;
  let stopped = false;
  for (let step = 0; step < 10_000 && (waiting.length > 0 || running.length > 0); step++) {
    let needed: number | undefined;
    while (waiting.length > 0 && running.length < concurrency) {
      const mean = known.length === 0 ? undefined : known.reduce((a, b) => a + b) / known.length;
      const forecasts = running.map(({ scan, age }) => (age >= scan.planned ? scan.usd : undefined));
      const decision = budgetDecision({ limit, spent, running: forecasts, mean }, undefined);
      if (decision.kind === "overBudget") needed = decision.neededUsd;
      if (decision.kind !== "start") break;
      if (known.length === 0 && running.length > 0) alone = false;
      running.push({ scan: waiting.shift()!, age: 0 });
    }
    if (needed !== undefined && running.length === 0) {
      stopped = true;
      break;
    }
    for (const one of running) if (++one.age === one.scan.planned) known.push(one.scan.usd);
    const ended = running.filter(({ scan, age }) => age >= scan.planned + scan.ends);
    for (const { scan } of ended) spent += scan.usd;
    running = running.filter((one) => !ended.includes(one));
  }
  return { spent, left: waiting.length, alone, stopped };
}

const scansWithCost = (cost: fc.Arbitrary<number>) =>
  fc.array(
    fc.record({ usd: cost, planned: fc.integer({ min: 1, max: 3 }), ends: fc.integer({ min: 1, max: 5 }) }),
    { minLength: 1, maxLength: 30 },
  );
const many = fc.integer({ min: 1, max: 8 });

describe("a spend limit", () => {
  it("of null blocks nothing", () => {
    fc.assert(
      fc.property(scansWithCost(usd), many, (scans, concurrency) => {
        const { left, stopped } = play(scans, null, concurrency);
        expect([left, stopped]).toEqual([0, false]);
      }),
    );
  });

  it("is never exceeded where scans cost the same, and is used as far as it goes", () => {
    fc.assert(
      fc.property(
        scansWithCost(fc.constant(1)),
        many,
        fc.integer({ min: 1, max: 40 }),
        (scans, concurrency, n) => {
          const { spent, left } = play(scans, n + 0.5, concurrency);
          expect(spent).toBe(Math.min(n, scans.length));
          expect(left).toBe(Math.max(0, scans.length - n));
        },
      ),
    );
  });

  it("is exceeded by at most the scans that ran unplanned when the last one started", () => {
    fc.assert(
      fc.property(
        scansWithCost(usd),
        many,
        fc.double({ min: 0.01, max: 50, noNaN: true }),
        (scans, concurrency, limit) => {
          const { spent } = play(scans, limit, concurrency);
          const largest = Math.max(...scans.map((scan) => scan.usd));
          expect(spent).toBeLessThanOrEqual(limit + concurrency * largest + 1e-9);
        },
      ),
    );
  });

  it("starts one scan alone until there is a forecast, and always ends or says what is needed", () => {
    fc.assert(
      fc.property(scansWithCost(usd), many, usd, (scans, concurrency, limit) => {
        const { alone, left, stopped } = play(scans, limit, concurrency);
        expect(alone).toBe(true);
        expect(left === 0 || stopped).toBe(true);
      }),
    );
  });

  it("that is reached starts nothing, whatever the next scan would cost", () => {
    const overBudget = (neededUsd: number) => ({ kind: "overBudget", neededUsd });
    expect(budgetDecision({ limit: 1, spent: 1, running: [], mean: undefined }, undefined)).toEqual(
      overBudget(1),
    );
    expect(budgetDecision({ limit: 1, spent: 0.5, running: [], mean: 0.5 }, undefined)).toEqual({
      kind: "start",
    });
    expect(budgetDecision({ limit: 1, spent: 0.5, running: [], mean: 0.1 }, 0.6)).toEqual(
      overBudget(expect.closeTo(1.1, 12)),
    );
    expect(forecastRunning({ running: [0.25, undefined], mean: 0.5 })).toBe(0.75);
    const reason = overBudgetMessage({ limit: 1, spent: 0.5, running: [0.25], mean: 0.5 }, 1.25);
    expect(reason).toBe(
      "0.75 USD are spent or under way and another scan would make it about 1.25: raise spendLimitUsd above 1 to go on",
    );
  });
});
