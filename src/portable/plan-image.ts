import { describeImage, type ImageReport } from "../image/describe.ts";
import type { ImageSource } from "../image/image-source.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import type { ModelManifest } from "../model-package/manifest.ts";
import { JobError } from "../orchestrator/errors.ts";
import { matchImageToModel } from "../orchestrator/plan/match-image.ts";
import { planJob } from "../orchestrator/plan/plan-job.ts";
import type { JobSettings } from "../orchestrator/settings.ts";
import { describePlan, type PlanReport } from "./describe-plan.ts";
import { loadModelInput, type ModelChoices, type ModelInput } from "./model-input.ts";
import { type AddressOpener, openSourceInput, type SourceChoices, type SourceInput } from "./open-source.ts";
import { readMaskInput } from "./read-mask.ts";
import { checkOptionNames, parseJobSettings } from "./run-options.ts";
import { IMAGE_OPTION_NAMES, type ImageInputs } from "./segment-image.ts";

/** What a runtime can open: addresses, and models by name. */
export interface Openers {
  openAddress: AddressOpener;
  loadModel(name: string, choices: ModelChoices): Promise<ModelPackage>;
}

export interface PlanImageOptions extends ImageInputs, SourceChoices, JobSettings {}

/** Plans a run without the model's runtime: windows, tissue, memory. @throws {JobError} if image and model do not fit */
export async function planImage(options: PlanImageOptions, openers: Openers): Promise<PlanReport> {
  checkOptionNames(options, IMAGE_OPTION_NAMES);
  const { signal, variant } = options;
  const settings = parseJobSettings(options);
  const model = await loadModelInput(options.model, openers.loadModel, { variant, signal });
  const { source, name, close } = await openSourceInput(options.source, openers.openAddress, options);
  try {
    const mask =
      options.mask !== undefined
        ? await readMaskInput(options.mask, source.levels[0]!.shape, openers.openAddress, signal)
        : undefined;
    const plan = await planJob(source, model.manifest, settings, { mask: mask?.raster, signal });
    return describePlan(plan, source, name, model, settings);
  } finally {
    await close();
  }
}

export interface InspectImageOptions extends SourceChoices {
  source: SourceInput;
  /** Also tell whether this model fits the image. */
  model?: ModelInput;
  signal?: AbortSignal;
}

/** How a model goes with an image: the level that it would get, or why it refuses the image. */
export type ModelMatch =
  | { name: string; level: number; magnification: number }
  | { name: string; refused: string };

/** What an image holds: format, levels, pixel size, channels. */
export async function inspectImage(
  options: InspectImageOptions,
  openers: Openers,
): Promise<ImageReport & { name: string; model?: ModelMatch }> {
  checkOptionNames(options, ["source", "model", "mpp", "series", "time", "pagesAs", "signal"]);
  const { source, name, close } = await openSourceInput(options.source, openers.openAddress, options);
  try {
    if (options.model === undefined) return { name, ...describeImage(source) };
    const { signal } = options;
    const { manifest } = await loadModelInput(options.model, openers.loadModel, { signal });
    return { name, ...describeImage(source), model: matchModel(source, manifest) };
  } finally {
    await close();
  }
}

function matchModel(source: ImageSource, manifest: ModelManifest): ModelMatch {
  const { name } = manifest;
  try {
    const { level, magnification } = matchImageToModel(source, manifest, {});
    return { name, level, magnification };
  } catch (error) {
    if (error instanceof JobError) return { name, refused: error.message };
    throw error;
  }
}
