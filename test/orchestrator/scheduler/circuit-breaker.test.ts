import fc from "fast-check";
import { expect, it } from "vitest";
import { CircuitBreaker } from "../../../src/orchestrator/scheduler/circuit-breaker.ts";

it("pauses for the Retry-After of the service, at most two minutes", () =>
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 1e9 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (ms, random) => {
        const failing = new CircuitBreaker();
        failing.recordFailure(1000, 900, random, ms);
        expect(failing.retryAt).toBeGreaterThanOrEqual(1000 + Math.min(ms, 120_000));
        expect(failing.retryAt).toBeLessThanOrEqual(121_000);
        const busy = new CircuitBreaker();
        busy.backOff(1000, ms);
        expect(busy.retryAt).toBe(1000 + Math.min(ms, 120_000));
      },
    ),
  ));

it("is open while it pauses, half-open after three failures, and closed after a success", () => {
  const breaker = new CircuitBreaker();
  let now = 0;
  for (let failures = 1; failures <= 3; failures++) {
    expect(breaker.state(now)).toBe("closed");
    expect(breaker.concurrencyAllowed(8)).toBe(8);
    breaker.recordFailure(now, now, 0.5);
    expect(breaker.state(now)).toBe("open");
    now = breaker.retryAt;
  }
  expect(breaker.state(now)).toBe("half-open");
  expect(breaker.concurrencyAllowed(8)).toBe(1);
  breaker.recordSuccess();
  expect(breaker.state(now)).toBe("closed");
});

it("asks to disable the backend after eight failures, and counts no request from before its pause", () => {
  const breaker = new CircuitBreaker();
  let now = 0;
  for (let failures = 1; failures <= 8; failures++) {
    expect(breaker.recordFailure(now, now, 1)).toBe(failures === 8);
    expect(breaker.recordFailure(now, now, 1)).toBe(false);
    now = breaker.retryAt;
  }
});
