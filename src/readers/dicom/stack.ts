import { type Affine, validateAffine } from "../../image/affine.ts";
import { UnsupportedDicomError } from "./errors.ts";

export type Vector = readonly [number, number, number];

/** Position of a slice, in millimetres of the patient's frame, LPS+ as in DICOM. */
export interface SlicePosition {
  /** Centre of the first pixel. */
  position: readonly number[];
  /** Directions of the rows (x) and of the columns (y): six cosines. */
  orientation: readonly number[];
  /** Between rows (y) and between columns (x). */
  pixelSpacing: readonly number[];
}

export interface SliceStack {
  /** Slices in the order of z, as indices of the input. */
  order: number[];
  affine: Affine;
  /** Millimetres between slices, from their positions. */
  spacing: number;
}

/** Tolerated deviation of gaps from their median: positions are rounded, and scanners step unevenly. */
export const GAP_TOLERANCE = 0.05;
/** Directions whose cosines differ by less are the same. */
const COSINE_TOLERANCE = 1e-3;

/**
 * Sorts slices along the normal of their plane and checks that they form a regular box: parallel, not sheared, and
 * evenly spaced. The slice distance comes from positions, never from the thickness.
 * @throws {UnsupportedDicomError} when they do not; the message gives positions along the normal
 */
export function stackSlices(slices: readonly SlicePosition[]): SliceStack {
  const first = slices[0]!;
  for (const slice of slices) checkPosition(slice);
  if (slices.some((slice) => !isParallel(slice, first)))
    throw new UnsupportedDicomError("its slices lie in different directions; give those of one stack");
  if (slices.some((s) => s.pixelSpacing.some((v, i) => Math.abs(v / first.pixelSpacing[i]! - 1) > 1e-4)))
    throw new UnsupportedDicomError("its slices have pixels of different sizes; give those of one stack");
  const rowDirection = vector(first.orientation, 0);
  const columnDirection = vector(first.orientation, 3);
  const normal = cross(rowDirection, columnDirection);

  const heights = slices.map((slice) => dot(vector(slice.position, 0), normal));
  const order = slices.map((_, i) => i).sort((a, b) => heights[a]! - heights[b]!);
  const sorted = order.map((i) => heights[i]!);
  checkGaps(sorted);

  const last = slices.length - 1;
  const from = vector(slices[order[0]!]!.position, 0);
  const to = vector(slices[order[last]!]!.position, 0);
  const step = scale(subtract(to, from), 1 / last);
  const spacing = dot(step, normal);
  checkShear(slices, order, normal, first.pixelSpacing);

  const [betweenRows, betweenColumns] = first.pixelSpacing as [number, number];
  // Exactly along the normal: the rest is rounding of the positions.
  const columns = [scale(rowDirection, betweenColumns), scale(columnDirection, betweenRows), step, from];
  return { order, affine: toRas(columns), spacing };
}

/** Steps along i, j and k, and the first centre, LPS. */
export function toRas(columns: readonly Vector[]): Affine {
  const affine = validateAffine([
    // LPS to RAS: the first two axes change sign.
    ...[0, 1, 2].map((axis) => columns.map((column) => (axis < 2 ? 0 - column[axis]! : column[axis]!))),
    [0, 0, 0, 1],
  ]);
  if (affine === undefined)
    throw new UnsupportedDicomError("its positions and directions do not span a volume");
  return affine;
}

export function checkPosition({ position, orientation, pixelSpacing }: SlicePosition): void {
  const numbers = [...position, ...orientation, ...pixelSpacing];
  const complete = position.length === 3 && orientation.length === 6 && pixelSpacing.length === 2;
  if (!complete || !numbers.every(Number.isFinite) || pixelSpacing.some((v) => !(v > 0)))
    throw new UnsupportedDicomError("a slice does not state its position, direction and pixel size");
  const x = vector(orientation, 0);
  const y = vector(orientation, 3);
  const square =
    Math.abs(dot(x, x) - 1) < 0.01 && Math.abs(dot(y, y) - 1) < 0.01 && Math.abs(dot(x, y)) < 0.01;
  if (!square) throw new UnsupportedDicomError("a slice's directions are not at right angles");
}

function isParallel(a: SlicePosition, b: SlicePosition): boolean {
  return a.orientation.every((v, i) => Math.abs(v - b.orientation[i]!) <= COSINE_TOLERANCE);
}

/** @param heights along the normal, ascending */
function checkGaps(heights: readonly number[]): void {
  const gaps = heights.slice(1).map((h, i) => h - heights[i]!);
  const positive = gaps.filter((gap) => gap > 1e-3).sort((a, b) => a - b);
  const duplicate = gaps.findIndex((gap) => gap <= 1e-3);
  if (duplicate >= 0) {
    throw new UnsupportedDicomError(
      `two of its slices lie at ${mm(heights[duplicate]!)}; give one scan without repeated slices`,
    );
  }
  // The lower median: a too large gap counts as a missing slice.
  const median = positive[(positive.length - 1) >> 1]!;
  const missing: string[] = [];
  for (const [i, gap] of gaps.entries()) {
    const steps = Math.round(gap / median);
    if (steps < 2 || Math.abs(gap - steps * median) > GAP_TOLERANCE * median * steps) continue;
    missing.push(
      `${steps === 2 ? "one" : steps - 1} at ${mm(heights[i]! + median)}${steps > 2 ? ` to ${mm(heights[i + 1]! - median)}` : ""}`,
    );
  }
  if (missing.length > 0) {
    const more = missing.length > 3 ? ` and ${missing.length - 3} more places` : "";
    throw new UnsupportedDicomError(
      `slices are missing: ${missing.slice(0, 3).join(", ")}${more}; copy the whole series`,
    );
  }
  const uneven = gaps.findIndex((gap) => Math.abs(gap - median) > GAP_TOLERANCE * median);
  if (uneven >= 0) {
    throw new UnsupportedDicomError(
      `its slices are not evenly spaced: ${gaps[uneven]!.toFixed(3)} mm apart at ${mm(heights[uneven]!)} and ${median.toFixed(3)} mm elsewhere (${GAP_TOLERANCE * 100} % are tolerated); resample it`,
    );
  }
}

/** A tilted gantry shears the stack. Half a pixel is tolerated. */
function checkShear(
  slices: readonly SlicePosition[],
  order: readonly number[],
  normal: Vector,
  pixelSpacing: readonly number[],
): void {
  const from = vector(slices[order[0]!]!.position, 0);
  const tolerated = Math.min(...pixelSpacing) / 2;
  for (const i of order) {
    const offset = subtract(vector(slices[i]!.position, 0), from);
    const along = dot(offset, normal);
    const aside = Math.hypot(...subtract(offset, scale(normal, along)));
    if (aside <= tolerated) continue;
    const degrees = (Math.atan2(aside, along) * 180) / Math.PI;
    throw new UnsupportedDicomError(
      `its slices are shifted against each other (gantry tilt of ${degrees.toFixed(1)}°); resample it to an upright stack`,
    );
  }
}

const mm = (value: number) => `${value.toFixed(2)} mm`;
export const dot = (a: Vector, b: Vector) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const scale = (a: Vector, s: number): Vector => [a[0] * s, a[1] * s, a[2] * s];
const subtract = (a: Vector, b: Vector): Vector => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const cross = (a: Vector, b: Vector): Vector => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];
export const vector = (values: readonly number[], from: number): Vector => [
  values[from]!,
  values[from + 1]!,
  values[from + 2]!,
];
