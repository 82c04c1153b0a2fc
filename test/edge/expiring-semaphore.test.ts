import { expect, it } from "vitest";
import { ExpiringSemaphore } from "../../src/edge/segment/expiring-semaphore.ts";

it("gives as many places as there are, and again what was given back, once", () => {
  const semaphore = new ExpiringSemaphore(2, 1000);
  const first = semaphore.tryAcquire(0)!;
  expect(semaphore.tryAcquire(0)).toBeDefined();
  expect(semaphore.tryAcquire(0)).toBeUndefined();
  first();
  first();
  expect(semaphore.tryAcquire(1)).toBeDefined();
  expect(semaphore.tryAcquire(1)).toBeUndefined();
});

it("a place that nobody gives back falls free with age, and giving it back late takes none away", () => {
  const semaphore = new ExpiringSemaphore(1, 1000);
  const lost = semaphore.tryAcquire(0)!;
  expect(semaphore.tryAcquire(999)).toBeUndefined();
  expect(semaphore.tryAcquire(1000)).toBeDefined();
  lost();
  expect(semaphore.tryAcquire(1001)).toBeUndefined();
});
