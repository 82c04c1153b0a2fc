import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { activate } from "../../src/tiling/pixels/activation.ts";
import { encodeProbabilities } from "../../src/tiling/wire/mask-record.ts";
import { validateQuantizedProbabilities } from "../../src/tiling/wire/validate-quantized.ts";

const cases = fc.record({
  windows: fc.integer({ min: 1, max: 3 }),
  size: fc.integer({ min: 1, max: 20 }),
  channels: fc.integer({ min: 2, max: 6 }),
  seed: fc.integer({ min: 0, max: 1e6 }),
  at: fc.nat(),
});

describe.each(["softmax", "sigmoid"] as const)("bytes of %s", (activation) => {
  it("are valid as the activation returns them, and invalid with one NaN sample", () => {
    fc.assert(
      fc.property(cases, ({ windows, size, channels, seed, at }) => {
        const logits = Float32Array.from(
          { length: windows * channels * size },
          (_, i) => 6 * Math.sin(i * 12.9898 + seed),
        );
        const p = activate(logits, windows, size, activation);
        const classes = p.length / (windows * size);
        const bytes = encodeProbabilities(p, "u8") as Uint8Array;
        validateQuantizedProbabilities(bytes, windows, size, activation);
        // What a device makes of a score that is no number: nothing at all.
        const n = at % windows;
        const i = at % size;
        for (let k = 0; k < classes; k++) bytes[(n * classes + k) * size + i] = 0;
        expect(() => validateQuantizedProbabilities(bytes, windows, size, activation)).toThrow(
          "not a number",
        );
      }),
    );
  });
});

it("tolerates a deviation below one in each class of softmax, for any alignment", () => {
  const sums = fc.record({
    classes: fc.constantFrom(2, 5, 64, 65),
    size: fc.constantFrom(4, 7, 16),
    offset: fc.integer({ min: 0, max: 3 }),
    windows: fc.integer({ min: 1, max: 2 }),
    at: fc.nat(),
    off: fc.integer({ min: -70, max: 70 }),
  });
  fc.assert(
    fc.property(sums, ({ classes, size, offset, windows, at, off }) => {
      const bytes = new Uint8Array(offset + windows * classes * size).subarray(offset);
      // Spread over the classes, the sum of one sample being off.
      for (let n = 0; n < windows; n++) {
        for (let i = 0; i < size; i++) {
          let left = 255 + (n * size + i === at % (windows * size) ? off : 0);
          for (let k = 0; k < classes; k++) {
            const share = k === classes - 1 ? left : Math.min(left, Math.round(left / 2));
            bytes[(n * classes + k) * size + i] = share;
            left -= share;
          }
        }
      }
      const check = () => validateQuantizedProbabilities(bytes, windows, size, "softmax");
      if (Math.abs(off) <= classes) check();
      else expect(check).toThrow(`add up to ${255 + off} of 255`);
    }),
    { numRuns: 300 },
  );
});

it("rejects bytes that are not whole windows", () => {
  expect(() => validateQuantizedProbabilities(new Uint8Array(7), 2, 3, "softmax")).toThrow("do not divide");
});
