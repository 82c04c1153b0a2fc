import type { Activation } from "../pixels/activation.ts";
import { byteWords, LANES, ONES } from "../pixels/byte-words.ts";

/** Samples of a block. */
const BLOCK_SAMPLES = 4096;

/**
 * Validates that bytes `round(255 p)` of `[N, K, ...window]` can come from the activation: a network that overflowed on a
 * device must not leave a silent hole in the label map. Softmax sums to 1, up to the rounding of each class; with sigmoid
 * the background is 1 minus the largest class. `none` cannot be validated.
 * @throws {RangeError}
 */
export function validateQuantizedProbabilities(
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
  if (softmax && addUp(bytes, windows, size, classes)) return;
  const leeway = softmax ? classes : 1;
  // In blocks, so that each class is read sequentially and the sums stay in the cache.
  const sums = new Uint16Array(Math.min(BLOCK_SAMPLES, size));
  for (let n = 0; n < windows; n++) {
    for (let from = 0; from < size; from += BLOCK_SAMPLES) {
      const length = Math.min(BLOCK_SAMPLES, size - from);
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
            `the model returned classes that add up to ${sums[i]} of 255: a score is not a number`,
          );
        }
      }
    }
  }
}

/** Sums of up to 64 classes leave the highest bit of a lane free. */
const MOST_IN_LANES = 64;
const HIGHEST_BITS = 0x80008000 | 0;

/**
 * Whether the classes of softmax add up to 255 at every sample, up to less than 1 each. Four samples at a time, three times
 * as fast as one by one. False if the bytes are not aligned to words.
 */
function addUp(bytes: Uint8Array, windows: number, size: number, classes: number): boolean {
  const words = classes <= MOST_IN_LANES ? byteWords(bytes, size) : undefined;
  if (!words) return false;
  const plane = size >> 2;
  const least = (255 - classes) * ONES;
  const most = ((255 + classes) * ONES) | HIGHEST_BITS;
  // The highest bit of a lane remains set unless it is borrowed.
  let within = HIGHEST_BITS;
  for (let n = 0; n < windows; n++) {
    const end = (n * classes + 1) * plane;
    for (let i = n * classes * plane; i < end; i++) {
      let even = 0;
      let odd = 0;
      for (let k = 0, at = i; k < classes; k++, at += plane) {
        const word = words[at]!;
        even += word & LANES;
        odd += (word >>> 8) & LANES;
      }
      within &=
        ((even | HIGHEST_BITS) - least) & (most - even) & ((odd | HIGHEST_BITS) - least) & (most - odd);
    }
  }
  return within === HIGHEST_BITS;
}
