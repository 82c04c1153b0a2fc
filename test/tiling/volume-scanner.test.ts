import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chordWeights, DIRECTIONS } from "../../src/tiling/objects/crofton.ts";
import { type StructureMeasure, VolumeScanner } from "../../src/tiling/objects/volume-scanner.ts";

type Shape = readonly [number, number, number];

function scan(data: Uint8Array, [depth, height, width]: Shape, spacing: readonly number[] = [1, 1, 1]) {
  const scanner = new VolumeScanner([height, width], spacing);
  const area = height * width;
  for (let z = 0; z < depth; z++) {
    const slice = data.subarray(z * area, (z + 1) * area);
    const empty = slice.every((v) => v === 0);
    const present = scanner.push(empty ? undefined : slice);
    expect(present).toEqual([...new Set(slice)].filter((v) => v > 0).sort((a, b) => a - b));
  }
  return scanner.finish();
}

/** The same in the plainest way: flood fill, and neighbours one by one. */
function reference(data: Uint8Array, [depth, height, width]: Shape, spacing: readonly number[]) {
  const at = (z: number, y: number, x: number) =>
    z < 0 || y < 0 || x < 0 || z >= depth || y >= height || x >= width
      ? 0
      : data[(z * height + y) * width + x]!;
  const weights = chordWeights(spacing);
  const seen = new Uint8Array(data.length);
  const measures = new Map<number, StructureMeasure>();
  for (let z = 0; z < depth; z++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const label = at(z, y, x);
        if (label === 0) continue;
        const m = measures.get(label) ?? {
          label,
          voxels: 0,
          centroid: [0, 0, 0],
          first: [depth, height, width],
          last: [-1, -1, -1],
          components: 0,
          surface: 0,
        };
        measures.set(label, m);
        m.voxels++;
        for (const [axis, v] of [z, y, x].entries()) {
          m.centroid[axis]! += v;
          m.first[axis] = Math.min(m.first[axis]!, v);
          m.last[axis] = Math.max(m.last[axis]!, v);
        }
        for (const [k, [dz, dy, dx]] of DIRECTIONS.entries())
          if (at(z - dz, y - dy, x - dx) !== label) m.surface += weights[k]!;
        const start = (z * height + y) * width + x;
        if (seen[start]) continue;
        m.components++;
        const stack = [start];
        seen[start] = 1;
        while (stack.length > 0) {
          const p = stack.pop()!;
          const [pz, py, px] = [Math.floor(p / (height * width)), Math.floor(p / width) % height, p % width];
          for (let dz = -1; dz <= 1; dz++)
            for (let dy = -1; dy <= 1; dy++)
              for (let dx = -1; dx <= 1; dx++) {
                if (at(pz + dz, py + dy, px + dx) !== label) continue;
                const q = ((pz + dz) * height + py + dy) * width + px + dx;
                if (seen[q]) continue;
                seen[q] = 1;
                stack.push(q);
              }
        }
      }
  for (const m of measures.values()) m.centroid = m.centroid.map((v) => v / m.voxels) as typeof m.centroid;
  return [...measures.values()].sort((a, b) => a.label - b.label);
}

function fill(shape: Shape, inside: (z: number, y: number, x: number) => number): Uint8Array {
  const [depth, height, width] = shape;
  const data = new Uint8Array(depth * height * width);
  for (let z = 0, i = 0; z < depth; z++)
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++, i++) data[i] = inside(z, y, x);
  return data;
}

describe("measures of a volume, slice by slice", () => {
  it("equal those of flood fill and of a loop over neighbours", () => {
    fc.assert(
      fc.property(
        fc.tuple(
          fc.integer({ min: 1, max: 6 }),
          fc.integer({ min: 1, max: 7 }),
          fc.integer({ min: 1, max: 9 }),
        ),
        fc.tuple(fc.double({ min: 0.3, max: 5, noNaN: true }), fc.double({ min: 0.3, max: 5, noNaN: true })),
        fc.integer({ min: 1, max: 4 }),
        fc.infiniteStream(fc.nat(99)),
        (shape, [sz, sx], dense, random) => {
          const numbers = random[Symbol.iterator]();
          const data = fill(shape, () => {
            const n = numbers.next().value as number;
            return n < 20 * dense ? (n % 3) + (n % 7 === 0 ? 0 : 1) : 0;
          });
          const spacing = [sz, 1, sx];
          const found = scan(data, shape, spacing);
          const expected = reference(data, shape, spacing);
          expect(found.map(({ surface: _, centroid: __, ...rest }) => rest)).toEqual(
            expected.map(({ surface: _, centroid: __, ...rest }) => rest),
          );
          for (const [i, m] of found.entries()) {
            expect(m.surface).toBeCloseTo(expected[i]!.surface, 6);
            for (const [a, c] of m.centroid.entries()) expect(c).toBeCloseTo(expected[i]!.centroid[a]!, 9);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it("joins components through a later slice and counts ended ones", () => {
    // A comb along z: three teeth, joined by the last slice; and a dot that ends early.
    const shape = [6, 5, 9] as const;
    const data = fill(shape, (z, y, x) => {
      if (z === 5) return y === 0 ? 1 : 0;
      if (z === 1 && y === 4 && x === 8) return 1;
      return y === 0 && x % 4 === 0 ? 1 : 0;
    });
    expect(scan(data, shape)[0]!.components).toBe(2);
  });

  it("touching at a corner is touching", () => {
    const shape = [2, 2, 2] as const;
    const corners = (b: number) => fill(shape, (z, y, x) => (z + y + x === 0 || z + y + x === b ? 1 : 0));
    expect(scan(corners(3), shape)[0]!.components).toBe(1);
    expect(
      scan(
        fill([1, 1, 3], (_z, _y, x) => (x === 1 ? 0 : 1)),
        [1, 1, 3],
      )[0]!.components,
    ).toBe(2);
  });
});

describe("surfaces", () => {
  /** Of an ellipsoid; there is no closed form, so over the angles of the ball it is a stretched image of. */
  function ellipsoidSurface([a, b, c]: Shape): number {
    const n = 800;
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const theta = ((i + 0.5) / n) * Math.PI;
      for (let j = 0; j < n; j++) {
        const phi = ((j + 0.5) / n) * 2 * Math.PI;
        const [s, t] = [Math.sin(theta), Math.cos(theta)];
        const [u, v] = [Math.cos(phi), Math.sin(phi)];
        sum += s * Math.hypot(b * c * s * u, a * c * s * v, a * b * t);
      }
    }
    return (sum * 2 * Math.PI ** 2) / (n * n);
  }

  it("chord weights sum to Crofton's 4 for a ball with any spacing", () => {
    for (const spacing of [
      [1, 1, 1],
      [5, 0.5, 0.5],
      [0.3, 2, 1],
    ] as const) {
      const voxel = spacing[0] * spacing[1] * spacing[2];
      const shares = chordWeights(spacing).map(
        (w, k) => (w * Math.hypot(...DIRECTIONS[k]!.map((d, a) => d * spacing[a]!))) / (4 * voxel),
      );
      expect(shares.reduce((a, b) => a + b)).toBeCloseTo(1, 9);
      for (const share of shares) expect(share).toBeGreaterThan(0);
    }
    // Legland et al. 2007, table for the cubic grid.
    const [along, , , diagonal] = chordWeights([1, 1, 1]);
    expect(along! / 4).toBeCloseTo(0.0915558, 3);
    expect((diagonal! * Math.SQRT2) / 4).toBeCloseTo(0.0739613, 3);
  });

  it.each([
    ["ball", [10, 10, 10], [1, 1, 1], 0.01],
    ["ball, slices twice as far", [10, 10, 10], [2, 1, 1], 0.02],
    ["ball, slices five times as far", [15, 15, 15], [2.5, 0.5, 0.5], 0.03],
    ["ellipsoid", [6, 12, 18], [1, 1, 1], 0.03],
    ["ellipsoid, unequal spacing", [18, 12, 8], [1.5, 0.7, 0.7], 0.05],
  ] as const)("of a %s", (_, radii, spacing, tolerance) => {
    const shape = radii.map((r, a) => 2 * Math.ceil(r / spacing[a]!) + 3) as unknown as Shape;
    const data = fill(shape, (...p) =>
      p.reduce((sum, v, a) => sum + (((v - (shape[a]! - 1) / 2) * spacing[a]!) / radii[a]!) ** 2, 0) <= 1
        ? 1
        : 0,
    );
    const [measure] = scan(data, shape, spacing);
    const surface = ellipsoidSurface([radii[2], radii[1], radii[0]]);
    expect(Math.abs(measure!.surface / surface - 1)).toBeLessThan(tolerance);
  });

  it("of a box along the axes are up to 10 % too small, also at the border", () => {
    for (const at of [0, 3]) {
      const data = fill([40, 40, 40], (...p) => (p.every((v) => v >= at && v < at + 30) ? 1 : 0));
      const ratio = scan(data, [40, 40, 40])[0]!.surface / (6 * 30 * 30);
      expect(ratio).toBeGreaterThan(0.9);
      expect(ratio).toBeLessThan(1);
    }
  });
});
