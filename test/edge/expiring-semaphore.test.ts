import { expect, it } from "vitest";
import { ExpiringSemaphore } from "../../src/edge/segment/expiring-semaphore.ts";

it("grants as many permits as it has, and a released permit once more", () => {
  const semaphore = new ExpiringSemaphore(2, 1000);
  const first = semaphore.tryAcquire(0)!;
  expect(semaphore.tryAcquire(0)).toBeDefined();
  expect(semaphore.tryAcquire(0)).toBeUndefined();
  first();
  first();
  expect(semaphore.tryAcquire(1)).toBeDefined();
  expect(semaphore.tryAcquire(1)).toBeUndefined();
});

it("a permit that is never released expires, and a late release frees no other permit", () => {
  const semaphore = new ExpiringSemaphore(1, 1000);
  const lost = semaphore.tryAcquire(0)!;
  expect(semaphore.tryAcquire(999)).toBeUndefined();
  expect(semaphore.tryAcquire(1000)).toBeDefined();
  lost();
  expect(semaphore.tryAcquire(1001)).toBeUndefined();
});
