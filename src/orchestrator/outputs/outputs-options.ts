import type { LabelStore, WrittenOutput } from "../../image/label-sink.ts";
import type { LabelOrigin, OutputName, OutputTargets } from "../../image/output-targets.ts";
import type { Raster } from "../../tiling/grid/raster.ts";
import type { LabelRect } from "./detail.ts";
import type { ObjectsRule } from "./object-kinds.ts";
import type { OverlayStyle } from "./overlay.ts";
import type { SlideSummary } from "./slide-summary.ts";
import type { VolumeSummary } from "./volume-summary.ts";

export interface WriteOutputsOptions {
  /** Holds every chunk of the finished label map; absent ones are background. */
  labelStore: LabelStore;
  outputs: readonly OutputName[];
  targets: OutputTargets;
  /** What files that return to where the source came from are made from. */
  origin: LabelOrigin;
  /** `objects` of the model package, sizes in label samples; without it each region of a class is an object. */
  objects: ObjectsRule | undefined;
  /** Names the slide in `measurements.csv`. */
  source: string;
  /** Hex digits (18 or more) that differ between jobs: object ids are made from them. */
  idSeed: string;
  /** Label samples that were segmented: the denominator of fractions and densities. */
  analysedPixels: number;
  /** Picture of the label map's field `[height, width, channels]`, for `overlay.png`. */
  thumbnail?: Raster<Uint8Array>;
  /** Source pixels of a rect of the label map, at its resolution, for `overlay-detail.png`. */
  readDetail?: (rect: LabelRect) => Promise<Raster<Uint8Array>>;
  /** How pictures show objects; default outline. */
  overlayStyle?: OverlayStyle;
  /** Written below pictures, for nobody to miss. */
  warnings?: readonly string[];
  /** Source samples of a slice of a volume `[height, width]`, brought to bytes, for its `overlay.png`. */
  readSlice?: (z: number) => Promise<Raster<Uint8Array>>;
  /** Lets outlines in `objects.geojson` stray by this many label samples, for smaller files. Default 0: exact. */
  simplifyTolerance?: number;
  /** Rows of chunks that are larger wait packed; default 8 MiB. */
  wideRowBytes?: number;
  signal?: AbortSignal;
  /** Rows of the label map that were gone through, of those to go through. */
  onProgress?: (rowsDone: number, rowsTotal: number) => void;
}

export interface OutputsReport {
  /** In the order of `outputs`; without a detail that would be the overlay once more. */
  outputs: WrittenOutput[];
  summary: SlideSummary | VolumeSummary;
}

/** Pictures by the names of their outputs. */
export type Pictures = [OutputName, Raster<Uint8Array>][];
