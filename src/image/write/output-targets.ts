import type { Raster } from "../../tiling/raster.ts";
import type { LabelMapInfo, LabelSink, WrittenOutput } from "../label-sink.ts";
import type { ByteSink } from "./byte-sink.ts";

export const LABEL_OUTPUTS = [
  "labels.ome.zarr",
  "labels.ome.tiff",
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

/** Where outputs go and in which file formats: a directory, later a bucket. */
export interface OutputTargets {
  labels(name: LabelOutputName, info: LabelMapInfo): Promise<LabelSink>;
  file(name: OutputName): Promise<ByteSink>;
  /** Writes an RGB picture `[height, width, 3]`. */
  picture(name: OutputName, picture: Raster<Uint8Array>): Promise<WrittenOutput>;
}
