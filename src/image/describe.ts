import type { DType } from "../tiling/grid/raster.ts";
import type { Channel, ImageSource, Spacing } from "./image-source.ts";

/** An `ImageSource` in plain JSON: what `tilewright inspect --json` prints. Axes slow to fast throughout. */
export interface ImageReport {
  format: string;
  axes: "yx" | "zyx";
  /** Samples of level 0 per spatial axis. */
  shape: number[];
  dtype: DType;
  channels: Channel[];
  levels: LevelReport[];
  spacing: Spacing | null;
  /** Directions of x, y and z in the patient, such as "LPS"; null when the file does not state them. */
  orientation: string | null;
  /** Index (x, y, z, 1) to millimetres, RAS+, row by row. */
  affine: number[][] | null;
  /** Other properties of the format: modality, transfer syntax. Never an attribute of the patient. */
  details: Record<string, string>;
  /** Warnings for the user, a sentence each. */
  warnings: string[];
  /** Micrometres per pixel of level 0, `[y, x]`; null when the file does not state it. */
  mpp: [number, number] | null;
  objectivePower: number | null;
  bounds: { origin: number[]; size: number[] } | null;
  /** Stored bytes; null for directories of chunks. */
  byteLength: number | null;
  etag: string;
}

export interface LevelReport {
  shape: number[];
  downsample: number[];
  chunk: number[];
  /** Micrometres per pixel of this level, `[y, x]`. */
  mpp: [number, number] | null;
}

export function describeImage(image: ImageSource): ImageReport {
  const mpp = planeMpp(image.spacing);
  return {
    format: image.format,
    axes: image.axes,
    shape: [...image.levels[0]!.shape],
    dtype: image.dtype,
    channels: image.channels.map((channel) => ({ ...channel })),
    levels: image.levels.map(({ shape, downsample, chunk }) => ({
      shape: [...shape],
      downsample: [...downsample],
      chunk: [...chunk],
      mpp: mpp && [mpp[0] * downsample.at(-2)!, mpp[1] * downsample.at(-1)!],
    })),
    spacing: image.spacing ? { ...image.spacing, values: [...image.spacing.values] } : null,
    orientation: image.orientation ?? null,
    affine: image.affine?.map((row) => [...row]) ?? null,
    details: { ...image.details },
    warnings: [...(image.warnings ?? [])],
    mpp,
    objectivePower: image.objectivePower ?? null,
    bounds: image.bounds ? { origin: [...image.bounds.origin], size: [...image.bounds.size] } : null,
    byteLength: image.byteLength > 0 ? image.byteLength : null,
    etag: image.etag,
  };
}

/** Micrometres per pixel of the last two axes. */
export function planeMpp(spacing: Spacing | undefined): [number, number] | null {
  if (spacing === undefined) return null;
  const factor = spacing.unit === "millimeter" ? 1000 : 1;
  const [y, x] = spacing.values.slice(-2);
  return [y! * factor, x! * factor];
}
