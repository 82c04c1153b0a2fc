import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { validateEncoded } from "../../src/orchestrator/map/validate-response.ts";
import { activate } from "../../src/tiling/pixels/activation.ts";
import { encodeWindows, type Precision } from "../../src/tiling/wire/mask-record.ts";

const WINDOW = [2, 3];
const precisions = ["u8", "f16", "f32"] as const;

describe("what a backend sends encoded", () => {
  it("passes in every precision, whatever softmax or sigmoid gave", () =>
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 5 }),
        fc.constantFrom("softmax", "sigmoid"),
        fc.constantFrom(...precisions),
        fc.infiniteStream(fc.float({ min: -30, max: 30, noNaN: true })),
        (windows, scores, activation, precision, values) => {
          const logits = Float32Array.from([...values.take(windows * scores * 6)]);
          const data = activate(logits, windows, 6, activation);
          const shape = [windows, data.length / windows / 6, ...WINDOW];
          const encoded = encodeWindows({ data, shape }, precision);
          validateEncoded(encoded, { shape, precision, activation, runtime: "it" });
        },
      ),
    ));

  const good = (precision: Precision) =>
    encodeWindows({ data: new Float32Array(24).fill(0.5), shape: [2, 2, ...WINDOW] }, precision);
  const expected = (precision: Precision) => ({
    shape: [2, 2, ...WINDOW],
    precision,
    activation: "softmax" as const,
    runtime: "it",
  });

  it.each<[string, Precision, (e: ReturnType<typeof good>) => object, string]>([
    ["a window is missing", "u8", ({ data, shape }) => ({ shape, data: data.slice(1) }), "returned 1×2×2×3"],
    ["the shape is another", "u8", ({ data }) => ({ data, shape: [2, 3, 2] }), "2×2×3×2"],
    ["a window is short", "u8", (e) => ({ ...e, data: e.data.map((d) => d.subarray(1)) }), "expected"],
    ["the precision is another", "u8", () => good("f16"), "expected"],
    [
      "classes do not add up",
      "u8",
      (e) => ({ ...e, data: [e.data[0]!, e.data[1]!.fill(0)] }),
      "it returned no probabilities: the model returned classes that add up to 0 of 255",
    ],
    ["a half is no number", "f16", (e) => ({ ...e, data: [e.data[0]!, e.data[1]!.fill(0x7e00)] }), "NaN"],
    [
      "a half is 2",
      "f16",
      (e) => ({ ...e, data: [e.data[0]!.fill(0x4000), e.data[1]!] }),
      "returned 2 where",
    ],
    ["a float is infinite", "f32", (e) => ({ ...e, data: e.data.map((d) => d.fill(1 / 0)) }), "Infinity"],
  ])("is refused where %s", (_, precision, spoil, sentence) => {
    const spoiled = spoil(good(precision)) as ReturnType<typeof good>;
    expect(() => validateEncoded(spoiled, expected(precision))).toThrow(sentence);
  });

  it("accepts any bytes with the activation none", () => {
    const any = encodeWindows({ data: new Float32Array(24), shape: [2, 2, ...WINDOW] }, "u8");
    expect(() => validateEncoded(any, { ...expected("u8"), activation: "none" })).not.toThrow();
  });
});
