import fc from "fast-check";
import { expect, it } from "vitest";
import { argmaxBytes } from "../../src/tiling/merge/argmax.ts";

it("argmaxBytes returns the first class with the largest byte, for any alignment", () => {
  const cases = fc
    .record({
      classes: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom(64, 200, 254, 255)),
      size: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(8, 64, 256)),
      offset: fc.integer({ min: 0, max: 4 }),
      // Many equal values, zeros and the ends of the range.
      value: fc.constantFrom(fc.nat(255), fc.constantFrom(0, 0, 1, 127, 128, 254, 255)),
    })
    .chain(({ classes, size, offset, value }) =>
      fc.tuple(
        fc.constant({ classes, size, offset }),
        fc.array(value, { minLength: classes * size, maxLength: classes * size }),
      ),
    );
  fc.assert(
    fc.property(cases, ([{ classes, size, offset }, numbers]) => {
      const values = new Uint8Array(offset + numbers.length).subarray(offset);
      values.set(numbers);
      const labels = new Uint8Array(size).fill(77);
      argmaxBytes(values, labels, classes);
      for (let i = 0; i < size; i++) {
        const column = Array.from({ length: classes }, (_, k) => numbers[k * size + i]!);
        expect(labels[i]).toBe(column.indexOf(Math.max(...column)));
      }
    }),
    { numRuns: 300 },
  );
});
