import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { denseStrides, elementCount } from "../../../src/inference/engine/tensor.ts";
import {
  concatViews,
  denseAxes,
  denseView,
  isWhole,
  memoryOrder,
  offsets,
  reshape,
  slice,
  transpose,
  type View,
} from "../../../src/inference/engine/view.ts";

/** A tensor written out: the places of its elements in the buffer, in order. */
interface Plain {
  shape: number[];
  places: number[];
}

const gather = (shape: readonly number[], place: (index: number[]) => number): Plain => {
  const places = Array.from({ length: elementCount(shape) }, (_, i) => {
    const strides = denseStrides(shape);
    return place(shape.map((size, axis) => Math.floor(i / strides[axis]!) % size));
  });
  return { shape: [...shape], places };
};
const at = ({ shape, places }: Plain, index: readonly number[]) =>
  places[denseStrides(shape).reduce((sum, stride, axis) => sum + stride * index[axis]!, 0)]!;

/** Every way to write `n` as a product in order, cut short. */
function shapesOf(n: number, pick: () => number): number[] {
  const shape: number[] = [];
  let left = n;
  while (left > 1 && shape.length < 5) {
    const factors = Array.from({ length: left }, (_, i) => i + 1).filter((f) => left % f === 0);
    const factor = factors[pick() % factors.length]!;
    shape.push(factor);
    left /= factor;
  }
  return left > 1 ? [...shape, left] : shape;
}

function apply(view: View, plain: Plain, [kind, a, b]: readonly number[]): [View, Plain] {
  const rank = plain.shape.length;
  const axis = a! % rank;
  const size = plain.shape[axis]!;
  if (kind === 0) {
    let state = b!;
    const shape = shapesOf(plain.places.length, () => {
      state = (state * 7 + 3) % 1009;
      return state;
    });
    return [reshape(view, shape), { shape, places: plain.places }];
  }
  if (kind === 1) {
    const order = plain.shape.map((_, i) => (i + a!) % rank);
    if (b! % 2) order.reverse();
    const shape = order.map((i) => plain.shape[i]!);
    return [
      transpose(view, order),
      gather(shape, (index) =>
        at(
          plain,
          order.map((_, i) => index[order.indexOf(i)]!),
        ),
      ),
    ];
  }
  if (kind === 2) {
    const start = b! % size;
    const count = 1 + (a! % (size - start));
    return [
      slice(view, axis, start, count),
      gather(plain.shape.with(axis, count), (index) => at(plain, index.with(axis, index[axis]! + start))),
    ];
  }
  // A roll: two slices, the other way round.
  const shift = b! % size;
  if (shift === 0) return [view, plain];
  const joined = concatViews([slice(view, axis, shift, size - shift), slice(view, axis, 0, shift)], axis);
  // Undefined where it is no view any more: such parts are copied.
  if (!joined) return [view, plain];
  return [joined, gather(plain.shape, (index) => at(plain, index.with(axis, (index[axis]! + shift) % size)))];
}

describe("views", () => {
  it("hold what the arrangements that made them say, in any order of them", () => {
    const operation = fc.tuple(fc.nat(3), fc.nat(30), fc.nat(30));
    const shapes = fc.array(fc.constantFrom(1, 2, 3, 4, 6), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(shapes, fc.array(operation, { maxLength: 8 }), (shape, operations) => {
        const elements = elementCount(shape);
        let view = denseView({ id: 0, elements, elementBytes: 4 }, shape);
        let plain = gather(shape, (index) =>
          denseStrides(shape).reduce((sum, s, i) => sum + s * index[i]!, 0),
        );
        for (const one of operations) {
          if (plain.shape.length === 0) break;
          [view, plain] = apply(view, plain, one);
          expect(view.shape).toEqual(plain.shape);
          expect(Array.from(offsets(view))).toEqual(plain.places);
        }
        expect(isWhole(view)).toBe(
          plain.places.length === elements && plain.places.every((place, i) => place === i),
        );
        const inner = elementCount(view.shape.slice(view.shape.length - denseAxes(view)));
        for (let i = 0; i < plain.places.length; i++) {
          if (i % inner) expect(plain.places[i]).toBe(plain.places[i - 1]! + 1);
        }
      }),
      { numRuns: 400 },
    );
  });

  it("stay views through rolls, and the windows of a rolled map", () => {
    const map = denseView({ id: 0, elements: 8 * 6 * 2, elementBytes: 4 }, [1, 8, 6, 2]);
    const roll = (view: View, axis: number, by: number) =>
      concatViews([slice(view, axis, by, view.shape[axis]! - by), slice(view, axis, 0, by)], axis)!;
    const windows = reshape(
      transpose(reshape(roll(roll(map, 1, 1), 2, 2), [1, 2, 4, 2, 3, 2]), [0, 1, 3, 2, 4, 5]),
      [4, 12, 2],
    );
    const [y, x] = [(7 + 1) % 8, (5 + 2) % 6];
    expect(offsets(windows).at(-2)).toBe((y * 6 + x) * 2);
    expect(denseAxes(windows)).toBe(1);
  });

  it("know the order of their axes in memory", () => {
    const view = denseView({ id: 0, elements: 24, elementBytes: 4 }, [1, 2, 3, 4]);
    const turned = transpose(view, [0, 3, 1, 2]);
    expect(memoryOrder(turned)).toEqual([0, 2, 3, 1]);
    expect(isWhole(transpose(turned, memoryOrder(turned)))).toBe(true);
  });
});
