import type { ImageReport } from "../../../src/image/describe.ts";
import type { SampleArray } from "../../../src/tiling/grid/raster.ts";
import type { PlacedKey } from "./place.ts";

/** Stored samples that become 0 and 1 in tiles. */
export interface SampleRange {
  low: number;
  high: number;
}

export type ImageRequest =
  | { id: number; kind: "open"; address: PlacedKey }
  | {
      id: number;
      kind: "read";
      level: number;
      /** Spatial, slow to fast. */
      origin: readonly number[];
      size: readonly number[];
      /**
       * `bytes`: one channel as stored, for labels. `planes`: channel by channel, scaled by `range` unless bytes.
       * `samples`: as stored, channels last.
       */
      form: "bytes" | "planes" | "samples";
      range?: SampleRange;
      maxChannels?: number;
    }
  | { id: number; kind: "cancel" }
  /** An image follows: loads the decoder that most slides need. */
  | { kind: "prepare" };

export interface OpenedImage {
  report: ImageReport;
  /** Samples that tiles are scaled by; for bytes 0 to 255. */
  range: SampleRange;
  /** Suggested contrast of each channel, in stored samples. */
  contrast: readonly SampleRange[];
}

export interface ReadSamples {
  /** Spatial, slow to fast. */
  shape: readonly number[];
  channels: number;
  data: Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;
}

/** Answer to a read of the form `samples`. */
export interface RawSamples {
  shape: readonly number[];
  channels: number;
  data: SampleArray;
}

export type ImageResponse =
  | { id: number; ok: true; value: OpenedImage | ReadSamples | RawSamples }
  | { id: number; ok: false; message: string; isAbort: boolean };
