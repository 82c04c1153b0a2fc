import type { Raster, SampleArray } from "../tiling/grid/raster.ts";
import type { IntensityNormalization } from "../tiling/pixels/normalize.ts";
import type { MaskRecord, Precision } from "../tiling/wire/mask-record.ts";

export interface SegmenterInfo {
  model: string;
  variant: string;
  /** What runs it, e.g. "onnxruntime-node 1.30.0 cpu". */
  runtime: string;
  threads: number;
  classes: number;
  window: readonly number[];
  channels: number;
}

export interface SegmentBatchOptions {
  /** Intensities of the image the windows come from. */
  scaling: IntensityNormalization;
  /**
   * What the caller will round the probabilities to, so that no more need travel: what comes back then rounds to the
   * same as the exact value would. Default f32.
   */
  precision?: Precision;
  /** With `segmentEncoded`: name the classes too, where that costs the caller nothing. */
  labels?: boolean;
  signal?: AbortSignal;
}

/** Class probabilities of windows in the precision that was asked for, as mask records hold them. */
export interface EncodedWindows {
  /** Of one window, `[K, ...window]`. */
  shape: readonly number[];
  /** One a window, in the order of the batch; they may share memory. */
  data: readonly MaskRecord["data"][];
  /**
   * As `MaskRecord.labels`, one a window: only from a runtime of this very process, which has then checked that the bytes are
   * what the activation gives.
   */
  labels?: readonly Uint8Array[];
}

/** Something that segments windows: a runtime on this machine or a service elsewhere. */
export interface Segmenter {
  readonly info: SegmenterInfo;
  /** Time inside the model so far, added up over its sessions, where it runs here. */
  readonly runMilliseconds?: number;
  /** What was sent and received so far, where it runs elsewhere. */
  readonly traffic?: { bytesSent: number; bytesReceived: number };
  /** Pixels `[N, ...window, C]` → class probabilities `[N, K, ...window]`. */
  segment(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<Raster<Float32Array>>;
  /**
   * As `segment`, encoded in `options.precision`: there where it is what the backend has anyway, so that nobody takes bytes
   * to floats and back.
   */
  segmentEncoded?(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<EncodedWindows>;
  close(): Promise<void>;
}
