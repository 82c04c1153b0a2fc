import type { Raster, Rect } from "../tiling/grid/raster.ts";
import type { Reorientation } from "../tiling/grid/reorientation.ts";
import type { WindowGrid } from "../tiling/grid/window-grid.ts";
import type { WindowSet } from "../tiling/grid/window-set.ts";
import type { ImportanceKind } from "../tiling/merge/importance-map.ts";
import type { TissueFinding } from "../tiling/pixels/tissue-mask.ts";
import type { Precision } from "../tiling/wire/mask-record.ts";
import type { DomainFinding } from "./domain-finding.ts";

/** Orientation of a volume and of the model's training data: the directions of x, y and z, as in "LPS". */
export interface PlannedOrientation {
  source: string;
  model: string;
  /** Whether the user stated it, not the file. */
  given: boolean;
  /** Angle between the volume's axes and the patient's, where the file states it. */
  obliqueDegrees?: number;
}

export interface Orientation {
  /** From stored axes to the model's; undefined if they are the same. */
  reorientation?: Reorientation;
  orientation?: PlannedOrientation;
}

/**
 * Everything that determines the result, as plain data: a function of image, model and settings only. Axes of a volume
 * are in the model's orientation.
 */
export interface JobPlan extends Orientation {
  level: number;
  /** Micrometres per sample of the level, slow to fast. */
  mpp: readonly number[];
  levelShape: readonly number[];
  /** Downsample factor of the level per axis. */
  downsample: readonly number[];
  /** The segmented region in samples of the level: with `--roi`, everything that its windows cover. */
  region: Rect;
  /** The same in level-0 samples. */
  region0: Rect;
  /** The written region, if it is smaller. */
  output?: { region: Rect; region0: Rect };
  /** The grid over the region; its window is in samples of the level. */
  grid: WindowGrid;
  kept: WindowSet;
  /** Window of the model. If it differs from the grid's, windows are resampled to it and results back. */
  modelWindow: readonly number[];
  /**
   * For a 2-D network over a volume: windows of the grid are one sample thick along `axis`, and the network's channels
   * are the slice and `context` neighbours before and after it.
   */
  slices?: { axis: number; context: number };
  importance: ImportanceKind;
  precision: Precision;
  channels: readonly number[];
  /** Low and high intensity of the model's normalization. */
  scaling: { low: number; high: number };
  shardBlock: readonly number[];
  chunk: readonly number[];
  /** Share of the region in the tissue mask; undefined without a mask. */
  tissueFraction: number | undefined;
  /** What was left out as background, and why; undefined with `--mask` or `--no-tissue-mask`. */
  tissue?: TissueFinding;
  /** Distance of the image from the training images, if the package describes them. */
  domain?: DomainFinding;
  /** Picture of the region, if one was needed or requested. */
  thumbnail: Raster<Uint8Array> | undefined;
}

/** Values of the axes that a model sees: without the slice axis. */
export function planeAxes<T>(values: readonly T[], slices: JobPlan["slices"]): T[] {
  return values.filter((_, axis) => axis !== slices?.axis);
}
