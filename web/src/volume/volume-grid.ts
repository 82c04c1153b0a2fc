import { type Affine, columnLengths, placeAffine } from "../../../src/image/affine.ts";
import type { Spacing } from "../../../src/image/image-source.ts";
import { product } from "../../../src/tiling/grid/raster.ts";

/** Samples of a volume that are shown together: 512 × 512 × 128. The graphics card holds up to 12 bytes for each. */
export const MAX_VOXELS = 32 * 2 ** 20;

/** Which samples of a stored volume are shown: every `step`-th along each axis of a level. Axes slow to fast. */
export interface VolumeGrid {
  level: number;
  step: readonly number[];
  /** Of the shown samples. */
  shape: readonly number[];
  /** Index (x, y, z) of a shown sample to millimetres, RAS+. */
  affine: Affine;
}

interface StoredLevel {
  shape: readonly number[];
  downsample: readonly number[];
}

/**
 * The finest samples of a volume that fit. The axis with the smallest distance between samples is thinned first, so that
 * shown samples come close to cubes. Samples are left out, never averaged: each has a stored value.
 * @param affine of level 0
 */
export function chooseVolumeGrid(
  levels: readonly StoredLevel[],
  affine: Affine,
  origin: readonly number[] = [0, 0, 0],
  most = MAX_VOXELS,
): VolumeGrid {
  let level = 0;
  while (level < levels.length - 1 && product(levels[level]!.shape) > most) level++;
  const { shape, downsample } = levels[level]!;
  const placed = placeAffine(affine, { origin, downsample });
  const distances = columnLengths(placed).toReversed();
  const step = [1, 1, 1];
  const thinned = () => shape.map((n, axis) => Math.ceil(n / step[axis]!));
  while (product(thinned()) > most) {
    const next = [0, 1, 2]
      .filter((axis) => step[axis]! * 2 <= shape[axis]!)
      .reduce((a, b) => (distances[b]! * step[b]! < distances[a]! * step[a]! ? b : a));
    step[next]! *= 2;
  }
  const [z, y, x] = step as [number, number, number];
  const stepped = placed.map((row, r) => (r === 3 ? row : [row[0]! * x, row[1]! * y, row[2]! * z, row[3]!]));
  return { level, step, shape: thinned(), affine: stepped };
}

/** The matrix of a volume that states only the distances of its samples, or nothing. Directions are then unknown. */
export function affineOfSpacing(spacing: Spacing | null | undefined): Affine {
  const factor = spacing?.unit === "micrometer" ? 0.001 : 1;
  const [z, y, x] = (spacing?.values ?? [1, 1, 1]).map((value) => value * factor) as [number, number, number];
  return [
    [x, 0, 0, 0],
    [0, y, 0, 0],
    [0, 0, z, 0],
    [0, 0, 0, 1],
  ];
}
