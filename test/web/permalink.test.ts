import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeView, encodeView } from "../../web/src/viewer/permalink.ts";
import { chooseScaleBar, lengthText } from "../../web/src/viewer/scale-bar.ts";

describe("a link to a view", () => {
  it("comes back as it was", () => {
    const millimetres = fc.integer({ min: -9999, max: 9999 }).map((v) => v / 10);
    const views = fc.record({
      camera: fc.record({
        x: fc.integer({ min: -1e6, max: 1e8 }).map((v) => v / 100),
        y: fc.integer({ min: -1e6, max: 1e8 }).map((v) => v / 100),
        scale: fc.integer({ min: 1, max: 99_999 }).map((v) => v / 1000),
      }),
      slice: fc.nat(2000),
      crosshair: fc.tuple(millimetres, millimetres, millimetres),
      labels: fc.record({
        opacity: fc.integer({ min: 0, max: 100 }).map((v) => v / 100),
        style: fc.constantFrom("fill" as const, "outline" as const),
        hidden: fc.uniqueArray(fc.integer({ min: 1, max: 255 })),
      }),
      object: fc.integer({ min: 1, max: 2 ** 31 }),
      swipe: fc.integer({ min: 0, max: 1000 }).map((v) => v / 1000),
      objectsHidden: fc.constant(true as const),
    });
    fc.assert(
      fc.property(views, (view) => {
        expect(decodeView(`#${encodeView(view)}`)).toEqual(view);
      }),
    );
  });

  it("of any text gives numbers in their range, or nothing", () => {
    const fields = fc.constantFrom(
      "x",
      "y",
      "scale",
      "z",
      "labels",
      "style",
      "hide",
      "object",
      "planes",
      "swipe",
    );
    const values = fc.oneof(
      fc.string(),
      fc.double().map(String),
      fc.constantFrom("-1", "1e999", "NaN", "<b>", "1.5.x"),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fields, values)), (pairs) => {
        const view = decodeView(`#${new URLSearchParams(pairs)}`);
        const numbers = [...Object.values(view.camera ?? {}), view.slice, view.object, view.labels?.opacity];
        for (const value of numbers) if (value !== undefined) expect(Number.isFinite(value)).toBe(true);
        for (const index of view.labels?.hidden ?? []) expect(index > 0 && index < 256).toBe(true);
      }),
    );
  });
});

describe("the scale bar", () => {
  it("has a round length that fits, and is not much too short", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 1e-4, max: 64, noNaN: true }),
        fc.option(fc.double({ min: 0.05, max: 10, noNaN: true }), { nil: undefined }),
        (scale, mpp) => {
          const { pixels } = chooseScaleBar(scale, mpp, 160);
          expect(pixels).toBeLessThanOrEqual(160 * (1 + 1e-6));
          expect(pixels).toBeGreaterThan(160 / 2.6);
        },
      ),
    );
  });

  it("names lengths in the unit that reads best", () => {
    expect([0.25, 3, 200, 1500, 25_000].map(lengthText)).toEqual([
      "250 nm",
      "3 µm",
      "200 µm",
      "1.5 mm",
      "2.5 cm",
    ]);
  });
});
