/** `tilewright` in browsers and Workers: what needs no Node. */
export { JobFailedError, ServiceError } from "../client/errors.ts";
export { JobClient } from "../client/job-client.ts";
export type { JobClientOptions } from "../client/service-http.ts";
export type { ImageReport } from "../image/describe.ts";
export { ImageFormatError, ImageNotFoundError } from "../image/errors.ts";
export type { Channel, ImageSource, Level, PagesAs, Spacing } from "../image/image-source.ts";
export type { ImageLimits } from "../image/limits.ts";
export { isTilewrightError, TilewrightError } from "../image/tilewright-error.ts";
export { InferenceError, RemoteError } from "../inference/errors.ts";
export type { Segmenter } from "../inference/segmenter.ts";
export { ModelPackageError } from "../model-package/errors.ts";
export type { ModelPackage } from "../model-package/load-package.ts";
export { JobError, NoTissueError } from "../orchestrator/errors.ts";
export type { RunManifest } from "../orchestrator/manifest/run-manifest.ts";
export type { JobSettings } from "../orchestrator/settings.ts";
export type { PlanReport } from "../portable/describe-plan.ts";
export type { ModelInput, StoredModel } from "../portable/model-input.ts";
export type { SourceChoices, SourceInput, StoredSource } from "../portable/open-source.ts";
export type { InspectImageOptions, ModelMatch, PlanImageOptions } from "../portable/plan-image.ts";
export type { ProgressEvent, ProgressListener } from "../portable/progress.ts";
export type { MaskInput } from "../portable/read-mask.ts";
export type { SegmentedImage, SegmentedObject, StoredOutput } from "../portable/segment-image.ts";
export {
  inspectInWeb as inspect,
  loadModelInWeb as loadModel,
  openImageInWeb as openImage,
  planInWeb as plan,
  segmentInWeb as segment,
  type WebSegmentOptions as SegmentOptions,
  type WebSegmentToArraysOptions as SegmentToArraysOptions,
} from "../portable/web.ts";
export { ObjectChangedError, StorageError } from "../storage/errors.ts";
export type { ObjectStore } from "../storage/object-store.ts";
export type { Raster, Rect } from "../tiling/grid/raster.ts";
export { LabelStoreMismatchError } from "../writers/ome-zarr/label-store.ts";
