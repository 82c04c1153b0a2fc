import type { Raster, Rect } from "../tiling/grid/raster.ts";
import type { Reorientation } from "../tiling/grid/reorientation.ts";
import type { WindowGrid } from "../tiling/grid/window-grid.ts";
import type { WindowSet } from "../tiling/grid/window-set.ts";
import type { ImportanceKind } from "../tiling/merge/importance-map.ts";
import type { TissueFinding } from "../tiling/pixels/tissue-mask.ts";
import type { Precision } from "../tiling/wire/mask-record.ts";
import type { DomainFinding } from "./domain-finding.ts";

/** How a volume lies in the patient, and how the model wants it. Codes say where x, y and z lead, as in "LPS". */
export interface PlannedOrientation {
  source: string;
  model: string;
  /** The user said so, and not the file. */
  given: boolean;
  /** Angle between the volume's axes and the patient's, where the file states it. */
  obliqueDegrees?: number;
}

export interface Orientation {
  /** Of stored axes to the model's; undefined where nothing is turned. */
  reorientation?: Reorientation;
  orientation?: PlannedOrientation;
}

/**
 * Everything that decides the result, as plain data: a function of image, model and settings only. Of a volume all axes are
 * in the model's orientation.
 */
export interface JobPlan extends Orientation {
  level: number;
  /** Micrometres per sample of the level, slow to fast. */
  mpp: readonly number[];
  levelShape: readonly number[];
  /** Of the level, relative to level 0, per axis. */
  downsample: readonly number[];
  /** What is segmented, in samples of the level: around a region that was asked for, all that its windows see. */
  region: Rect;
  /** The same in level-0 samples. */
  region0: Rect;
  /** What is written, where that is less. */
  output?: { region: Rect; region0: Rect };
  /** The grid over the region; its window is in samples of the level. */
  grid: WindowGrid;
  kept: WindowSet;
  /** Window of the model; where it differs from the grid's, windows are resampled there and back. */
  modelWindow: readonly number[];
  /**
   * A 2-D network over a volume: the grid's windows are one sample thick along `axis`, and the network sees as channels
   * the slice and `context` neighbours before and after it.
   */
  slices?: { axis: number; context: number };
  importance: ImportanceKind;
  precision: Precision;
  channels: readonly number[];
  /** Intensities that the model's normalisation starts from. */
  scaling: { low: number; high: number };
  shardBlock: readonly number[];
  chunk: readonly number[];
  /** Share of the region taken for tissue; undefined when no mask was asked for. */
  tissueFraction: number | undefined;
  /** What was left out as background, and why; undefined where a person gave the mask or wanted none. */
  tissue?: TissueFinding;
  /** How far the image is from what the model was trained on, where its package says. */
  domain?: DomainFinding;
  /** Of the region, where it was needed or asked for. */
  thumbnail: Raster<Uint8Array> | undefined;
}

/** The sizes of the axes that a model sees. */
export function planeAxes<T>(values: readonly T[], slices: JobPlan["slices"]): T[] {
  return values.filter((_, axis) => axis !== slices?.axis);
}
