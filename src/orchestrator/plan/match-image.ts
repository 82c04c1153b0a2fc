import type { ImageSource } from "../../image/image-source.ts";
import type { ModelManifest } from "../../model-package/manifest.ts";
import { JobError } from "../errors.ts";
import { chooseReorientation } from "../input/choose-reorientation.ts";
import { reorientedImage, type WindowSource } from "../input/reoriented-image.ts";
import type { JobPlan, Orientation } from "../job-plan.ts";
import type { FullJobSettings } from "../settings.ts";
import { type ChosenLevel, chooseLevel } from "./choose-level.ts";

/**
 * Chooses orientation, level and window for an image and a model. Reads nothing but the image's header.
 * @throws {JobError} if the model cannot be applied to the image
 */
export function matchImageToModel(
  source: ImageSource,
  manifest: ModelManifest,
  settings: Pick<FullJobSettings, "level" | "maxMagnification" | "orientation">,
): ChosenLevel & Pick<JobPlan, "slices"> & Orientation {
  const oriented = chooseReorientation(source, manifest, settings);
  const image = reorientedImage(source, oriented.reorientation);
  const slices = chooseSlices(image, manifest);
  return { ...oriented, slices, ...chooseLevel(image, manifest, settings, slices) };
}

/** Whether and how a 2-D model goes through a volume slice by slice. */
function chooseSlices(source: Pick<WindowSource, "axes">, { name, input }: ModelManifest): JobPlan["slices"] {
  if (source.axes === "yx") {
    if (input.axes === "zyx" || input.slices) {
      throw new JobError(
        `model ${name} takes ${input.slices ? "slices of a volume" : "volumes"}, the image is one plane: choose a model for images, such as --model nuclei`,
      );
    }
    return undefined;
  }
  if (input.axes === "zyx") return undefined;
  const { axis, context } = input.slices ?? { axis: "z", context: 0 };
  if (input.channels % (2 * context + 1) !== 0) {
    throw new JobError(
      `model ${name} takes ${input.channels} channels and ${2 * context + 1} slices: they do not divide`,
    );
  }
  return { axis: source.axes.indexOf(axis), context };
}
