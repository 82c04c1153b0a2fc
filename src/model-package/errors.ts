/** The package is missing, damaged or does not do what it says; `message` says what to do. */
export class ModelPackageError extends Error {
  override readonly name = "ModelPackageError";
}
