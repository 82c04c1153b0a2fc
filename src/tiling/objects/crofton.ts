/** Half of the 26 neighbours of a voxel, `[dz, dy, dx]`: each opposite pair once. */
export const DIRECTIONS: readonly (readonly [number, number, number])[] = [
  [0, 0, 1],
  [0, 1, -1],
  [0, 1, 0],
  [0, 1, 1],
  [1, -1, -1],
  [1, -1, 0],
  [1, -1, 1],
  [1, 0, -1],
  [1, 0, 0],
  [1, 0, 1],
  [1, 1, -1],
  [1, 1, 0],
  [1, 1, 1],
];

const DIRECTION_SAMPLES = 200_000;

/**
 * Surface area that a chord along each of `DIRECTIONS` contributes: 4 · c · v / d of Crofton's formula
 * (Legland, Kiêu and Devaux 2007, "Computation of Minkowski measures on 2D and 3D binary images"), v is the volume of
 * a voxel, d the distance of neighbours along the direction, and c the share of the sphere that is nearest to the
 * direction, which depends on the spacing.
 * @param spacing sample spacing, `[z, y, x]`
 */
export function chordWeights(spacing: readonly number[]): number[] {
  const steps = DIRECTIONS.map((d) => d.map((n, axis) => n * spacing[axis]!));
  const lengths = steps.map((step) => Math.hypot(...step));
  const shares = sphereShares(steps.map((step, k) => step.map((v) => v / lengths[k]!)));
  const voxel = spacing[0]! * spacing[1]! * spacing[2]!;
  return shares.map((share, k) => (4 * share * voxel) / lengths[k]!);
}

/** Share of the sphere nearest to each of `units` or its opposite, on an even (Fibonacci) lattice. */
function sphereShares(units: readonly (readonly number[])[]): number[] {
  const counts = units.map(() => 0);
  const turn = Math.PI * (3 - Math.sqrt(5));
  for (let n = 0; n < DIRECTION_SAMPLES; n++) {
    const z = 1 - (n + 0.5) / DIRECTION_SAMPLES; // Half of the sphere: the other half is its mirror image.
    const radius = Math.sqrt(1 - z * z);
    const x = Math.cos(turn * n) * radius;
    const y = Math.sin(turn * n) * radius;
    let best = 0;
    let cosine = -1;
    for (let k = 0; k < units.length; k++) {
      const unit = units[k]!;
      const c = Math.abs(unit[0]! * z + unit[1]! * y + unit[2]! * x);
      if (c > cosine) {
        cosine = c;
        best = k;
      }
    }
    counts[best]!++;
  }
  return counts.map((count) => count / DIRECTION_SAMPLES);
}
