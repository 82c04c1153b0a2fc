import type { Activation } from "./activation.ts";

/** Samples looked at together. */
const BLOCK = 4096;

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
  // In blocks, so that each class is gone through in a row and the sums stay in the cache.
  const sums = new Uint16Array(Math.min(BLOCK, size));
  for (let n = 0; n < windows; n++) {
    for (let from = 0; from < size; from += BLOCK) {
      const length = Math.min(BLOCK, size - from);
      const base = n * classes * size + from;
      sums.fill(0);
      if (softmax) {
        for (let k = 0, at = base; k < classes; k++, at += size) {
          for (let i = 0; i < length; i++) sums[i]! += bytes[at + i]!;
        }
      } else {
        for (let k = 1, at = base + size; k < classes; k++, at += size) {
          for (let i = 0; i < length; i++) if (bytes[at + i]! > sums[i]!) sums[i] = bytes[at + i]!;
        }
        for (let i = 0; i < length; i++) sums[i]! += bytes[base + i]!;
      }
      for (let i = 0; i < length; i++) {
        if (sums[i]! < 255 - leeway || sums[i]! > 255 + leeway) {
          throw new RangeError(
            `the model returned classes that add up to ${sums[i]} of 255: a score that is not a number`,
          );
        }
      }
    }
  }
}
