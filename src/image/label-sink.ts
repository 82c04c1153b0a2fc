import type { Raster } from "../tiling/grid/raster.ts";

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
  /** Placement of the label map in the source: origin in samples of level 0, and how many of those a label spans. */
  placement: { origin: readonly number[]; downsample: readonly number[] };
  /** `classes[i]` names class index `i` (0 is background); empty for maps of object numbers. Colours `#rrggbb`. */
  classes: readonly { name: string; color: string }[];
  name: string;
}

/**
 * One whole chunk of a level: `product(chunk)` samples, 0 beyond the border of the level. `deflated` is its raw
 * DEFLATE stream (RFC 1951) of little-endian bytes and `crc32` their checksum. The first writer fills them in, so
 * that a tile in two formats is compressed once.
 */
export interface LabelTile {
  data: Uint8Array | Uint32Array;
  deflated?: Uint8Array;
  crc32?: number;
}

/** What a writer left under its final name. `sha256` is hex; for a directory see `docs/format.md`. */
export interface WrittenOutput {
  name: string;
  byteLength: number;
  sha256: string;
}

/**
 * Receives the tiles of every level of a label pyramid, each at most once. Tiles that never arrive are background
 * (0). Calls of `writeTile` may overlap; their order determines the layout of the file.
 */
export interface LabelSink {
  writeTile(level: number, index: readonly number[], tile: LabelTile): Promise<void>;
  /** Completes the output and gives it its final name. Before that nothing has the final name. */
  finalize(): Promise<WrittenOutput>;
  /** Removes the incomplete output. */
  abort(): Promise<void>;
}

/**
 * Holds the merged chunks of a label map until all are complete. A chunk is present or absent, never incomplete, so
 * the present ones tell a resumed run what is done.
 */
export interface LabelStore {
  readonly info: LabelMapInfo;
  has(index: readonly number[]): boolean;
  /**
   * Writes one chunk of level 0, whole or cut at the border, and takes ownership of its samples. Writing the same
   * chunk twice changes nothing. @returns what `readTile` would
   */
  writeChunk(chunk: LabelChunk, options?: { signal?: AbortSignal }): Promise<LabelTile | undefined>;
  /** @returns undefined for a chunk that is absent or all background */
  readTile(index: readonly number[], options?: { signal?: AbortSignal }): Promise<LabelTile | undefined>;
}
