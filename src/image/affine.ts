/**
 * A 4 × 4 matrix, by rows: from index (i, j, k, 1) of level 0, i along x and k along z, to millimetres in the
 * patient's frame. The frame is NIfTI's: its axes point to the patient's right, front and head (RAS+).
 */
export type Affine = readonly (readonly number[])[];

const ENDS = [
  ["L", "R"],
  ["P", "A"],
  ["I", "S"],
] as const;

/** @returns undefined when the matrix is not finite or is singular */
export function validateAffine(rows: Affine): Affine | undefined {
  const [a, b, c] = rows as [readonly number[], readonly number[], readonly number[]];
  if (![a, b, c].every((row) => row.every(Number.isFinite))) return undefined;
  const lengths = columnLengths(rows);
  const determinant =
    a[0]! * (b[1]! * c[2]! - b[2]! * c[1]!) -
    a[1]! * (b[0]! * c[2]! - b[2]! * c[0]!) +
    a[2]! * (b[0]! * c[1]! - b[1]! * c[0]!);
  // Compared with the box that the columns would span at right angles.
  const box = lengths[0]! * lengths[1]! * lengths[2]!;
  return box > 0 && Number.isFinite(box) && Math.abs(determinant) > 1e-6 * box ? rows : undefined;
}

/** Millimetres between neighbours along i, j and k. */
export function columnLengths(affine: Affine): [number, number, number] {
  const length = (column: number) =>
    Math.hypot(affine[0]![column]!, affine[1]![column]!, affine[2]![column]!);
  return [length(0), length(1), length(2)];
}

/**
 * Directions of i, j and k, one letter each: "RAS" when i points to the patient's right, j to the front, k to the
 * head. An oblique axis gets the nearest direction, the most certain axis first, like nibabel's `aff2axcodes`.
 */
export function orientationCode(affine: Affine): string {
  const lengths = columnLengths(affine);
  const code = ["?", "?", "?"];
  const freeColumns = new Set([0, 1, 2]);
  const freeRows = new Set([0, 1, 2]);
  while (freeColumns.size > 0) {
    let best = { column: -1, row: -1, cosine: 0 };
    for (const column of freeColumns) {
      for (const row of freeRows) {
        const cosine = affine[row]![column]! / lengths[column]!;
        if (best.column < 0 || Math.abs(cosine) > Math.abs(best.cosine)) best = { column, row, cosine };
      }
    }
    code[best.column] = ENDS[best.row]![best.cosine < 0 ? 0 : 1];
    freeColumns.delete(best.column);
    freeRows.delete(best.row);
  }
  return code.join("");
}

/** Largest angle, in degrees, between an axis of the volume and the patient's axis that it is named after. */
export function obliqueDegrees(affine: Affine): number {
  const lengths = columnLengths(affine);
  const angles = [...orientationCode(affine)].map((letter, column) => {
    const row = ENDS.findIndex((ends) => ends.some((end) => end === letter));
    return Math.acos(Math.min(1, Math.abs(affine[row]![column]!) / lengths[column]!));
  });
  return (Math.max(...angles) * 180) / Math.PI;
}

/** The same matrix with samples of a plane `y` and `x` millimetres apart. */
export function withPlaneSpacing(affine: Affine, y: number, x: number): Affine {
  const [i, j] = columnLengths(affine);
  return affine.map((row, r) => (r === 3 ? row : [(row[0]! * x) / i, (row[1]! * y) / j, row[2]!, row[3]!]));
}

/** Placement of a grid in level 0: sample (z, y, x) begins at `origin` + `downsample` · (z, y, x). */
export interface GridPlacement {
  /** Samples of level 0, slow to fast. */
  origin: readonly number[];
  downsample: readonly number[];
}

/**
 * The matrix of a grid that lies in level 0 at `placement`. Positions are centres of samples: a sample that spans two
 * of level 0 has its centre between theirs.
 */
export function placeAffine(affine: Affine, { origin, downsample }: GridPlacement): Affine {
  const steps = downsample.toReversed();
  const first = origin.toReversed().map((o, axis) => o + (steps[axis]! - 1) / 2);
  return affine.map((row, r) =>
    r === 3
      ? row
      : [...steps.map((step, c) => row[c]! * step), first.reduce((sum, o, c) => sum + row[c]! * o, row[3]!)],
  );
}

/** Maps an index (i, j, k) to millimetres. */
export function applyAffine(
  affine: Affine,
  [i, j, k]: readonly [number, number, number],
): [number, number, number] {
  const at = (row: readonly number[]) => row[0]! * i + row[1]! * j + row[2]! * k + row[3]!;
  return [at(affine[0]!), at(affine[1]!), at(affine[2]!)];
}
