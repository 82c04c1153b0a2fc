export type { SegmentOptions } from "./local/options.ts";
export type { ProgressEvent, ProgressListener } from "./local/progress.ts";
export { segment } from "./local/segment.ts";
export type { RunManifest } from "./orchestrator/manifest/run-manifest.ts";
export type { JobSettings } from "./orchestrator/settings.ts";
