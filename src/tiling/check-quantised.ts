import type { Activation } from "./activation.ts";

/**
 * Throws a RangeError where bytes `round(255 p)` of `[N, K, ...window]` cannot be what the activation gives: a network that
 * overflowed on a device must not become a quiet hole in the label map. What softmax gives adds up to 1, each class
 * rounded by itself; with sigmoid the background is what the largest leaves over. `none` has no such law.
 */
export function checkQuantised(
  bytes: Uint8Array,
  windows: number,
  size: number,
  activation: Activation,
): void {
  const classes = bytes.length / (windows * size);
  if (!Number.isInteger(classes)) {
    throw new RangeError(`${bytes.length} bytes do not divide into ${windows} windows of ${size} samples`);
  }
  if (activation === "none") return;
  const softmax = activation === "softmax";
  const leeway = softmax ? classes : 1;
  for (let n = 0; n < windows; n++) {
    const base = n * classes * size;
    for (let i = base; i < base + size; i++) {
      let sum = bytes[i]!;
      if (softmax) {
        for (let k = 1; k < classes; k++) sum += bytes[i + k * size]!;
      } else {
        let largest = 0;
        for (let k = 1; k < classes; k++) if (bytes[i + k * size]! > largest) largest = bytes[i + k * size]!;
        sum += largest;
      }
      if (sum < 255 - leeway || sum > 255 + leeway) {
        throw new RangeError(
          `the model returned classes that add up to ${sum} of 255: a score that is not a number`,
        );
      }
    }
  }
}
