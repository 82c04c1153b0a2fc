import type { JobSettings } from "../../../src/orchestrator/settings.ts";
import type { ProgressEvent } from "../../../src/portable/progress.ts";
import type { LocalFile } from "./file-store.ts";
import type { PlacedKey } from "./place.ts";

/** A run in this tab. */
export interface SegmentRequest {
  image: PlacedKey;
  /** The model package: `key` is its directory. */
  model: PlacedKey;
  variant: string;
  /** Micrometres per pixel, if the file does not state them or is wrong. */
  mpp?: number;
  settings?: JobSettings;
  /** Workers that run the model. */
  threads: number;
  /** An empty folder that results are written to; without it they stay in memory. */
  folder?: FileSystemDirectoryHandle;
}

export type SegmentEvent =
  | { kind: "progress"; event: ProgressEvent }
  | { kind: "done"; files: readonly LocalFile[] }
  | { kind: "failed"; message: string };
