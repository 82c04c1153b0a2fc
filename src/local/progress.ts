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
      /** How many times coarser than the model's pixels are; 1 where they are fed as they are. */
      magnification: number;
      tissueFraction?: number;
      tissue?: TissueFinding;
      warnings: readonly string[];
      /** Of a volume. */
      orientation?: PlannedOrientation;
    }
  | {
      type: "progress";
      windowsDone: number;
      windowsTotal: number;
      windowsPerSecond: number;
      secondsLeft: number;
    }
  /** A backend takes no part, or no more. */
  | { type: "backend"; backend: string; reason: string };

export type ProgressListener = (event: ProgressEvent) => void;
