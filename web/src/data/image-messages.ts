import type { ImageReport } from "../../../src/image/describe.ts";
import type { LocalFile } from "./file-store.ts";
import type { StoreAddress } from "./page-store.ts";

/** An image that a worker opens: objects of a server, or files of this machine. */
export interface ImageAddress {
  key: string;
  place: { kind: "server"; store: StoreAddress } | { kind: "files"; files: readonly LocalFile[] };
}

/** Stored samples that become 0 and 1 in tiles. */
export interface SampleRange {
  low: number;
  high: number;
}

export type ImageRequest =
  | { id: number; kind: "open"; address: ImageAddress }
  | {
      id: number;
      kind: "read";
      level: number;
      /** Spatial, slow to fast. */
      origin: readonly number[];
      size: readonly number[];
      /** `bytes`: one channel as stored, for labels. `planes`: channel by channel, scaled by `range` unless bytes. */
      form: "bytes" | "planes";
      range?: SampleRange;
      maxChannels?: number;
    }
  | { id: number; kind: "cancel" };

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

export type ImageResponse =
  | { id: number; ok: true; value: OpenedImage | ReadSamples }
  | { id: number; ok: false; message: string; isAbort: boolean };
