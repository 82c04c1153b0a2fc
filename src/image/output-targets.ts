import type { Raster } from "../tiling/grid/raster.ts";
import type { ByteSink } from "./byte-sink.ts";
import type { ImageSource } from "./image-source.ts";
import type { LabelMapInfo, LabelSink, WrittenOutput } from "./label-sink.ts";

export const LABEL_OUTPUTS = [
  "labels.ome.zarr",
  "labels.ome.tiff",
  "labels.nii.gz",
  "labels.seg.dcm",
  "instances.ome.zarr",
  "instances.ome.tiff",
] as const;
export const OUTPUTS = [
  ...LABEL_OUTPUTS,
  "objects.geojson",
  "measurements.csv",
  "overlay.png",
  "overlay-detail.png",
] as const;

export type LabelOutputName = (typeof LABEL_OUTPUTS)[number];
/** What a run can write beside `run.json`. */
export type OutputName = (typeof OUTPUTS)[number];

/** Of a volume: no objects are found in it; its picture is of some slices. */
export const VOLUME_OUTPUTS: readonly OutputName[] = [
  "labels.ome.zarr",
  "labels.nii.gz",
  "labels.seg.dcm",
  "measurements.csv",
  "overlay.png",
];
/** Of a 2-D image; `labels.seg.dcm` of a DICOM slide only. */
export const PLANE_OUTPUTS: readonly OutputName[] = OUTPUTS.filter((name) => name !== "labels.nii.gz");

/** How a DICOM segmentation holds labels (PS3.3 section C.8.20.2). */
export const SEGMENTATION_TYPES = ["binary", "fractional", "labelmap"] as const;
export type SegmentationType = (typeof SEGMENTATION_TYPES)[number];

/** What `labels.seg.dcm` holds beside labels. */
export interface Segmentation {
  type: SegmentationType;
  /** Hex digits: the same labels, settings and model have the same, and UIDs are made from them. */
  seed: string;
  /** Version of Tilewright. */
  software: string;
  /** Name and version of the model. */
  algorithm: { name: string; version: string };
  /** Of the source, that was segmented. */
  level: number;
  /**
   * Classes but background that each slice of a volume holds, ascending; or each tile of a 2-D map, in raster order, its
   * tiles being those of `segmentationFrameSize`.
   */
  present: readonly (readonly number[])[];
}

/** What files that return to where the source came from are made from. */
export interface LabelOrigin {
  source: Pick<ImageSource, "affine" | "headers">;
  /** For `labels.seg.dcm`. */
  segmentation?: Segmentation;
}

/** Where outputs go and in which file formats: a directory, a bucket. */
export interface OutputTargets {
  /** `labels.nii.gz` takes tiles in the order of z, `labels.seg.dcm` in raster order. */
  labels(name: LabelOutputName, info: LabelMapInfo, origin: LabelOrigin): Promise<LabelSink>;
  file(name: OutputName): Promise<ByteSink>;
  /** Writes an RGB picture `[height, width, 3]`. */
  picture(name: OutputName, picture: Raster<Uint8Array>): Promise<WrittenOutput>;
}
