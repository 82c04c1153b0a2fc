import type { Precision } from "../tiling/mask-record.ts";
import type { WindowPolicy } from "../tiling/window-grid.ts";

/** What a user may choose of a job. Everything here decides the result and is part of the job's identity. */
export interface JobSettings {
  /** Level to segment; default the coarsest that is not coarser than the model's spacing. */
  level?: number;
  /** x, y, width, height in level-0 samples. */
  roi?: readonly [number, number, number, number];
  overlapRatio?: number;
  policy?: WindowPolicy;
  importance?: "gaussian" | "constant";
  precision?: Precision;
  /** Default true: windows without tissue are left out. */
  tissueMask?: boolean;
  /** Channels of the source that feed the model, in its order. */
  channels?: readonly number[];
}
