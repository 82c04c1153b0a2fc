import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { product } from "../../src/tiling/grid/raster.ts";
import { decodeMaskBatch, encodeMaskBatch, type MaskBatch } from "../../src/tiling/wire/mask-batch.ts";
import type { MaskRecord } from "../../src/tiling/wire/mask-record.ts";
import { decodeProbabilities, encodeProbabilities } from "../../src/tiling/wire/mask-record.ts";
import {
  decodeWindowBatch,
  encodeWindowBatch,
  type WindowBatch,
} from "../../src/tiling/wire/window-batch.ts";
import { decodeMessage, encodeMessage, WireFormatError } from "../../src/tiling/wire/wire-message.ts";

const hash = fc.stringMatching(/^[0-9a-f]{64}$/);
const variant = fc.oneof(fc.constant("int4"), fc.string({ minLength: 1, maxLength: 40, unit: "grapheme" }));
const precision = fc.constantFrom("u8", "f16", "f32" as const);
const spatial = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 3 });
const windows = fc.uniqueArray(fc.nat({ max: 2 ** 40 }), { minLength: 1, maxLength: 4 });
// JSON knows one zero.
const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((v) => v + 0);
const scaling = fc
  .record(
    {
      low: number,
      high: number,
      clip: fc.tuple(number, number).filter(([a, b]) => a < b),
      scale: number,
      offset: number,
    },
    { requiredKeys: ["low", "high"] },
  )
  .filter(({ low, high }) => high > low && Number.isFinite(high - low));

const windowBatch: fc.Arbitrary<WindowBatch> = fc
  .record({
    model: hash,
    variant,
    precision,
    windows,
    scaling,
    spatial,
    channels: fc.integer({ min: 1, max: 4 }),
    type: fc.constantFrom(
      Uint8Array,
      Uint16Array,
      Uint32Array,
      Int8Array,
      Int16Array,
      Int32Array,
      Float32Array,
    ),
    seed: fc.nat(),
  })
  .map(({ spatial, channels, type, seed, ...rest }) => {
    const shape = [rest.windows.length, ...spatial, channels];
    const make = (_: unknown, i: number) => (seed + i * 7919) % 65536;
    const length = product(shape);
    const data = new type(length).map((_, i) => make(_, i)) as Uint8Array;
    return { ...rest, pixels: { data, shape } };
  });

const maskBatch: fc.Arbitrary<MaskBatch> = fc
  .record({
    model: hash,
    variant,
    precision,
    windows,
    spatial,
    classes: fc.integer({ min: 1, max: 4 }),
    seed: fc.nat(),
  })
  .map(({ windows, spatial, classes, seed, ...rest }) => {
    const shape = [classes, ...spatial];
    const records = windows.map((window, n): MaskRecord => {
      const p = Float32Array.from(
        { length: product(shape) },
        (_, i) => ((seed + n + i * 7919) % 1001) / 1000,
      );
      return { window, precision: rest.precision, data: encodeProbabilities(p, rest.precision) };
    });
    return { ...rest, shape, records };
  });

/** Bytes that do not begin at a multiple of 8 of their buffer. */
function shifted(bytes: Uint8Array, by: number): Uint8Array {
  const out = new Uint8Array(bytes.length + by).subarray(by);
  out.set(bytes);
  return out;
}

describe.each([
  ["window batch", windowBatch as fc.Arbitrary<never>, encodeWindowBatch, decodeWindowBatch],
  ["mask batch", maskBatch as fc.Arbitrary<never>, encodeMaskBatch, decodeMaskBatch],
] as const)("the wire format: %s", (_, arbitrary, encode, decode) => {
  it("survives encoding and decoding, for any alignment", () => {
    fc.assert(
      fc.property(arbitrary, fc.integer({ min: 0, max: 9 }), (batch, by) => {
        expect(decode(shifted(encode(batch), by))).toEqual(batch);
      }),
    );
  });

  it("is rejected if truncated or longer than stated", () => {
    fc.assert(
      fc.property(arbitrary, fc.nat(), (batch, cut) => {
        const bytes = encode(batch);
        expect(() => decode(bytes.subarray(0, cut % bytes.length))).toThrow(WireFormatError);
        expect(() => decode(shifted(new Uint8Array([...bytes, 0]), 0))).toThrow(WireFormatError);
      }),
    );
  });

  it("decodes to a batch or throws a WireFormatError, whichever bytes are changed", () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(arbitrary, changes, fc.boolean(), (batch, list, inHeader) => {
        const bytes = encode(batch);
        for (const [at, value] of list)
          bytes[at % (inHeader ? Math.min(bytes.length, 200) : bytes.length)] = value;
        try {
          decode(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(WireFormatError);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("throws a WireFormatError for random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        expect(() => decode(bytes)).toThrow(WireFormatError);
      }),
    );
  });
});

describe("an inconsistent window batch", () => {
  const good = {
    model: "0".repeat(64),
    variant: "int4",
    precision: "u8",
    dtype: "uint8",
    shape: [2, 2, 2, 1],
    windows: [3, 4],
    scaling: { low: 0, high: 1 },
  };
  const encode = (change: object, bytes = 8) =>
    encodeMessage("TWWB", { ...good, ...change }, [new Uint8Array(bytes)]);

  it("is one that does, but for the change", () => {
    expect(decodeWindowBatch(encode({})).windows).toEqual([3, 4]);
  });

  it.each([
    [{ model: "abc" }, '"model" must be 64 hex digits'],
    [{ variant: "" }, '"variant" must be a name'],
    [{ precision: "f64" }, '"precision" must be "u8", "f16" or "f32"'],
    [{ dtype: "float64" }, '"dtype" must be one of uint8, uint16'],
    [{ shape: [2, 2, 2] }, '"shape" must be 4 or 5 lengths'],
    [{ shape: [2, 2, 0, 1] }, '"shape" must be 4 or 5 lengths'],
    [{ shape: [2, 2, 2.5, 1] }, '"shape" must be 4 or 5 lengths'],
    [{ shape: [2 ** 20, 2 ** 20, 2 ** 20, 1] }, "too many samples"],
    [{ shape: [2, 2, 3, 1] }, "the payload has 8 bytes, 2×2×3×1 samples of uint8 have 12"],
    [{ dtype: "uint16" }, "the payload has 8 bytes, 2×2×2×1 samples of uint16 have 16"],
    [{ windows: [3] }, '"windows" must be 2 different window numbers'],
    [{ windows: [3, 3] }, '"windows" must be 2 different window numbers'],
    [{ windows: [3, -1] }, '"windows" must be 2 different window numbers'],
    [{ scaling: null }, "the header is not a JSON object"],
    [{ scaling: { low: "0", high: 1 } }, '"low" must be a number'],
    [{ scaling: { low: 0, high: 1, clip: [0] } }, '"clip" must be two numbers'],
  ])("%j is rejected with one sentence", (change, sentence) => {
    expect(() => decodeWindowBatch(encode(change))).toThrow(sentence);
    expect(() => decodeWindowBatch(encode(change))).toThrow(WireFormatError);
  });

  it("is checked by magic, version and size of the header", () => {
    const bytes = encode({});
    expect(() => decodeMaskBatch(bytes)).toThrow('does not begin with "TWMB"');
    const fixed = new DataView(bytes.buffer);
    fixed.setUint32(4, 2, true);
    expect(() => decodeWindowBatch(bytes)).toThrow("version 2, supported is 1");
    fixed.setUint32(4, 1, true);
    fixed.setUint32(8, 0xfffffff8, true);
    expect(() => decodeWindowBatch(bytes)).toThrow("the header has 4294967288 bytes");
    expect(() => encodeMessage("TWWB", "x".repeat(1 << 16), [])).toThrow(WireFormatError);
    for (const header of [[], null, 1, "text"]) {
      expect(() => decodeWindowBatch(encodeMessage("TWWB", header, []))).toThrow("not a JSON object");
    }
    expect(decodeMessage("ABCD", encodeMessage("ABCD", { é: "😐" }, [])).header).toEqual({ é: "😐" });
  });
});

describe("stored probabilities", () => {
  it.each([
    ["u8", 0.5 / 255],
    ["f16", 2 ** -11],
    ["f32", 0],
  ] as const)("%s come back within %f", (precision, tolerance) => {
    const p = Float32Array.from({ length: 1001 }, (_, i) => i / 1000);
    const back = decodeProbabilities({ precision, data: encodeProbabilities(p, precision) });
    for (let i = 0; i < p.length; i++)
      expect(Math.abs(back[i]! - p[i]!)).toBeLessThanOrEqual(tolerance + 1e-7);
  });

  it("u8 survives a second encoding unchanged", () => {
    const data = Uint8Array.from({ length: 256 }, (_, i) => i);
    expect(encodeProbabilities(decodeProbabilities({ precision: "u8", data }), "u8")).toEqual(data);
  });
});
