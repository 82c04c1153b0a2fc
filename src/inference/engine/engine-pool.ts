import type { Raster, SampleArray } from "../../tiling/grid/raster.ts";
import type { IntensityNormalization } from "../../tiling/pixels/normalize.ts";
import type { MaskRecord, Precision } from "../../tiling/wire/mask-record.ts";
import type { EncodedWindows, SegmentBatchOptions, Segmenter, SegmenterInfo } from "../segmenter.ts";
import { decodeWindows, segmentEach } from "./engine-segmenter.ts";

/** One window, `[...window, C]`, as workers take it. */
export interface WindowRequest {
  pixels: SampleArray;
  channels: number;
  scaling: IntensityNormalization;
  precision: Precision;
}

export interface WindowResult {
  data: MaskRecord["data"];
  labels?: Uint8Array;
  /** Inside the network. */
  milliseconds: number;
}

/** A worker thread of Node or of a browser with the network in a memory of its own. Windows queue up there. */
export interface EngineWorker {
  /** Windows that have no answer yet. */
  readonly queued: number;
  /** The buffer of `pixels` moves to the worker. */
  run(request: WindowRequest, signal?: AbortSignal): Promise<WindowResult>;
  close(): void | Promise<void>;
}

/** The least busy of workers. */
export function idlest<T extends { readonly queued: number }>(workers: readonly T[]): T {
  return workers.reduce((least, worker) => (worker.queued < least.queued ? worker : least));
}

/** Tilewright's engine in several workers, one window each at a time. */
export class EnginePool implements Segmenter {
  readonly info: SegmenterInfo;
  runMilliseconds = 0;
  readonly #workers: readonly EngineWorker[];

  constructor(workers: readonly EngineWorker[], info: SegmenterInfo) {
    this.#workers = workers;
    this.info = info;
  }

  async segment(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<Raster<Float32Array>> {
    const precision = options.precision === "u8" ? "u8" : "f32";
    return decodeWindows(await this.segmentEncoded(batch, { ...options, precision }), precision);
  }

  segmentEncoded(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<EncodedWindows> {
    return segmentEach(
      this.info,
      batch,
      options,
      async (window, channels, { scaling, precision = "f32", signal }) => {
        // A copy, because its buffer moves.
        const pixels = window.slice() as SampleArray;
        const request = { pixels, channels, scaling, precision };
        const { data, labels, milliseconds } = await idlest(this.#workers).run(request, signal);
        this.runMilliseconds += milliseconds;
        return { data, labels };
      },
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }
}
