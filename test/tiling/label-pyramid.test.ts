import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { product } from "../../src/tiling/grid/raster.ts";
import { downsampleByMode, PyramidBuilder, pyramidLevels } from "../../src/tiling/objects/label-pyramid.ts";

/** The rule by its words: most votes, then not background, then the smallest. */
function modeOf(values: readonly number[]): number {
  const votes = new Map<number, number>();
  for (const v of values) votes.set(v, (votes.get(v) ?? 0) + 1);
  return [...votes].sort(
    (a, b) => b[1] - a[1] || Number(a[0] === 0) - Number(b[0] === 0) || a[0] - b[0],
  )[0]![0];
}

function halve(data: ArrayLike<number>, shape: readonly number[], step: readonly number[]) {
  const out = shape.map((n, a) => Math.ceil(n / step[a]!));
  const result = new Uint8Array(product(out));
  const at = (index: readonly number[]) => index.reduce((p, i, a) => p * shape[a]! + i, 0);
  for (let n = 0; n < result.length; n++) {
    const position = out.map((_, a) => Math.floor(n / product(out.slice(a + 1))) % out[a]!);
    const values: number[] = [];
    for (let corner = 0; corner < 1 << shape.length; corner++) {
      const bits = shape.map((_, a) => (corner >> a) & 1);
      if (bits.some((b, a) => b >= step[a]!)) continue;
      const index = position.map((p, a) => p * step[a]! + bits[a]!);
      if (index.every((i, a) => i < shape[a]!)) values.push(data[at(index)]!);
    }
    result[n] = modeOf(values);
  }
  return { data: result, shape: out };
}

const samples = (length: number) =>
  fc
    .array(fc.constantFrom(0, 0, 1, 2, 5), { minLength: length, maxLength: length })
    .map((v) => Uint8Array.from(v));

const maps = (axes: number, max: number) =>
  fc
    .array(fc.integer({ min: 1, max }), { minLength: axes, maxLength: axes })
    .chain((shape) => samples(product(shape)).map((data) => ({ data, shape })));

describe("label pyramid", () => {
  it.each([2, 3])("takes the most frequent label in %i axes, ragged edges included", (axes) => {
    fc.assert(
      fc.property(maps(axes, axes === 2 ? 13 : 5), ({ data, shape }) => {
        const step = shape.map(() => 2);
        const expected = halve(data, shape, step);
        const target = new Uint8Array(product(expected.shape));
        const offset = shape.map(() => 0);
        downsampleByMode(data, { shape, offset }, shape, step, target, { shape: expected.shape, offset });
        expect(target).toEqual(expected.data);
      }),
      { numRuns: 200 },
    );
  });

  it("is the same from chunks in any order, packed or not, as from the whole map", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 3 }).chain((axes) =>
          fc.record({
            map: maps(axes, axes === 2 ? 40 : 11),
            chunk: fc.array(fc.constantFrom(2, 4, 8), { minLength: axes, maxLength: axes }),
            seed: fc.nat(),
            packBits: fc.constantFrom(undefined, 4 as const, 8 as const),
          }),
        ),
        ({ map, chunk, seed, packBits }) => {
          const { shape } = map;
          const levels = pyramidLevels(shape, chunk);
          const whole = [map];
          for (let l = 1; l < levels.length; l++) {
            const step = levels[l]!.factor.map((f, a) => f / levels[l - 1]!.factor[a]!);
            whole.push(halve(whole[l - 1]!.data, whole[l - 1]!.shape, step));
          }
          const built = levels.map((level) => new Uint8Array(product(level.shape)));
          const told: string[] = [];
          const builder = new PyramidBuilder({
            shape,
            chunk,
            dtype: "uint8",
            packBits,
            onTile: (level, index, tile) => {
              told.push(`${level}:${index}`);
              if (tile)
                eachSample(levels[level]!.shape, chunk, index, (p, t) => (built[level]![p] = tile[t]!));
            },
          });
          const grid = shape.map((n, a) => Math.ceil(n / chunk[a]!));
          const order = Array.from({ length: product(grid) }, (_, n) => n);
          order.sort((a, b) => Math.imul(a + 1, seed | 1) - Math.imul(b + 1, seed | 1));
          for (const n of order) {
            const index = grid.map((g, a) => Math.floor(n / product(grid.slice(a + 1))) % g);
            const tile = new Uint8Array(product(chunk));
            eachSample(shape, chunk, index, (p, t) => (tile[t] = map.data[p]!));
            builder.add(index, tile.some((v) => v !== 0) ? tile : undefined);
          }
          for (let l = 1; l < levels.length; l++) expect(built[l]).toEqual(whole[l]!.data);
          expect(new Set(told).size).toBe(told.length);
          expect(told.length).toBe(
            levels
              .slice(1)
              .reduce((n, { shape }) => n + product(shape.map((s, a) => Math.ceil(s / chunk[a]!))), 0),
          );
        },
      ),
      { numRuns: 80 },
    );
  });

  it("ends when a level fits one chunk", () => {
    expect(pyramidLevels([2967, 2220], [512, 512]).map((l) => l.shape)).toEqual([
      [2967, 2220],
      [1484, 1110],
      [742, 555],
      [371, 278],
    ]);
    expect(pyramidLevels([1, 3], [512, 512])).toHaveLength(1);
    expect(pyramidLevels([90, 300, 300], [1, 256, 256]).map((l) => l.factor)).toEqual([
      [1, 1, 1],
      [1, 2, 2],
    ]);
  });
});

function eachSample(
  shape: readonly number[],
  chunk: readonly number[],
  index: readonly number[],
  visit: (inLevel: number, inTile: number) => void,
): void {
  for (let t = 0; t < product(chunk); t++) {
    const within = chunk.map((c, a) => Math.floor(t / product(chunk.slice(a + 1))) % c);
    const position = within.map((w, a) => index[a]! * chunk[a]! + w);
    if (position.some((p, a) => p >= shape[a]!)) continue;
    visit(
      position.reduce((p, i, a) => p * shape[a]! + i, 0),
      t,
    );
  }
}
