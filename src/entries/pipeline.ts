/** `tilewright/pipeline`: the steps of a run over ports, for those who bring their own stores, backends or schedule. */
export type { LabelChunk, LabelMapInfo, LabelSink, LabelStore, LabelTile } from "../image/label-sink.ts";
export type { OutputName, OutputTargets } from "../image/output-targets.ts";
export { loadPackage, type ModelPackage } from "../model-package/load-package.ts";
export type { ModelManifest } from "../model-package/manifest.ts";
export { readShard, sliceBatch } from "../orchestrator/input/read-shard.ts";
export type { JobPlan } from "../orchestrator/job-plan.ts";
export { labelMapInfo } from "../orchestrator/label-map.ts";
export { createRunManifest, type RunManifest } from "../orchestrator/manifest/run-manifest.ts";
export { inferBatch } from "../orchestrator/map/infer-batch.ts";
export {
  emptyStatistics,
  type MapOptions,
  type MapProgress,
  type MapStatistics,
  mapAndMerge,
} from "../orchestrator/map/map-and-merge.ts";
export type { OutputsReport, WriteOutputsOptions } from "../orchestrator/outputs/outputs-options.ts";
export { writeOutputs } from "../orchestrator/outputs/write-outputs.ts";
export { matchImageToModel } from "../orchestrator/plan/match-image.ts";
export { planCoverage } from "../orchestrator/plan/plan-coverage.ts";
export { type PlanOptions, planJob } from "../orchestrator/plan/plan-job.ts";
export { type FinishJobOptions, finishJob } from "../orchestrator/run/finish-job.ts";
export { type JobResult, type RunJobOptions, runJob } from "../orchestrator/run/run-job.ts";
export type { Backend, BackendReport } from "../orchestrator/scheduler/backend.ts";
export type { Clock } from "../orchestrator/scheduler/clock.ts";
export { checkSettings, type FullJobSettings, type JobSettings } from "../orchestrator/settings.ts";
export { systemClock } from "../portable/system-clock.ts";
export { openLabelStore, type ZarrLabelStore } from "../writers/ome-zarr/label-store.ts";
