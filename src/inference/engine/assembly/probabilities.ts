import { exp4, field, larger } from "./lanes";

/** Four pixels' score of one class; pixels beyond the last repeat it. */
// @ts-ignore: decorator
@inline
function four(at: usize, step: usize, count: i32): v128 {
  let x = v128.load32_splat(at);
  if (count > 1) x = v128.load_lane<f32>(at + step, x, 1);
  if (count > 2) x = v128.load_lane<f32>(at + 2 * step, x, 2);
  if (count > 3) x = v128.load_lane<f32>(at + 3 * step, x, 3);
  return x;
}

/**
 * Softmax over the classes of each pixel.
 *   0 scores [pixels][classes]   1 pixels   2 classes   3 output [classes][round4(pixels)]
 * Returns 1 if a score is NaN or infinite, otherwise 0.
 */
export function softmaxPlanes(p: usize): i32 {
  const pixels = field(p, 1), classes = field(p, 2);
  const step = <usize>classes << 2;
  const plane = <usize>((pixels + 3) & ~3) << 2;
  let from = <usize>field(p, 0), to = <usize>field(p, 3);
  // x - x is 0 unless x is NaN or infinite.
  let wrong = i32x4.splat(0);
  for (let i = 0; i < pixels; i += 4, from += step << 2, to += 16) {
    const count = pixels - i;
    let high = four(from, step, count);
    for (let k: usize = 4; k < step; k += 4) high = larger(four(from + k, step, count), high);
    let sum = f32x4.splat(0);
    for (let k: usize = 0, at = to; k < step; k += 4, at += plane) {
      const score = four(from + k, step, count);
      wrong = v128.or(wrong, f32x4.ne(f32x4.sub(score, score), f32x4.splat(0)));
      const x = exp4(f32x4.sub(score, high));
      sum = f32x4.add(sum, x);
      v128.store(at, x);
    }
    const inverse = f32x4.div(f32x4.splat(1), sum);
    for (let k: usize = 0, at = to; k < step; k += 4, at += plane) {
      v128.store(at, f32x4.mul(v128.load(at), inverse));
    }
  }
  return v128.any_true(wrong) ? 1 : 0;
}

/**
 * Probabilities as bytes round(255 p), and the first class with the largest byte.
 *   3 probabilities, as above   4 output bytes [classes][round4(pixels)]   5 output labels [round4(pixels)]
 */
export function encodePlanes(p: usize): void {
  const pixels = field(p, 1), classes = field(p, 2);
  const count = <usize>((pixels + 3) & ~3);
  const from = <usize>field(p, 3), bytes = <usize>field(p, 4), labels = <usize>field(p, 5);
  for (let i: usize = 0; i < count; i += 4) {
    let most = i32x4.splat(-1), label = i32x4.splat(0);
    for (let k = 0; k < classes; k++) {
      const x = v128.load(from + ((<usize>k * count + i) << 2));
      const low = toLevels(x), high = toLevels(v128.shuffle<i32>(x, x, 2, 3, 0, 1));
      const level = v128.shuffle<i64>(low, high, 0, 2);
      const above = i32x4.gt_s(level, most);
      most = v128.bitselect(level, most, above);
      label = v128.bitselect(i32x4.splat(k), label, above);
      v128.store32_lane(bytes + <usize>k * count + i, narrow(level), 0);
    }
    v128.store32_lane(labels + i, narrow(label), 0);
  }
}

/** The low two lanes, in float64 and truncated: the same bytes as where JavaScript stores `255 p + 0.5` in a byte array. */
// @ts-ignore: decorator
@inline
function toLevels(x: v128): v128 {
  const scaled = f64x2.mul(f64x2.promote_low_f32x4(x), f64x2.splat(255));
  return i32x4.trunc_sat_f64x2_s_zero(f64x2.add(scaled, f64x2.splat(0.5)));
}

// @ts-ignore: decorator
@inline
function narrow(x: v128): v128 {
  const halves = i16x8.narrow_i32x4_s(x, x);
  return i8x16.narrow_i16x8_u(halves, halves);
}
