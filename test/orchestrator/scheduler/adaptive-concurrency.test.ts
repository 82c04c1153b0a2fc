import { expect, it } from "vitest";
import { AdaptiveConcurrencyLimit } from "../../../src/orchestrator/scheduler/adaptive-concurrency.ts";

it("keeps a fixed limit, whatever happens", () => {
  const limit = new AdaptiveConcurrencyLimit(3);
  for (let n = 0; n < 100; n++) limit.recordSuccess(3);
  limit.recordBusy(1);
  expect(limit.value).toBe(3);
});

it("grows by one after a round of successes at the limit, and not below it", () => {
  const limit = new AdaptiveConcurrencyLimit("auto");
  expect(limit.value).toBe(2);
  limit.recordSuccess(2);
  limit.recordSuccess(1);
  expect(limit.value).toBe(2);
  limit.recordSuccess(2);
  expect(limit.value).toBe(3);
});

it("drops below the number in flight when busy, and tries a higher limit again after fifty responses", () => {
  const limit = new AdaptiveConcurrencyLimit("auto");
  for (let n = 0; n < 30; n++) limit.recordSuccess(limit.value);
  const reached = limit.value;
  expect(reached).toBeGreaterThan(5);
  limit.recordBusy(5);
  expect(limit.value).toBe(4);
  for (let n = 0; n < 50; n++) limit.recordSuccess(4);
  expect(limit.value).toBe(4);
  limit.recordSuccess(4);
  expect(limit.value).toBe(5);
});

it("never drops below one", () => {
  const limit = new AdaptiveConcurrencyLimit("auto");
  limit.recordBusy(1);
  expect(limit.value).toBe(1);
});
