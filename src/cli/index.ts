export type { RunManifest } from "../orchestrator/run-manifest.ts";
export type { JobSettings } from "../orchestrator/settings.ts";
export {
  type CohortOptions,
  type CohortProgress,
  type CohortResult,
} from "./cohort/run-cohort.ts";
export type { ProgressEvent, ProgressListener } from "./progress.ts";
export { type SegmentOptions, segment } from "./segment.ts";
