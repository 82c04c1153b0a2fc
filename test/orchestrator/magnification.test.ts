import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ImageSource, Spacing } from "../../src/image/image-source.ts";
import type { ModelManifest } from "../../src/model-package/manifest.ts";
import { JobError } from "../../src/orchestrator/errors.ts";
import { chooseLevel } from "../../src/orchestrator/plan/choose-level.ts";
import { checkSettings } from "../../src/orchestrator/settings.ts";

/** Only what a level is chosen by. */
const image = (values: readonly number[], unit: Spacing["unit"] = "micrometer", downsamples = [1]) =>
  ({
    axes: values.length === 3 ? "zyx" : "yx",
    spacing: { values, unit },
    levels: downsamples.map((factor) => ({
      shape: values.map(() => 1000 / factor),
      downsample: values.map(() => factor),
      chunk: values.map(() => 64),
    })),
  }) as unknown as ImageSource;

const model = (input: Partial<ModelManifest["input"]>, size: number[]) =>
  ({
    name: "made",
    input: { spacingTolerance: 0.1, ...input },
    window: { size },
  }) as unknown as ModelManifest;
const plane = (mpp: number, more: Partial<ModelManifest["input"]> = {}) =>
  model({ axes: "yx", spacing: { y: mpp, x: mpp, unit: "micrometer" }, ...more }, [224, 224]);
const cubes = (mm: number) =>
  model({ axes: "zyx", spacing: { z: mm, y: mm, x: mm, unit: "millimeter" } }, [64, 64, 64]);

describe("how coarse pixels may be", () => {
  test("are accepted up to the limit, and finer ones always", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.1, max: 12, noNaN: true }),
        fc.double({ min: 0.1, max: 2, noNaN: true }),
        fc.option(fc.double({ min: 1, max: 10, noNaN: true }), { nil: undefined }),
        (factor, mpp, maxMagnification) => {
          const choose = () =>
            chooseLevel(image([mpp * factor, mpp * factor]), plane(mpp), { maxMagnification }, undefined);
          const most = maxMagnification ?? 2.5;
          if (Math.abs(factor - most) < 1e-4) return;
          if (factor > most && Math.abs(1 / factor - 1) > 0.1) expect(choose).toThrow(/would be magnified/);
          else expect(choose().magnification).toBeCloseTo(Math.abs(1 / factor - 1) <= 0.1 ? 1 : factor, 9);
        },
      ),
    );
  });

  test("the error states both sizes, the factor and what to do", () => {
    const refusal = (() => {
      try {
        chooseLevel(image([4.64, 4.6]), plane(0.25), {}, undefined);
      } catch (error) {
        return error;
      }
      return undefined;
    })();
    expect(refusal).toBeInstanceOf(JobError);
    expect((refusal as JobError).message).toBe(
      "pixels of 4.64 µm (level 0) would be magnified 18.6 times for model made, which was made for 0.25 µm, and beyond 2.5 times its results mean nothing: take a finer scan or a model for such pixels, correct a wrong size with --mpp or insist with --max-magnification 19",
    );
  });

  test("where the model would see next to nothing it is not offered to insist, and no use", () => {
    const millimetres = image([0.661, 0.661], "millimeter");
    expect(() => chooseLevel(millimetres, plane(0.25), {}, undefined)).toThrow(
      /pixels of 661 µm .* magnified 2640 times .*: take a finer scan or a model for such pixels or correct a wrong size with --mpp$/,
    );
    expect(() => chooseLevel(millimetres, plane(0.25), { maxMagnification: 1000 }, undefined)).toThrow(
      /magnified/,
    );
    expect(() => chooseLevel(image([25, 25]), plane(0.25), { maxMagnification: 1000 }, undefined)).toThrow(
      /a window of the model spans 2 pixels, too few to see anything/,
    );
  });

  test("what the sentence says to insist with is enough", () => {
    expect(chooseLevel(image([4.64, 4.6]), plane(0.25), { maxMagnification: 19 }, undefined).window).toEqual([
      12, 12,
    ]);
  });

  test("uses the limit of the package if it has one", () => {
    const choose = (maxMagnification: number) =>
      chooseLevel(image([1, 1]), plane(0.25, { maxMagnification }), {}, undefined);
    expect(() => choose(3)).toThrow(/beyond 3 times/);
    expect(choose(4).magnification).toBe(4);
    expect(() => choose(1)).toThrow(/beyond 1 times/);
    // Within the tolerance it is fed as it is, and nothing is magnified.
    expect(
      chooseLevel(image([0.26, 0.26]), plane(0.25, { maxMagnification: 1 }), {}, undefined).window,
    ).toEqual([224, 224]);
  });

  test("allows for rounding at the limit", () => {
    expect(chooseLevel(image([0.625, 0.625]), plane(0.25), {}, undefined).magnification).toBeCloseTo(2.5);
    expect(chooseLevel(image([0.3, 0.3]), plane(0.1), { maxMagnification: 3 }, undefined).window).toEqual([
      75, 75,
    ]);
  });

  test("checks the requested level", () => {
    const levels = [1, 4, 16];
    expect(chooseLevel(image([0.25, 0.25], "micrometer", levels), plane(0.25), {}, undefined).level).toBe(0);
    expect(() =>
      chooseLevel(image([0.25, 0.25], "micrometer", levels), plane(0.25), { level: 1 }, undefined),
    ).toThrow(/pixels of 1 µm \(level 1\) would be magnified 4 times .* take a finer --level or scan/);
  });

  test("one coarse axis of a plane is enough", () => {
    for (const values of [
      [0.25, 1],
      [1, 0.25],
    ])
      expect(() => chooseLevel(image(values), plane(0.25), {}, undefined)).toThrow(/magnified 4 times/);
  });

  test("slices may be thick along any axis; a coarse volume is rejected in millimetres", () => {
    for (const values of [
      [5, 0.7, 0.7],
      [0.7, 5, 0.7],
      [0.7, 0.7, 5],
      [5, 2.5, 1],
    ])
      expect(chooseLevel(image(values, "millimeter"), cubes(1), {}, undefined).level).toBe(0);
    expect(() => chooseLevel(image([3, 3, 3], "millimeter"), cubes(1), {}, undefined)).toThrow(
      /pixels of 3 mm \(level 0\) would be magnified 3 times for model made, which was made for 1 mm/,
    );
    expect(() => chooseLevel(image([1, 6, 6], "millimeter"), cubes(1), {}, undefined)).toThrow(/6 times/);
  });

  test("the error for a volume with a microscopy model suggests another model", () => {
    const nuclei = model({ axes: "yx", spacing: { y: 0.25, x: 0.25, unit: "micrometer" } }, [224, 224]);
    expect(() => chooseLevel(image([1, 1, 1], "millimeter"), nuclei, {}, { axis: 0, context: 0 })).toThrow(
      "the image is a volume of 1 mm samples, and model made was made for microscopy: choose a model for volumes, such as --model hippocampus",
    );
    // A stack of a microscope is only too coarse.
    expect(() => chooseLevel(image([1, 1, 1], "micrometer"), nuclei, {}, { axis: 0, context: 0 })).toThrow(
      /would be magnified 4 times/,
    );
  });

  test("for a slice model, the plane of the slices counts", () => {
    const sliced = model(
      {
        axes: "yx",
        spacing: { y: 0.5, x: 0.5, unit: "millimeter" },
        slices: { axis: "z", context: 1 },
        orientation: "stored",
      },
      [224, 224],
    );
    const along = (axis: number) => ({ axis, context: 1 });
    expect(chooseLevel(image([8, 1, 1], "millimeter"), sliced, {}, along(0)).magnification).toBe(2);
    expect(chooseLevel(image([1, 8, 1], "millimeter"), sliced, {}, along(1)).magnification).toBe(2);
    expect(() => chooseLevel(image([1, 8, 1], "millimeter"), sliced, {}, along(0))).toThrow(
      /pixels of 8 mm .* magnified 16 times/,
    );
  });

  test("the setting is a number from 1", () => {
    expect(checkSettings({ maxMagnification: 4 }).maxMagnification).toBe(4);
    for (const bad of [0.5, -1, Number.NaN, 1e9])
      expect(() => checkSettings({ maxMagnification: bad })).toThrow(/setting maxMagnification/);
  });
});
