import { TilewrightError } from "../image/tilewright-error.ts";

/** The package is missing, damaged or inconsistent; `message` says what to do. */
export class ModelPackageError extends TilewrightError {
  override readonly name = "ModelPackageError";
}
