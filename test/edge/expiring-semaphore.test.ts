import { expect, it } from "vitest";
import { Leases } from "../../src/edge/segment/expiring-semaphore.ts";

it("gives as many places as there are, and again what was given back, once", () => {
  const leases = new Leases(2, 1000);
  const first = leases.take(0)!;
  expect(leases.take(0)).toBeDefined();
  expect(leases.take(0)).toBeUndefined();
  first();
  first();
  expect(leases.take(1)).toBeDefined();
  expect(leases.take(1)).toBeUndefined();
});

it("a place that nobody gives back falls free with age, and giving it back late takes none away", () => {
  const leases = new Leases(1, 1000);
  const lost = leases.take(0)!;
  expect(leases.take(999)).toBeUndefined();
  expect(leases.take(1000)).toBeDefined();
  lost();
  expect(leases.take(1001)).toBeUndefined();
});
