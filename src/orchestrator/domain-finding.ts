export type Feature = "luminance" | "saturation" | "colour" | "sharpness";

/** How far a scan is from the images that a model was trained on. */
export interface DomainFinding {
  /** Distance to the nearest kind in units of its reach: 1 is the edge of the training images, above `FAR` is out of domain. */
  distance: number;
  /** Name of the nearest kind. */
  kind: string;
  /** The features that differ most from that kind. */
  feature: Feature;
  /** Sentences for the user. */
  warnings: readonly string[];
}
