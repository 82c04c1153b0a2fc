import type { Raster } from "../tiling/raster.ts";

export interface LabelChunk {
  /** Chunk index per spatial axis, slow to fast. */
  index: readonly number[];
  /** Samples; edge chunks are cut at the border of the label map. */
  raster: Raster<Uint8Array | Uint32Array>;
}

/** Everything a label writer must know before the first chunk. */
export interface LabelMapInfo {
  /** Level-0-of-output shape, slow to fast. */
  shape: readonly number[];
  chunk: readonly number[];
  dtype: "uint8" | "uint32";
  axes: "yx" | "zyx";
  /** Sample distance per axis of the label map, when known. */
  spacing: { values: readonly number[]; unit: "micrometer" | "millimeter" } | undefined;
  /** Where the label map lies in the source, in level-0 samples, and how many of those one label sample spans. */
  placement: { origin: readonly number[]; downsample: readonly number[] };
  classes: readonly { name: string; color: string }[];
  name: string;
}

/** Takes each chunk of the base level at most once, in any order; absent chunks are background (0). */
export interface LabelSink {
  writeChunk(chunk: LabelChunk): Promise<void>;
  /** Builds the pyramid and gives the output its final name. Nothing has the final name before. */
  finalize(): Promise<void>;
  /** Removes what was half-written. */
  abort(): Promise<void>;
}
