import { obliqueDegrees } from "../../image/affine.ts";
import type { ImageSource } from "../../image/image-source.ts";
import type { ModelManifest } from "../../model-package/manifest.ts";
import { reorientationBetween } from "../../tiling/grid/orientation.ts";
import { isIdentityReorientation } from "../../tiling/grid/reorientation.ts";
import { JobError } from "../errors.ts";
import type { Orientation } from "../job-plan.ts";
import type { FullJobSettings } from "../settings.ts";

/** `input.orientation` of models that take volumes as stored, such as models for microscopes. */
export const AS_STORED = "stored";

/**
 * The reorientation of a volume for a model.
 * @throws {JobError} if the model states an orientation, and neither the file nor the user states that of the volume
 */
export function chooseReorientation(
  { axes, orientation: stated, affine }: Pick<ImageSource, "axes" | "orientation" | "affine">,
  { name, input }: Pick<ModelManifest, "name" | "input">,
  { orientation: given }: Pick<FullJobSettings, "orientation">,
): Orientation {
  if (axes === "yx") {
    if (given !== undefined) throw new JobError("--orientation is for volumes, the image is one plane");
    return {};
  }
  const wanted = input.orientation;
  if (wanted === undefined || wanted === AS_STORED) return {};
  const source = given ?? stated;
  if (source === undefined) {
    throw new JobError(
      `the volume does not state its orientation, and model ${name} was trained on ${wanted}: give the directions of x, y and z with --orientation <code>, for instance LPS`,
    );
  }
  const reorientation = reorientationBetween(source, wanted);
  return {
    ...(!isIdentityReorientation(reorientation) && { reorientation }),
    orientation: {
      source,
      model: wanted,
      given: given !== undefined,
      ...(given === undefined && affine && { obliqueDegrees: obliqueDegrees(affine) }),
    },
  };
}
