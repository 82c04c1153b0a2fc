import type { ImageReport } from "../image/describe.ts";
import type { ImageSource } from "../image/image-source.ts";
import type { PlanReport } from "../portable/describe-plan.ts";
import { openSourceInput, type SourceChoices, type SourceInput } from "../portable/open-source.ts";
import {
  type InspectImageOptions,
  inspectImage,
  type ModelMatch,
  type PlanImageOptions,
  planImage,
} from "../portable/plan-image.ts";
import { checkOptionNames } from "../portable/run-options.ts";
import { openAddress } from "../storage/open-address.ts";
import { loadModel } from "./resolve-model.ts";

/** Plans a run on this machine without the model's runtime: windows, tissue, memory. @throws {TilewrightError} */
export function plan(options: PlanImageOptions): Promise<PlanReport> {
  return planImage(options, { openAddress, loadModel });
}

/** Tells what an image holds: format, levels, pixel size, channels; with a model also whether it fits. */
export function inspect(
  options: InspectImageOptions,
): Promise<ImageReport & { name: string; model?: ModelMatch }> {
  return inspectImage(options, { openAddress, loadModel });
}

/** Opens an image of any kind; the caller closes it, and its files and connections with it. */
export async function openAnyImage(
  source: SourceInput,
  choices: SourceChoices & { signal?: AbortSignal } = {},
): Promise<ImageSource> {
  checkOptionNames(choices, ["mpp", "series", "time", "pagesAs", "signal"]);
  return (await openSourceInput(source, openAddress, choices)).source;
}
