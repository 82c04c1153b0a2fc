import type { LabelStore, WrittenOutput } from "../../image/label-sink.ts";
import type { LabelOrigin, OutputName, OutputTargets } from "../../image/output-targets.ts";
import type { Raster } from "../../tiling/grid/raster.ts";
import type { LabelRect } from "./detail.ts";
import type { MeasuredObject } from "./measured-object.ts";
import type { ModelObjectRule } from "./object-kinds.ts";
import type { OverlayStyle } from "./overlay.ts";
import type { Placement } from "./placement.ts";
import type { SlideSummary } from "./slide-summary.ts";
import type { VolumeSummary } from "./volume-summary.ts";

export interface WriteOutputsOptions {
  /** Holds every chunk of the finished label map; absent ones are background. */
  labelStore: LabelStore;
  outputs: readonly OutputName[];
  targets: OutputTargets;
  /** The source of NIfTI and DICOM outputs. */
  origin: LabelOrigin;
  /** `objects` of the model package, sizes in label samples; if undefined, each region of a class is an object. */
  objects: ModelObjectRule | undefined;
  /** Names the slide in `measurements.csv`. */
  source: string;
  /** Seed of object ids, different for each job: 18 hex digits or more. */
  idSeed: string;
  /** Label samples that were segmented: the denominator of fractions and densities. */
  analysedPixels: number;
  /** Picture of the area of the label map `[height, width, channels]`, for `overlay.png`. */
  thumbnail?: Raster<Uint8Array>;
  /** Source pixels of a rect of the label map, at its resolution, for `overlay-detail.png`. */
  readDetail?: (rect: LabelRect) => Promise<Raster<Uint8Array>>;
  /** How pictures show objects; default outline. */
  overlayStyle?: OverlayStyle;
  /** Written below pictures. */
  warnings?: readonly string[];
  /** Source samples of a slice of a volume `[height, width]`, scaled to bytes, for `overlay.png`. */
  readSlice?: (z: number) => Promise<Raster<Uint8Array>>;
  /** Maximum deviation of outlines in `objects.geojson`, in label samples. Default 0: exact. */
  simplifyTolerance?: number;
  /** Rows of chunks larger than this are held packed; default 8 MiB. */
  wideRowBytes?: number;
  /** Called for each object of a 2-D label map, in their order. */
  onObject?: ObjectListener;
  signal?: AbortSignal;
  /** Called with the rows of the label map done so far, and all of them. */
  onProgress?: (rowsDone: number, rowsTotal: number) => void;
}

/** Receives an object, whose coordinates are in label samples, and where these lie in the source. */
export type ObjectListener = (object: MeasuredObject, placement: Placement) => void;

export interface OutputsReport {
  /** In the order of `outputs`, without a detail picture that would equal the overlay. */
  outputs: WrittenOutput[];
  summary: SlideSummary | VolumeSummary;
}

/** Pictures with the names of their outputs. */
export type Pictures = [OutputName, Raster<Uint8Array>][];
