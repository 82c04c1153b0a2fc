import type { Raster, SampleArray } from "../tiling/grid/raster.ts";
import type { IntensityNormalization } from "../tiling/pixels/normalize.ts";
import type { MaskRecord, Precision } from "../tiling/wire/mask-record.ts";

export interface SegmenterInfo {
  model: string;
  variant: string;
  /** Runtime, e.g. "onnxruntime-node 1.30.0 cpu". */
  runtime: string;
  threads: number;
  classes: number;
  window: readonly number[];
  channels: number;
}

export interface SegmentBatchOptions {
  /** Normalization with the intensities of the source image. */
  scaling: IntensityNormalization;
  /**
   * Precision that the caller rounds to, so that no more is transferred: the returned values round to the same as the
   * exact ones. Default f32.
   */
  precision?: Precision;
  /** With `segmentEncoded`: return labels too, if the segmenter computes them anyway. */
  labels?: boolean;
  signal?: AbortSignal;
}

/** Class probabilities of windows in the requested precision, as mask records hold them. */
export interface EncodedWindows {
  /** Shape of one window, `[K, ...window]`. */
  shape: readonly number[];
  /** One array a window, in the order of the batch; they may share memory. */
  data: readonly MaskRecord["data"][];
  /**
   * As `MaskRecord.labels`, one a window. Only runtimes of this process return them, after validating the bytes.
   */
  labels?: readonly Uint8Array[];
}

/** Segments windows: a runtime on this machine or a remote service. */
export interface Segmenter {
  readonly info: SegmenterInfo;
  /** Time inside the model so far, summed over sessions; only for runtimes of this process. */
  readonly runMilliseconds?: number;
  /** Bytes sent and received so far; only for remote services. */
  readonly traffic?: { bytesSent: number; bytesReceived: number };
  /** Pixels `[N, ...window, C]` → class probabilities `[N, K, ...window]`. */
  segment(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<Raster<Float32Array>>;
  /**
   * As `segment`, encoded in `options.precision`. Implemented by segmenters whose results are encoded anyway, to avoid a
   * conversion to floats and back.
   */
  segmentEncoded?(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<EncodedWindows>;
  close(): Promise<void>;
}
