export type { RunManifest } from "../orchestrator/run-manifest.ts";
export type { JobSettings } from "../orchestrator/settings.ts";
export type { ProgressEvent, ProgressListener } from "./progress.ts";
export { type SegmentOptions, segment } from "./segment.ts";
