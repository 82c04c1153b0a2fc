import fc from "fast-check";
import { expect, it } from "vitest";
import { Breaker } from "../../../src/orchestrator/scheduler/circuit-breaker.ts";

it("leaves a service alone as long as it asks for, within two minutes", () =>
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 1e9 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (ms, random) => {
        const failing = new Breaker();
        failing.failed(1000, 900, random, ms);
        expect(failing.pausedUntil).toBeGreaterThanOrEqual(1000 + Math.min(ms, 120_000));
        expect(failing.pausedUntil).toBeLessThanOrEqual(121_000);
        const busy = new Breaker();
        busy.rest(1000, ms);
        expect(busy.pausedUntil).toBe(1000 + Math.min(ms, 120_000));
      },
    ),
  ));
