import { product, type Rect, type SampleArray, strides } from "./raster.ts";

/**
 * A permutation and flips of the axes of a volume: axis `a` of the reoriented volume runs along axis `axes[a]` of the
 * stored one, backwards if `flips[a]`. Slow to fast.
 */
export interface Reorientation {
  axes: readonly number[];
  flips: readonly boolean[];
}

export function isIdentityReorientation({ axes, flips }: Reorientation): boolean {
  return axes.every((axis, a) => axis === a) && !flips.includes(true);
}

/** The inverse reorientation. */
export function invertReorientation({ axes, flips }: Reorientation): Reorientation {
  const inverse = axes.map((_, stored) => axes.indexOf(stored));
  return { axes: inverse, flips: inverse.map((a) => flips[a]!) };
}

/** Reorders values per stored axis to the reoriented axes. */
export function reorderAxes<T>(values: readonly T[], { axes }: Reorientation): T[] {
  return axes.map((axis) => values[axis]!);
}

/** Converts a rect of the reoriented volume to the stored one. @param shape shape of the stored volume */
export function storedRect(rect: Rect, shape: readonly number[], { axes, flips }: Reorientation): Rect {
  const origin = shape.map(() => 0);
  const size = shape.map(() => 0);
  axes.forEach((axis, a) => {
    size[axis] = rect.size[a]!;
    origin[axis] = flips[a] ? shape[axis]! - rect.origin[a]! - rect.size[a]! : rect.origin[a]!;
  });
  return { origin, size };
}

/** A box inside a row-major array `[...shape, channels]`. */
interface Box {
  data: SampleArray;
  shape: readonly number[];
  origin: readonly number[];
}

/**
 * Copies a box of a stored volume into a reoriented one.
 * @param from `origin`: first sample of the box in the stored volume
 * @param size size of the box in the reoriented volume, three axes
 */
export function copyReoriented(
  from: Box,
  to: Box,
  size: readonly number[],
  { axes, flips }: Reorientation,
  channels = 1,
): void {
  const fromSteps = strides(from.shape).map((s) => s * channels);
  const toSteps = strides(to.shape).map((s) => s * channels);
  let start = 0;
  const steps = axes.map((axis, a) => {
    const last = from.origin[axis]! + size[a]! - 1;
    start += (flips[a] ? last : from.origin[axis]!) * fromSteps[axis]!;
    return flips[a] ? -fromSteps[axis]! : fromSteps[axis]!;
  });
  const target = to.origin.reduce((sum, o, a) => sum + o * toSteps[a]!, 0);
  const [depth, height, width] = size as [number, number, number];
  const [sz, sy, sx] = steps as [number, number, number];
  const [tz, ty] = toSteps as [number, number, number];
  const source = from.data;
  const out = to.data;
  const inRuns = sx === channels;
  for (let z = 0; z < depth; z++) {
    for (let y = 0; y < height; y++) {
      let at = start + z * sz + y * sy;
      let put = target + z * tz + y * ty;
      if (inRuns) {
        out.set(source.subarray(at, at + width * channels), put);
        continue;
      }
      for (let x = 0; x < width; x++, at += sx) {
        for (let c = 0; c < channels; c++) out[put++] = source[at + c]!;
      }
    }
  }
}

/** Samples of a slice of a volume: all axes but the first. */
export function sliceSamples(shape: readonly number[]): number {
  return product(shape.slice(1));
}
