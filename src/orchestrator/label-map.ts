import type { LabelMapInfo } from "../image/label-sink.ts";
import type { ModelManifest } from "../model-package/manifest.ts";
import type { JobPlan } from "./job-plan.ts";

/** Describes a job's label map for writers. It lies on the grid of the segmented level. */
export function labelMapInfo(manifest: ModelManifest, plan: JobPlan): LabelMapInfo {
  const isVolume = plan.region.size.length === 3;
  return {
    shape: plan.region.size,
    chunk: plan.chunk,
    dtype: "uint8",
    // Axes of the image, not of the model: a 2-D model goes through a volume slice by slice. Units as is usual for each.
    axes: isVolume ? "zyx" : "yx",
    spacing: isVolume
      ? { values: plan.mpp.map((um) => um / 1000), unit: "millimeter" }
      : { values: plan.mpp, unit: "micrometer" },
    placement: { origin: plan.region0.origin, downsample: plan.downsample },
    classes: manifest.classes,
    name: manifest.name,
  };
}
