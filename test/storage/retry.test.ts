import { describe, expect, test } from "vitest";
import { ObjectChangedError, StorageError } from "../../src/storage/errors.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { withRetry } from "../../src/storage/retry.ts";

/** A store whose first `failures` reads throw `error`. */
function flaky(failures: number, error: Error) {
  const inner = new MemoryStore({ a: Uint8Array.of(1, 2, 3) });
  let calls = 0;
  return {
    calls: () => calls,
    store: Object.assign(Object.create(inner), {
      head: (key: string) => {
        if (calls++ < failures) throw error;
        return inner.head(key);
      },
    }),
  };
}

const lost = new StorageError("lost", { retryable: true });
const fast = { firstDelayMs: 1 };

describe("withRetry", () => {
  test("retries errors that are retryable", async () => {
    const { store, calls } = flaky(2, lost);
    expect((await withRetry(store, fast).head("a"))?.byteLength).toBe(3);
    expect(calls()).toBe(3);
  });

  test("gives up after its attempts, with the last error", async () => {
    const { store, calls } = flaky(9, lost);
    await expect(withRetry(store, { ...fast, attempts: 3 }).head("a")).rejects.toBe(lost);
    expect(calls()).toBe(3);
  });

  test.each([
    new StorageError("no", { retryable: false }),
    new ObjectChangedError("a"),
    new TypeError("bug"),
  ])("lets %s through at once", async (error) => {
    const { store, calls } = flaky(9, error);
    await expect(withRetry(store, fast).head("a")).rejects.toBe(error);
    expect(calls()).toBe(1);
  });

  test("stops waiting when aborted", async () => {
    const { store, calls } = flaky(9, lost);
    const controller = new AbortController();
    const call = withRetry(store, { firstDelayMs: 60_000, maxDelayMs: 60_000 }).head("a", {
      signal: controller.signal,
    });
    controller.abort(new Error("enough"));
    await expect(call).rejects.toThrow("enough");
    expect(calls()).toBe(1);
  });
});
