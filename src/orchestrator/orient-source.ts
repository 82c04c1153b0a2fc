import { obliqueDegrees } from "../image/affine.ts";
import type { ImageSource } from "../image/image-source.ts";
import type { ModelManifest } from "../model-package/manifest.ts";
import { reorientationBetween } from "../tiling/orientation.ts";
import { isIdentity, type Reorientation } from "../tiling/reorientation.ts";
import { JobError } from "./errors.ts";
import type { FullJobSettings } from "./settings.ts";

/** How a volume lies in the patient, and how the model wants it. Codes say where x, y and z lead, as in "LPS". */
export interface PlannedOrientation {
  source: string;
  model: string;
  /** The user said so, and not the file. */
  given: boolean;
  /** Angle between the volume's axes and the patient's, where the file states it. */
  obliqueDegrees?: number;
}

export interface Orientation {
  /** Of stored axes to the model's; undefined where nothing is turned. */
  reorientation?: Reorientation;
  orientation?: PlannedOrientation;
}

/** `input.orientation` of a model that takes volumes as they are stored: of microscopes, which know no patient. */
export const AS_STORED = "stored";

/**
 * How a volume is turned for a model.
 * @throws {JobError} when the model was trained in one orientation and nobody says how the volume lies
 */
export function orientSource(
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
      `the volume does not state how it lies in the patient, and model ${name} was trained on ${wanted}: give it with --orientation <code>, where x, y and z lead, for instance LPS`,
    );
  }
  const reorientation = reorientationBetween(source, wanted);
  return {
    ...(!isIdentity(reorientation) && { reorientation }),
    orientation: {
      source,
      model: wanted,
      given: given !== undefined,
      ...(given === undefined && affine && { obliqueDegrees: obliqueDegrees(affine) }),
    },
  };
}
