import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { activate } from "../../src/tiling/activation.ts";
import { checkQuantised } from "../../src/tiling/check-quantised.ts";
import { encodeProbabilities } from "../../src/tiling/mask-record.ts";

const cases = fc.record({
  windows: fc.integer({ min: 1, max: 3 }),
  size: fc.integer({ min: 1, max: 20 }),
  channels: fc.integer({ min: 2, max: 6 }),
  seed: fc.integer({ min: 0, max: 1e6 }),
  at: fc.nat(),
});

describe.each(["softmax", "sigmoid"] as const)("bytes of %s", (activation) => {
  it("pass as the activation gives them, and not with a sample that was no number", () => {
    fc.assert(
      fc.property(cases, ({ windows, size, channels, seed, at }) => {
        const logits = Float32Array.from(
          { length: windows * channels * size },
          (_, i) => 6 * Math.sin(i * 12.9898 + seed),
        );
        const p = activate(logits, windows, size, activation);
        const classes = p.length / (windows * size);
        const bytes = encodeProbabilities(p, "u8") as Uint8Array;
        checkQuantised(bytes, windows, size, activation);
        // What a device makes of a score that is no number: nothing at all.
        const n = at % windows;
        const i = at % size;
        for (let k = 0; k < classes; k++) bytes[(n * classes + k) * size + i] = 0;
        expect(() => checkQuantised(bytes, windows, size, activation)).toThrow("not a number");
      }),
    );
  });
});

it("refuses bytes that are not whole windows", () => {
  expect(() => checkQuantised(new Uint8Array(7), 2, 3, "softmax")).toThrow("do not divide");
});
