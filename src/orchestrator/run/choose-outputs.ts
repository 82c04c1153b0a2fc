import type { ImageSource } from "../../image/image-source.ts";
import { OUTPUTS, type OutputName, PLANE_OUTPUTS, VOLUME_OUTPUTS } from "../../image/output-targets.ts";
import { JobError } from "../errors.ts";

/** What the choice of outputs depends on. */
type SourceKind = Pick<ImageSource, "axes" | "headers">;

/** Checks names from outside. @returns each once, in the order of `OUTPUTS` @throws {JobError} */
export function parseOutputs(names: readonly string[]): OutputName[] {
  if (names.length === 0) throw new JobError(`no output is requested: choose of ${OUTPUTS.join(", ")}`);
  for (const name of names) {
    if (!OUTPUTS.includes(name as OutputName)) {
      throw new JobError(`there is no output "${name}": choose of ${OUTPUTS.join(", ")}`);
    }
  }
  return OUTPUTS.filter((name) => names.includes(name));
}

/** The outputs of a job: the requested ones or the source's defaults. @throws {JobError} if the source does not allow one of them */
export function chooseOutputs(source: SourceKind, requested: OutputName[] | undefined): OutputName[] {
  const outputs = requested ?? defaultOutputs(source);
  checkOutputs(outputs, source);
  return outputs;
}

/** Of volumes, `labels.nii.gz` and `labels.seg.dcm` only if the source has the same format. */
function defaultOutputs({ axes, headers }: SourceKind): OutputName[] {
  if (axes === "yx")
    return PLANE_OUTPUTS.filter((name) => !name.startsWith("instances.") && name !== "labels.seg.dcm");
  return VOLUME_OUTPUTS.filter(
    (name) =>
      (name !== "labels.nii.gz" || headers?.format === "nifti") &&
      (name !== "labels.seg.dcm" || headers?.format === "dicom"),
  );
}

function checkOutputs(outputs: readonly OutputName[], { axes, headers }: SourceKind): void {
  const possible = axes === "yx" ? PLANE_OUTPUTS : VOLUME_OUTPUTS;
  const other = outputs.find((name) => !possible.includes(name));
  if (other !== undefined) {
    throw new JobError(
      `${other} is for ${axes === "yx" ? "volumes, and this is a 2-D image" : "2-D images, and this is a volume"}: choose of ${possible.join(", ")}`,
    );
  }
  if (outputs.includes("labels.seg.dcm") && headers?.references === undefined) {
    throw new JobError(
      "labels.seg.dcm refers to the DICOM series or slide it was made from, and the source is neither: choose another output",
    );
  }
}
