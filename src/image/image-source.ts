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

export interface Spacing {
  /** Distance between samples of level 0 per spatial axis, slow to fast. */
  values: readonly number[];
  unit: "micrometer" | "millimeter";
}

/** A stored DICOM image. Its UIDs are for files that refer to it, and never for a message. */
export interface FrameReference {
  sopClass: string;
  sopInstance: string;
  /** Which of its frames, from 0, where it has several and one of them is meant. */
  frame?: number;
}

/** Headers as they are stored, for a writer that returns to the grid they describe. */
export interface StoredHeaders {
  format: "nifti" | "dicom";
  /** One of a NIfTI file or a slide's level; one a slice of a DICOM series, in the order of z. */
  count: number;
  /**
   * NIfTI: the 348 or 540 bytes. DICOM: the file up to its pixel data. Holds what identifies a patient: for files that
   * go back to where the source came from, and never for a log or a message.
   */
  read(index: number, options?: { signal?: AbortSignal }): Promise<Uint8Array>;
  /** DICOM: what holds each slice of a series, in the order of z, or each level of a slide. */
  references?: readonly FrameReference[];
}

/**
 * An opened image. Reads only the bytes it needs, never label, macro or thumbnail pages, and fails with
 * `ObjectChangedError` when the object is replaced under it.
 */
export interface ImageSource {
  /** Human name of the format, e.g. "Aperio SVS (JPEG)". */
  readonly format: string;
  /** Spatial axes slow to fast. */
  readonly axes: "yx" | "zyx";
  readonly dtype: DType;
  /** Level 0 is full resolution. */
  readonly levels: readonly Level[];
  readonly channels: readonly Channel[];
  /** Undefined when the file does not state it: never guessed. */
  readonly spacing: Spacing | undefined;
  readonly objectivePower: number | undefined;
  /** Where level 0 lies in the patient, for volumes that state it. */
  readonly affine?: Affine;
  /**
   * Where x, y and z lead in the patient, for instance "LPS". Undefined where the file does not state it: an affine made of
   * sizes alone states none.
   */
  readonly orientation?: string;
  /** What else the format tells, for `inspect`: modality, transfer syntax. Never an attribute of a patient. */
  readonly details?: Readonly<Record<string, string>>;
  /** What a person should know before using it, a sentence each: a turn that is asked for, pages that are missing. */
  readonly warnings?: readonly string[];
  readonly headers?: StoredHeaders;
  /** The part of level 0 that was scanned, when the file tells. */
  readonly bounds: Rect | undefined;
  readonly etag: string;
  /** Stored bytes; 0 where nobody counts them (OME-Zarr, a directory of chunks). */
  readonly byteLength: number;
  /** Bytes read from storage so far. */
  readonly bytesRead: number;
  /** `rect` must lie inside the level. Returns `[...rect.size, channels]`. Channels of a single z for 2-D. The caller's own. */
  readRegion(level: number, rect: Rect, options?: { signal?: AbortSignal }): Promise<Raster>;
  close(): Promise<void>;
}

/** What the pages of a TIFF stack are, where the file does not say: one more channel each, or one more depth. */
export const PAGES_AS = ["channels", "z"] as const;
export type PagesAs = (typeof PAGES_AS)[number];
