import fc from "fast-check";
import { expect, it } from "vitest";
import { simulateFleet } from "../../bench/scale/fleet.ts";

const runner = { msPerWindow: 5, concurrency: 4, windowsPerRequest: 64, roundTripMs: 30 };
const shards = Array.from({ length: 120 }, () => 16);
const windows = 120 * 16;

it("a fleet in virtual time takes about what its runners together can do", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(2, 5, 20), { minLength: 1, maxLength: 5 }),
      fc.nat(100),
      async (speeds, seed) => {
        const runners = speeds.map((msPerWindow) => ({ ...runner, msPerWindow }));
        const { seconds, reports } = await simulateFleet({ seed, runners, shards, timeoutMs: 60_000 });
        const ideal = windows / speeds.reduce((sum, ms) => sum + 1000 / ms, 0);
        expect(reports.reduce((n, r) => n + r.windows, 0)).toBe(windows);
        expect(seconds).toBeGreaterThan(ideal);
        expect(seconds).toBeLessThan(1.3 * ideal + 0.3);
      },
    ),
    { numRuns: 20 },
  );
});

it("one that hangs costs no window", async () => {
  const runners = [runner, { ...runner, hangsAfter: 200 }];
  const { reports } = await simulateFleet({ seed: 1, runners, shards, timeoutMs: 5000 });
  expect(reports.reduce((n, r) => n + r.windows, 0)).toBe(windows);
  expect(reports[1]!.windows).toBeLessThanOrEqual(200);
});
