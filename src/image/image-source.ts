import type { DType, Raster, Rect } from "../tiling/grid/raster.ts";
import type { Affine } from "./affine.ts";

export interface Level {
  /** Spatial shape in samples, slow to fast. */
  shape: readonly number[];
  /** Factor relative to level 0 per spatial axis, slow to fast. */
  downsample: readonly number[];
  /** Native storage unit (tile or chunk), slow to fast: regions aligned to it are cheapest to read. */
  chunk: readonly number[];
}

export interface Channel {
  name?: string;
  /** `#rrggbb`, as the file states it. */
  color?: string;
}

/** Channels of a colour image; they mean the same in every format. */
export const RGB_CHANNELS: readonly Channel[] = [
  { name: "red", color: "#ff0000" },
  { name: "green", color: "#00ff00" },
  { name: "blue", color: "#0000ff" },
];

export interface Spacing {
  /** Distance between samples of level 0 per spatial axis, slow to fast. */
  values: readonly number[];
  unit: "micrometer" | "millimeter";
}

/** A stored DICOM image. Its UIDs are for files that refer to it, never for messages. */
export interface FrameReference {
  sopClass: string;
  sopInstance: string;
  /** Frame number from 0, if one frame of several is meant. */
  frame?: number;
}

/** Stored headers, for writers that return to the grid they describe. */
export interface StoredHeaders {
  format: "nifti" | "dicom";
  /** One for a NIfTI file or a level of a slide; one per slice of a DICOM series, in the order of z. */
  count: number;
  /**
   * NIfTI: the 348 or 540 bytes. DICOM: the file up to its pixel data. Identifies the patient: only for files that go
   * back to where the source came from, never for logs or messages.
   */
  read(index: number, options?: { signal?: AbortSignal }): Promise<Uint8Array>;
  /** DICOM: the image of each slice of a series, in the order of z, or of each level of a slide. */
  references?: readonly FrameReference[];
}

/**
 * An opened image. Reads only the bytes it needs, never label, macro or thumbnail pages, and fails with
 * `ObjectChangedError` when the object is replaced under it.
 */
export interface ImageSource {
  /** Name of the format for people, such as "Aperio SVS (JPEG)". */
  readonly format: string;
  /** Spatial axes slow to fast. */
  readonly axes: "yx" | "zyx";
  readonly dtype: DType;
  /** Level 0 is full resolution. */
  readonly levels: readonly Level[];
  readonly channels: readonly Channel[];
  /** Undefined when the file does not state it; never guessed. */
  readonly spacing: Spacing | undefined;
  readonly objectivePower: number | undefined;
  /** Position of level 0 in the patient, for volumes that state it. */
  readonly affine?: Affine;
  /**
   * Directions of x, y and z in the patient, such as "LPS". Undefined when the file does not state them; an affine
   * made of sizes alone states none.
   */
  readonly orientation?: string;
  /** Other properties of the format, for `inspect`: modality, transfer syntax. Never an attribute of the patient. */
  readonly details?: Readonly<Record<string, string>>;
  /** Warnings for the user, a sentence each: a rotation that viewers should apply, missing pages. */
  readonly warnings?: readonly string[];
  readonly headers?: StoredHeaders;
  /** The scanned part of level 0, if the file states it. */
  readonly bounds: Rect | undefined;
  readonly etag: string;
  /** Stored bytes; 0 when unknown (OME-Zarr, a directory of chunks). */
  readonly byteLength: number;
  /** Bytes read from storage so far. */
  readonly bytesRead: number;
  /**
   * `rect` must lie inside the level. Returns `[...rect.size, channels]`. Channels of a single z for 2-D. The
   * caller's own.
   */
  readRegion(level: number, rect: Rect, options?: { signal?: AbortSignal }): Promise<Raster>;
  close(): Promise<void>;
}

/** Meaning of the pages of a TIFF stack when the file does not state it: a channel each, or a depth each. */
export const PAGES_AS = ["channels", "z"] as const;
export type PagesAs = (typeof PAGES_AS)[number];
