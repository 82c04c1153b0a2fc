import { inflateRawSync } from "node:zlib";
import fc from "fast-check";
import { inflateSync } from "fflate";
import { describe, expect, it } from "vitest";
import { canonicalCodes, codeLengths } from "../../src/codecs/huffman.ts";
import { deflateLabels, LabelDeflate } from "../../src/codecs/label-deflate.ts";

/** Bytes as they come, few values in runs, and rows that repeat with small changes. */
const labelMaps = fc.oneof(
  fc.uint8Array({ maxLength: 3000 }),
  fc
    .array(fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 1, max: 900 })), { maxLength: 30 })
    .map((runs) => Uint8Array.from(runs.flatMap(([value, n]) => new Array<number>(n).fill(value)))),
  fc
    .tuple(
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.nat(5999), { maxLength: 20 }),
    )
    .map(([row, rows, changed]) => {
      const map = Uint8Array.from({ length: row.length * rows }, (_, i) => row[i % row.length]!);
      for (const at of changed) if (at < map.length) map[at] = 255 - map[at]!;
      return map;
    }),
);
const steps = fc.constantFrom(1, 2, 4);
const rows = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constantFrom(512, 2048, 32768, 32769, 100000));

describe("deflateLabels", () => {
  it("is read by every inflater, for any bytes and row length", () => {
    fc.assert(
      fc.property(labelMaps, steps, rows, (bytes, sample, row) => {
        const deflated = deflateLabels(bytes, sample, row);
        expect(Buffer.compare(inflateRawSync(deflated), bytes)).toBe(0);
        expect(Buffer.compare(inflateSync(deflated), bytes)).toBe(0);
      }),
      { numRuns: 400 },
    );
  });

  it("is the same stream however it is pushed and taken", () => {
    fc.assert(
      fc.property(fc.array(labelMaps, { maxLength: 4 }), rows, (parts, row) => {
        const deflate = new LabelDeflate(1, row);
        const taken = parts.map((part) => {
          deflate.push(part);
          return deflate.take();
        });
        const deflated = Buffer.concat([...taken, deflate.finish()]);
        expect(Buffer.compare(inflateRawSync(deflated), Buffer.concat(parts))).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  it("is correct over many blocks, with every byte and every match length", () => {
    // Runs of each length, and after each a byte that begins no run.
    const bytes: number[] = [];
    for (let n = 1; bytes.length < 400_000; n = (n % 600) + 1) {
      for (let i = 0; i < n; i++) bytes.push(n & 255);
      bytes.push((n * 7 + 3) & 255);
    }
    const map = Uint8Array.from(bytes);
    expect(Buffer.compare(inflateRawSync(deflateLabels(map, 1, 512)), map)).toBe(0);
    const noise = Uint8Array.from({ length: 300_000 }, (_, i) => Math.imul(i, 2654435761) >>> 24);
    const deflated = deflateLabels(noise, 1, 512);
    expect(Buffer.compare(inflateRawSync(deflated), noise)).toBe(0);
    expect(deflated.length).toBeLessThan(noise.length * 1.01);
  });

  it("compresses a map of one class to almost nothing", () => {
    expect(deflateLabels(new Uint8Array(1 << 20), 1, 2048).length).toBeLessThan(1100);
  });
});

describe("codeLengths", () => {
  const counts = fc.array(fc.oneof(fc.constant(0), fc.nat(9), fc.nat(1e6)), { minLength: 1, maxLength: 286 });

  it("form a complete prefix code within the limit", () => {
    fc.assert(
      fc.property(counts, (of) => {
        const lengths = codeLengths(of, 15);
        const used = [...lengths].filter((n) => n > 0);
        expect([...lengths].map((n) => n > 0)).toEqual(of.map((n) => n > 0));
        if (used.length < 2) return;
        expect(Math.max(...used)).toBeLessThanOrEqual(15);
        expect(used.reduce((sum, n) => sum + 2 ** -n, 0)).toBe(1);
        expect(new Set([...canonicalCodes(lengths)].map((c, s) => `${lengths[s]}:${c}`)).size).toBe(
          new Set([...lengths].map((n, s) => (n > 0 ? s : -1))).size,
        );
      }),
    );
  });

  it("respect the limit when the optimal code would not", () => {
    // Fibonacci's numbers have the deepest tree of all.
    const fibonacci = [1, 1];
    while (fibonacci.length < 19) fibonacci.push(fibonacci.at(-1)! + fibonacci.at(-2)!);
    const lengths = codeLengths(fibonacci, 7);
    expect(Math.max(...lengths)).toBe(7);
    expect([...lengths].reduce((sum, n) => sum + 2 ** -n, 0)).toBe(1);
  });
});
