import fc from "fast-check";
import { expect, it } from "vitest";
import { runWithBatchHalving } from "../../src/inference/batch-halving.ts";
import { InferenceError, isOutOfMemory } from "../../src/inference/errors.ts";

const full = () => new InferenceError("full", { outOfMemory: true });

it("runs every window once, in order, in batches close to the largest that fits", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 100 }),
      fc.integer({ min: 1, max: 64 }),
      fc.integer({ min: 1, max: 64 }),
      async (windows, most, fits) => {
        const done: number[] = [];
        const limit = await runWithBatchHalving(windows, most, async (first, count) => {
          expect(count).toBeLessThanOrEqual(most);
          if (count > fits) throw full();
          for (let n = 0; n < count; n++) done.push(first + n);
        });
        expect(done).toEqual(Array.from({ length: windows }, (_, n) => n));
        if (windows > 0) expect(limit).toBeGreaterThan(Math.min(most, windows, fits) / 2 - 1);
      },
    ),
  );
});

it("throws an out-of-memory error if not even one window fits, and passes other errors on", async () => {
  const none = runWithBatchHalving(8, 8, () => Promise.reject(full()));
  await expect(none).rejects.toMatchObject({ name: "InferenceError", outOfMemory: true });
  await expect(none).rejects.toThrow("no memory for a single window");
  const other = new InferenceError("the model failed to run: Reshape");
  let tries = 0;
  const failed = runWithBatchHalving(8, 8, () => {
    tries++;
    return Promise.reject(other);
  });
  await expect(failed).rejects.toBe(other);
  expect(tries).toBe(1);
});

it.each([
  ["CPU", "Failed to allocate memory for requested buffer of size 1610612736", true],
  ["WebAssembly", "std::bad_alloc", true],
  [
    "WebGPU",
    "WebGPU validation failed. [Invalid Buffer (unlabeled)] is invalid due to a previous error.",
    true,
  ],
  ["CUDA", "CUDA failure 2: out of memory ; GPU=0", true],
  ["a wrong shape", "The input tensor cannot be reshaped to the requested shape", false],
  ["another fault of WebGPU", "WebGPU validation failed. Binding size is zero.", false],
])("knows the message of %s", (_, message, expected) => {
  expect(isOutOfMemory(message)).toBe(expected);
});
