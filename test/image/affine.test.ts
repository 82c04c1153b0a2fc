import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type Affine,
  columnLengths,
  orientationCode,
  validateAffine,
  withPlaneSpacing,
} from "../../src/image/affine.ts";

const LAST = [0, 0, 0, 1];
const ENDS = ["LR", "PA", "IS"];

test("names permuted and flipped axes by their directions", () => {
  fc.assert(
    fc.property(
      fc.shuffledSubarray([0, 1, 2], { minLength: 3 }),
      fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
      fc.array(fc.double({ min: 0.1, max: 5, noNaN: true }), { minLength: 3, maxLength: 3 }),
      // A little oblique: below what would exchange axes.
      fc.double({ min: -0.5, max: 0.5, noNaN: true }),
      (order, flips, lengths, angle) => {
        const columns = order.map((row, c) => {
          const column = [0, 0, 0];
          column[row] = (flips[c] ? -1 : 1) * lengths[c]!;
          return column;
        });
        const turned = columns.map(([x, y, z]) => [
          x! * Math.cos(angle) - y! * Math.sin(angle),
          x! * Math.sin(angle) + y! * Math.cos(angle),
          z!,
        ]);
        const affine: Affine = [...[0, 1, 2].map((r) => [...turned.map((c) => c[r]!), 7]), LAST];
        expect(orientationCode(affine)).toBe(order.map((row, c) => ENDS[row]![flips[c] ? 0 : 1]).join(""));
        for (const [c, length] of columnLengths(affine).entries()) expect(length).toBeCloseTo(lengths[c]!, 9);
        expect(validateAffine(affine)).toBe(affine);
        const wider = columnLengths(withPlaneSpacing(affine, 3, 4));
        expect([wider[0], wider[1]].map((v) => Number(v.toFixed(9)))).toEqual([4, 3]);
      },
    ),
  );
});

test("rejects matrices that are singular or not finite", () => {
  const unit = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], LAST];
  expect(validateAffine(unit)).toBe(unit);
  expect(validateAffine([[1, 0, 0, Number.NaN], ...unit.slice(1)])).toBeUndefined();
  expect(validateAffine([[0, 0, 0, 0], ...unit.slice(1)])).toBeUndefined();
  expect(validateAffine([unit[0]!, [1, 0, 0, 0], unit[2]!, LAST])).toBeUndefined();
});
