export type Activation = "softmax" | "sigmoid" | "none";

/**
 * Converts raw scores to class probabilities, per window. `logits` is `[N, C, ...window]`; returns `[N, K, ...window]`.
 * softmax and none: K = C. sigmoid: K = C + 1, class 0 (background) is 1 − the largest of the others.
 * @throws {RangeError} for NaN, and with `none` for values that are no probabilities: a network that overflowed must not
 *   leave a silent hole in the label map
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
  if (activation === "none") {
    for (let i = 0; i < logits.length; i++) {
      if (!(Math.abs(logits[i]! - 0.5) <= 0.501)) {
        throw new RangeError(`the model returned ${logits[i]} where a probability was expected`);
      }
    }
    return logits;
  }
  if (activation === "softmax") return softmax(logits, windows, size, channels);
  const classes = channels + 1;
  const out = new Float32Array(windows * classes * size);
  for (let n = 0; n < windows; n++) {
    for (let i = 0; i < size; i++) {
      let largest = 0;
      for (let c = 0; c < channels; c++) {
        const p = 1 / (1 + Math.exp(-logits[(n * channels + c) * size + i]!));
        if (Number.isNaN(p)) throw new RangeError("the model returned a score that is not a number");
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
      for (let k = 1; k < classes; k++) {
        const score = logits[i + k * size]!;
        if (score > largest) largest = score;
      }
      let sum = 0;
      for (let k = 0; k < classes; k++) {
        const e = expOfNegative(logits[i + k * size]! - largest);
        out[i + k * size] = e;
        sum += e;
      }
      if (!(sum > 0)) throw new RangeError("the model returned a score that is not a number");
      const scale = 1 / sum;
      for (let k = 0; k < classes; k++) out[i + k * size]! *= scale;
    }
  }
  return out;
}

/** 2^-k, as far as float32 can represent it. */
const POWERS_OF_TWO = Float64Array.from({ length: 160 }, (_, k) => 2 ** -k);

/**
 * exp(x) for x <= 0 to a relative error of 1e-8, in a third of the time of `Math.exp`: softmax is the most expensive
 * step of this thread per window. x = (r - k) ln 2 with r in [0, 1); 2^r by Taylor's series about 1/2.
 */
function expOfNegative(x: number): number {
  const t = x * Math.LOG2E;
  if (!(t > -150)) return Number.isNaN(t) ? t : 0;
  const k = Math.ceil(-t);
  const u = (t + k - 0.5) * Math.LN2;
  const series =
    1 + u * (1 + u * (1 / 2 + u * (1 / 6 + u * (1 / 24 + u * (1 / 120 + u * (1 / 720 + u / 5040))))));
  return Math.SQRT2 * series * POWERS_OF_TWO[k]!;
}
