/** A backend could not run the model or answered with something that is no segmentation. */
export class InferenceError extends Error {
  override readonly name = "InferenceError";
}
