export type Activation = "softmax" | "sigmoid" | "none";

/**
 * Raw scores to class probabilities, per window. `logits` is `[N, C, ...window]`; returns `[N, K, ...window]`.
 * softmax and none: K = C. sigmoid: K = C + 1, class 0 (background) is 1 − the largest of the others.
 */
export function activate(
  logits: Float32Array,
  windows: number,
  size: number,
  activation: Activation,
): Float32Array {
  const channels = logits.length / (windows * size);
  if (!Number.isInteger(channels)) {
    throw new RangeError(`${logits.length} scores do not divide into ${windows} windows of ${size} samples`);
  }
  if (activation === "none") return logits;
  if (activation === "softmax") return softmax(logits, windows, size, channels);
  const classes = channels + 1;
  const out = new Float32Array(windows * classes * size);
  for (let n = 0; n < windows; n++) {
    for (let i = 0; i < size; i++) {
      let largest = 0;
      for (let c = 0; c < channels; c++) {
        const p = 1 / (1 + Math.exp(-logits[(n * channels + c) * size + i]!));
        if (p > largest) largest = p;
        out[(n * classes + c + 1) * size + i] = p;
      }
      out[n * classes * size + i] = 1 - largest;
    }
  }
  return out;
}

/** Softmax over the class axis, shifted by the largest score so that it cannot overflow. */
function softmax(logits: Float32Array, windows: number, size: number, classes: number): Float32Array {
  const out = new Float32Array(logits.length);
  for (let n = 0; n < windows; n++) {
    const base = n * classes * size;
    for (let i = base; i < base + size; i++) {
      let largest = logits[i]!;
      for (let k = 1; k < classes; k++) largest = Math.max(largest, logits[i + k * size]!);
      let sum = 0;
      for (let k = 0; k < classes; k++) {
        const e = Math.exp(logits[i + k * size]! - largest);
        out[i + k * size] = e;
        sum += e;
      }
      const scale = 1 / sum;
      for (let k = 0; k < classes; k++) out[i + k * size]! *= scale;
    }
  }
  return out;
}
