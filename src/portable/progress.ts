import type { PlannedOrientation } from "../orchestrator/job-plan.ts";
import type { TissueFinding } from "../tiling/pixels/tissue-mask.ts";

export type ProgressEvent =
  | { type: "stage"; stage: "opening" | "planning" | "segmenting" | "writing outputs" | "done" }
  | {
      type: "plan";
      windows: number;
      windowsToDo: number;
      level: number;
      mpp: number;
      /** Pixel size relative to the model's; 1 without resampling. */
      magnification: number;
      tissueFraction?: number;
      tissue?: TissueFinding;
      warnings: readonly string[];
      /** For volumes. */
      orientation?: PlannedOrientation;
    }
  | {
      type: "progress";
      windowsDone: number;
      windowsTotal: number;
      windowsPerSecond: number;
      secondsLeft: number;
    }
  /** A backend is left out or disabled. */
  | { type: "backend"; backend: string; reason: string };

export type ProgressListener = (event: ProgressEvent) => void;
