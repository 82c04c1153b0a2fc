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
  "objects.parquet",
  "measurements.csv",
  "overlay.png",
  "overlay-detail.png",
] as const;

export type LabelOutputName = (typeof LABEL_OUTPUTS)[number];
/** What a run can write beside `run.json`. */
export type OutputName = (typeof OUTPUTS)[number];

/** Outputs of a volume: no objects; its picture shows some slices. */
export const VOLUME_OUTPUTS: readonly OutputName[] = [
  "labels.ome.zarr",
  "labels.nii.gz",
  "labels.seg.dcm",
  "measurements.csv",
  "overlay.png",
];
/** Outputs of a 2-D image; `labels.seg.dcm` of a DICOM slide only. */
export const PLANE_OUTPUTS: readonly OutputName[] = OUTPUTS.filter((name) => name !== "labels.nii.gz");

/** Encoding of a DICOM segmentation (PS3.3 section C.8.20.2). */
export const SEGMENTATION_TYPES = ["binary", "fractional", "labelmap"] as const;
export type SegmentationType = (typeof SEGMENTATION_TYPES)[number];

/** What `labels.seg.dcm` contains besides labels. */
export interface Segmentation {
  type: SegmentationType;
  /** Hex digits that identify labels, settings and model; UIDs are derived from them. */
  seed: string;
  /** Version of Tilewright. */
  software: string;
  /** Name and version of the model. */
  algorithm: { name: string; version: string };
  /** Level of the source that was segmented. */
  level: number;
  /**
   * Classes except background in each slice of a volume, ascending; for a 2-D map in each tile, in raster order.
   * Tiles have the size `segmentationFrameSize`.
   */
  present: readonly (readonly number[])[];
}

/** What label files that return to the source's grid are made from. */
export interface LabelOrigin {
  source: Pick<ImageSource, "affine" | "headers">;
  /** Only `labels.seg.dcm` needs it. */
  segmentation?: Segmentation;
}

/** Where outputs go and in which formats: a directory, a bucket. */
export interface OutputTargets {
  /** `labels.nii.gz` requires tiles in the order of z, `labels.seg.dcm` in raster order. */
  labels(name: LabelOutputName, info: LabelMapInfo, origin: LabelOrigin): Promise<LabelSink>;
  file(name: OutputName): Promise<ByteSink>;
  /** Writes an RGB picture `[height, width, 3]`. */
  picture(name: OutputName, picture: Raster<Uint8Array>): Promise<WrittenOutput>;
}
