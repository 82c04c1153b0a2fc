/** The package is missing, damaged or inconsistent; `message` says what to do. */
export class ModelPackageError extends Error {
  override readonly name = "ModelPackageError";
}
