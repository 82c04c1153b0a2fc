import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  encodeProbabilities,
  importanceMap,
  type MaskRecord,
  type MergedChunk,
  Merger,
  type MergerOptions,
  type Precision,
  planWindowGrid,
  product,
  type WindowGrid,
  WindowSet,
  windowCount,
  windowRect,
} from "../../src/tiling/index.ts";

/** A record whose value at each sample is `field` of its place in the image: a pointwise model. */
function pointwiseRecord(
  grid: WindowGrid,
  window: number,
  classes: number,
  precision: Precision,
  field: (k: number, at: number[]) => number,
): MaskRecord {
  const { origin, size } = windowRect(grid, window);
  const n = product(size);
  const values = new Float32Array(classes * n);
  for (let k = 0; k < classes; k++) {
    for (let i = 0; i < n; i++) {
      const at = new Array<number>(size.length);
      for (let axis = size.length - 1, rest = i; axis >= 0; axis--) {
        at[axis] = origin[axis]! + (rest % size[axis]!);
        rest = Math.floor(rest / size[axis]!);
      }
      values[k * n + i] = field(k, at);
    }
  }
  return { window, precision, data: encodeProbabilities(values, precision) };
}

/** Deterministic noise in [0, 1). */
function noise(seed: number, k: number, at: number[]): number {
  let h = seed ^ Math.imul(k + 1, 0x9e3779b1);
  for (const a of at) h = Math.imul(h ^ (a + 0x7f4a7c15), 0x85ebca6b) ^ (h >>> 13);
  h = Math.imul(h ^ (h >>> 16), 0xc2b2ae35);
  return ((h ^ (h >>> 15)) >>> 0) / 2 ** 32;
}

function merge(options: MergerOptions, records: Iterable<MaskRecord>) {
  const merger = new Merger(options);
  const chunks: MergedChunk[] = [];
  for (const record of records) chunks.push(...merger.add(record));
  return { chunks, summary: merger.finish(), grid: merger.chunks, comparison: merger.comparison };
}

/** Chunks back into one array `[planes, ...shape]`. */
function assemble(shape: readonly number[], chunk: readonly number[], chunks: MergedChunk[], planes: number) {
  const out = new Float64Array(planes * product(shape)).fill(Number.NaN);
  for (const { index, raster } of chunks) {
    const size = raster.shape.slice(-shape.length);
    const n = product(size);
    for (let p = 0; p < planes; p++) {
      for (let i = 0; i < n; i++) {
        let to = 0;
        const at = new Array<number>(size.length);
        for (let axis = size.length - 1, rest = i; axis >= 0; axis--) {
          at[axis] = index[axis]! * chunk[axis]! + (rest % size[axis]!);
          rest = Math.floor(rest / size[axis]!);
        }
        for (let axis = 0; axis < shape.length; axis++) to = to * shape[axis]! + at[axis]!;
        out[p * product(shape) + to] = raster.data[p * n + i]!;
      }
    }
  }
  return out;
}

const axisArb = fc.record({
  n: fc.integer({ min: 1, max: 40 }),
  w: fc.integer({ min: 1, max: 16 }),
  c: fc.integer({ min: 1, max: 17 }),
});
const caseArb = fc.record({
  axes: fc
    .array(axisArb, { minLength: 2, maxLength: 3 })
    .filter((a) => a.reduce((p, x) => p * x.n, 1) < 6000),
  overlapRatio: fc.constantFrom(0, 0.25, 0.5, 0.6),
  policy: fc.constantFrom("monai" as const, "nnunet" as const),
  kind: fc.constantFrom("constant" as const, "gaussian-monai" as const, "gaussian-nnunet" as const),
  precision: fc.constantFrom("u8" as const, "f16" as const, "f32" as const),
  seed: fc.integer(),
});

function setUp(c: typeof caseArb extends fc.Arbitrary<infer T> ? T : never) {
  const grid = planWindowGrid({
    shape: c.axes.map((a) => a.n),
    window: c.axes.map((a) => a.w),
    overlapRatio: c.overlapRatio,
    policy: c.policy,
  });
  const total = windowCount(grid);
  return { grid, total, importance: importanceMap(c.kind, grid.window), chunk: c.axes.map((a) => a.c) };
}

/** What merging is, sample by sample, in float32: labels, and how often a window differs from those before it. */
function byHand(grid: WindowGrid, importance: Float32Array, classes: number, records: readonly MaskRecord[]) {
  const labels = new Uint8Array(product(grid.shape));
  let disagreed = 0;
  const first = (values: ArrayLike<number>) => Array.from(values).indexOf(Math.max(...Array.from(values)));
  for (let i = 0; i < labels.length; i++) {
    const at = new Array<number>(grid.shape.length);
    for (let axis = at.length - 1, rest = i; axis >= 0; axis--) {
      at[axis] = rest % grid.shape[axis]!;
      rest = Math.floor(rest / grid.shape[axis]!);
    }
    const sums = new Float32Array(classes);
    let turn = 0;
    for (const { window, data } of records) {
      const { origin, size } = windowRect(grid, window);
      if (at.some((a, axis) => a < origin[axis]! || a >= origin[axis]! + size[axis]!)) continue;
      const place = at.reduce((p, a, axis) => p * size[axis]! + a - origin[axis]!, 0);
      const values = Array.from({ length: classes }, (_, k) => data[k * product(size) + place]!);
      if (turn++ > 0 && first(sums) !== first(values)) disagreed++;
      values.forEach((value, k) => {
        sums[k]! += importance[place]! * value;
      });
    }
    labels[i] = first(sums);
  }
  return { labels, disagreed };
}

describe("merger", () => {
  it("merging by agreement gives the labels of weighted sums, and counts windows that differ", () => {
    fc.assert(
      fc.property(
        caseArb,
        fc.integer({ min: 2, max: 5 }),
        fc.integer({ min: 1, max: 255 }),
        (c, classes, steps) => {
          const { grid, total, importance, chunk } = setUp(c);
          fc.pre(total < 60);
          // Few steps make ties; noise by window makes windows differ.
          const records = Array.from({ length: total }, (_, w): MaskRecord => {
            const { data } = pointwiseRecord(grid, w, classes, "f32", (k, at) =>
              noise(c.seed + (w % 3), k, at),
            );
            const values = Uint8Array.from(data, (v) => Math.floor(v * steps));
            return { window: w, precision: "u8", data: values };
          });
          const merger = new Merger({
            grid,
            kept: WindowSet.all(total),
            importance,
            classes,
            precision: "u8",
            chunk,
          });
          const chunks = [...records].reverse().flatMap((record) => merger.add(record));
          merger.finish();
          const hand = byHand(grid, importance, classes, records);
          expect([...assemble(grid.shape, chunk, chunks, 1)]).toEqual([...hand.labels]);
          expect(merger.comparison.disagreed).toBe(hand.disagreed);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("tiling is invisible to a pointwise model", () => {
    fc.assert(
      fc.property(caseArb, (c) => {
        const { grid, total, importance, chunk } = setUp(c);
        fc.pre(total < 400);
        const kept = WindowSet.all(total);
        const records = [...kept].map((w) =>
          pointwiseRecord(grid, w, 2, "f32", (k, at) => noise(c.seed, k, at)),
        );
        const { chunks, summary } = merge(
          { grid, kept, importance, classes: 2, precision: "f32", chunk, output: "probabilities" },
          records,
        );
        expect(summary.uncovered).toBe(0);
        expect(summary.covered).toBe(product(grid.shape));
        const out = assemble(grid.shape, chunk, chunks, 2);
        const n = product(grid.shape);
        for (let i = 0; i < out.length; i++) {
          const at = new Array<number>(grid.shape.length);
          for (let axis = at.length - 1, rest = i % n; axis >= 0; axis--) {
            at[axis] = rest % grid.shape[axis]!;
            rest = Math.floor(rest / grid.shape[axis]!);
          }
          expect(Math.abs(out[i]! - noise(c.seed, Math.floor(i / n), at))).toBeLessThan(2e-6);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("gives the same bytes for any order of records, also with windows left out", () => {
    fc.assert(
      fc.property(caseArb, fc.infiniteStream(fc.nat()), (c, stream) => {
        const { grid, total, importance, chunk } = setUp(c);
        fc.pre(total < 300);
        const kept = new WindowSet(total);
        for (let w = 0; w < total; w++) if (noise(c.seed, w, [1]) < 0.8) kept.add(w);
        const records = [...kept].map((w) =>
          pointwiseRecord(grid, w, 3, c.precision, (k, at) => noise(c.seed + w, k, at)),
        );
        const options = { grid, kept, importance, classes: 3, precision: c.precision, chunk };
        const ordered = merge(options, records);
        const shuffled = records.slice();
        for (let i = shuffled.length - 1; i > 0; i--) {
          const j = stream.next().value % (i + 1);
          [shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!];
        }
        const other = merge(options, [...shuffled, ...shuffled.slice(0, 2)]);
        const sort = (chunks: MergedChunk[]) => chunks.slice().sort((a, b) => a.number - b.number);
        expect(sort(other.chunks)).toEqual(sort(ordered.chunks));
        expect(other.summary.covered).toBe(ordered.summary.covered);
        expect(other.summary.covered + other.summary.uncovered).toBe(product(grid.shape));
      }),
      { numRuns: 60 },
    );
  });

  it("makes any subset of chunks from the windows that touch them, bit for bit as in a full merge", () => {
    fc.assert(
      fc.property(caseArb, (c) => {
        const { grid, total, importance, chunk } = setUp(c);
        fc.pre(total < 300);
        const kept = WindowSet.all(total);
        const options = { grid, kept, importance, classes: 2, precision: c.precision, chunk };
        const record = (w: number) =>
          pointwiseRecord(grid, w, 2, c.precision, (k, at) => noise(c.seed + w, k, at));
        const whole = merge(options, [...kept].map(record));
        const wanted = (n: number) => noise(c.seed, n, [2]) < 0.5;
        const parts = merge({ ...options, wanted }, [...kept].map(record));
        const expected = whole.chunks.filter((m) => wanted(m.number)).sort((a, b) => a.number - b.number);
        expect(parts.chunks.sort((a, b) => a.number - b.number)).toEqual(expected);
        // What several merges compare is what one compares: blocks of a job in the cloud, attempts of a run.
        const others = merge({ ...options, wanted: (n) => !wanted(n) }, [...kept].map(record));
        for (const count of ["compared", "disagreed"] as const)
          expect(parts.comparison[count] + others.comparison[count]).toBe(whole.comparison[count]);
      }),
      { numRuns: 60 },
    );
  });

  it("rejects windows outside of the plan, and finishing with missing windows", () => {
    const grid = planWindowGrid({ shape: [20, 20], window: [8, 8] });
    const kept = WindowSet.all(windowCount(grid));
    const importance = importanceMap("constant", grid.window);
    const merger = new Merger({ grid, kept, importance, classes: 2, precision: "u8", chunk: [8, 8] });
    const data = new Uint8Array(2 * 64);
    expect(() => merger.add({ window: 99, precision: "u8", data })).toThrow("window 99 is not in the plan");
    expect(() => merger.add({ window: 0, precision: "f32", data })).toThrow("f32, the job u8");
    expect(() => merger.add({ window: 0, precision: "u8", data: data.subarray(1) })).toThrow("127 values");
    merger.add({ window: 0, precision: "u8", data });
    expect(() => merger.finish()).toThrow(/merged 1 windows, but \d+ parts/);
  });
});
