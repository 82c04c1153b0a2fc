import type { LabelMapInfo } from "../image/label-sink.ts";
import type { ModelManifest } from "../model-package/manifest.ts";
import type { JobPlan } from "./job-plan.ts";

/** What the writers must know of a job's label map: it lies on the grid of the level that is segmented. */
export function labelMapInfo(manifest: ModelManifest, plan: JobPlan): LabelMapInfo {
  const isVolume = plan.region.size.length === 3;
  return {
    shape: plan.region.size,
    chunk: plan.chunk,
    dtype: "uint8",
    // Of the image: a model of planes goes through a volume slice by slice. In what the field measures it by.
    axes: isVolume ? "zyx" : "yx",
    spacing: isVolume
      ? { values: plan.mpp.map((um) => um / 1000), unit: "millimeter" }
      : { values: plan.mpp, unit: "micrometer" },
    placement: { origin: plan.region0.origin, downsample: plan.downsample },
    classes: manifest.classes,
    name: manifest.name,
  };
}
