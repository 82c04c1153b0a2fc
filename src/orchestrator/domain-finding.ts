export type Feature = "luminance" | "saturation" | "colour" | "sharpness";

/** How far a scan is from the images that a model was trained on. */
export interface DomainFinding {
  /** In reaches of the nearest kind; 1 is as far as the training images reach, above `FAR` is out of the model's domain. */
  distance: number;
  /** Name of the nearest kind. */
  kind: string;
  /** What differs most from that kind. */
  feature: Feature;
  /** What a person should know, a sentence each. */
  warnings: readonly string[];
}
