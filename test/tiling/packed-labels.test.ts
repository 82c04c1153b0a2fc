import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { labelBits, PackedLabels } from "../../src/tiling/objects/packed-labels.ts";

describe("packed labels", () => {
  it("survive packing, from any word on", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(2, 3, 4, 5, 16, 17, 255).chain((classes) =>
          fc.record({
            classes: fc.constant(classes),
            labels: fc.uint8Array({ max: classes - 1, minLength: 1, maxLength: 70 }),
            from: fc.nat(10),
            offset: fc.nat(5),
            before: fc.nat(5),
          }),
        ),
        ({ classes, labels: given, from, offset, before }) => {
          // Wherever they lie in their buffer.
          const labels = new Uint8Array(before + given.length).subarray(before);
          labels.set(given);
          const packed = new PackedLabels(labels, labelBits(classes));
          const first = Math.min(4 * from, labels.length & ~3);
          const whole = new Uint8Array(offset + labels.length - first + 3).fill(99);
          packed.unpack(first, whole.subarray(offset, offset + labels.length - first));
          expect([...whole]).toEqual([
            ...new Array(offset).fill(99),
            ...labels.subarray(first),
            ...new Array(3).fill(99),
          ]);
        },
      ),
      { numRuns: 400 },
    );
  });

  it("take a quarter or half of the memory, or all of it with many classes", () => {
    const labels = new Uint8Array(4096);
    expect([3, 4, 5, 16, 17].map((n) => new PackedLabels(labels, labelBits(n)).byteLength)).toEqual([
      1024, 1024, 2048, 2048, 4096,
    ]);
  });

  it("reject labels that are not classes", () => {
    expect(() => new PackedLabels(Uint8Array.of(0, 1, 4), 2)).toThrow(RangeError);
    expect(() => new PackedLabels(Uint8Array.of(16), 4)).toThrow("at most 16 classes");
  });
});
