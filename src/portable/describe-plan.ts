import type { ImageSource } from "../image/image-source.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import type { DomainFinding } from "../orchestrator/domain-finding.ts";
import type { JobPlan, PlannedOrientation } from "../orchestrator/job-plan.ts";
import { planWarnings } from "../orchestrator/manifest/run-manifest.ts";
import { matchImageToModel } from "../orchestrator/plan/match-image.ts";
import { estimateMemory } from "../orchestrator/plan/plan-job.ts";
import type { FullJobSettings } from "../orchestrator/settings.ts";
import { planShards } from "../tiling/grid/shards.ts";
import type { TissueFinding } from "../tiling/pixels/tissue-mask.ts";

/** What a run would do, without running it; axes slow to fast. */
export interface PlanReport {
  source: string;
  /** Name, version and variant. */
  model: string;
  level: number;
  /** Micrometres per pixel of the level. */
  mpp: number;
  /** Pixel size relative to the model's; 1 without resampling. */
  magnification: number;
  regionSize: readonly number[];
  /** In samples of the level. */
  window: readonly number[];
  modelWindow: readonly number[];
  windows: number;
  windowsInGrid: number;
  shards: number;
  tissueFraction: number | undefined;
  tissue: TissueFinding | undefined;
  domain: DomainFinding | undefined;
  warnings: readonly string[];
  orientation: PlannedOrientation | undefined;
  intensities: { low: number; high: number };
  /** Rough estimate. */
  memoryBytes: number;
}

export function describePlan(
  plan: JobPlan,
  source: ImageSource,
  name: string,
  model: Pick<ModelPackage, "manifest" | "variantName">,
  settings: FullJobSettings,
): PlanReport {
  const { manifest, variantName } = model;
  return {
    source: name,
    model: `${manifest.name} ${manifest.version} ${variantName}`,
    level: plan.level,
    mpp: plan.mpp.at(-1)!,
    magnification: matchImageToModel(source, manifest, settings).magnification,
    regionSize: (plan.output ?? plan).region.size,
    window: plan.grid.window,
    modelWindow: plan.modelWindow,
    windows: plan.kept.size,
    windowsInGrid: plan.kept.length,
    shards: [...planShards(plan.grid, plan.kept, plan.shardBlock)].length,
    tissueFraction: plan.tissueFraction,
    tissue: plan.tissue,
    domain: plan.domain,
    warnings: planWarnings(plan, source),
    orientation: plan.orientation,
    intensities: plan.scaling,
    memoryBytes: estimateMemory(plan, manifest.classes.length),
  };
}
