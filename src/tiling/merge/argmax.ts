import { byteWords, LANES, ONES } from "../pixels/byte-words.ts";

/**
 * Writes the class of the largest value at each sample; the first of equal ones.
 * @param values `[K, ...labels]`
 * @param best starts as the values of class 0, ends as the largest values
 * @param labels starts as 0
 */
export function argmaxInto(
  values: ArrayLike<number>,
  best: Uint8Array | Float32Array,
  labels: Uint8Array,
  classes: number,
): void {
  const size = labels.length;
  for (let k = 1; k < classes; k++) {
    for (let i = 0, at = k * size; i < size; i++, at++) {
      if (values[at]! > best[i]!) {
        best[i] = values[at]!;
        labels[i] = k;
      }
    }
  }
}

/** The bit above each lane. */
const BORROW_BITS = 0x01000100;

/** `argmaxInto` for bytes `[K, ...labels]`, four samples at a time. */
export function argmaxBytes(values: Uint8Array, labels: Uint8Array, classes: number): void {
  const size = labels.length;
  const words = byteWords(values, size);
  const labelWords = byteWords(labels, size);
  if (!words || !labelWords) {
    argmaxInto(values, values.slice(0, size), labels.fill(0), classes);
    return;
  }
  const plane = size >> 2;
  for (let i = 0; i < plane; i++) {
    const first = words[i]!;
    let even = first & LANES;
    let odd = (first >>> 8) & LANES;
    let evenLabels = 0;
    let oddLabels = 0;
    for (let k = 1, at = i + plane; k < classes; k++, at += plane) {
      const word = words[at]!;
      // Most classes are 0 in most samples.
      if (word === 0) continue;
      // The bit above a lane is borrowed if its byte is larger; all bits of the lane follow from it.
      let larger = ~((even | BORROW_BITS) - (word & LANES)) & BORROW_BITS;
      let lanes = larger - (larger >>> 8);
      even ^= (even ^ word) & lanes;
      evenLabels ^= (evenLabels ^ (k * ONES)) & lanes;
      const others = word >>> 8;
      larger = ~((odd | BORROW_BITS) - (others & LANES)) & BORROW_BITS;
      lanes = larger - (larger >>> 8);
      odd ^= (odd ^ others) & lanes;
      oddLabels ^= (oddLabels ^ (k * ONES)) & lanes;
    }
    labelWords[i] = evenLabels | (oddLabels << 8);
  }
}
