// What differs between the two builds, and the elementary functions on four lanes. `ASC_FEATURE_RELAXED_SIMD` is a constant
// of the compiler: each build contains one of the branches.

/** a·b + c. The relaxed form rounds once where the machine has a fused instruction, and twice elsewhere. */
// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/**
 * c + the sums of four neighbouring products: weights int8, activations 0 to 127. Both forms are exact: with 7 bits on one
 * side, no 16-bit intermediate saturates (127·128·2 < 2^15).
 */
// @ts-ignore: decorator
@inline
export function dotQuads(weights: v128, activations: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_dot_i8x16_i7x16_add_s(weights, activations, c);
  const low = i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(weights), i16x8.extend_low_i8x16_s(activations));
  const high = i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(weights), i16x8.extend_high_i8x16_s(activations));
  const even = v128.shuffle<i32>(low, high, 0, 2, 4, 6);
  const odd = v128.shuffle<i32>(low, high, 1, 3, 5, 7);
  return i32x4.add(c, i32x4.add(even, odd));
}

/** c + the sums of two neighbouring products in 16 bits; exact while the caller keeps the sum below 2^15. */
// @ts-ignore: decorator
@inline
export function dotPairs(weights: v128, activations: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i16x8.add(c, i16x8.relaxed_dot_i8x16_i7x16_s(weights, activations));
  const low = i16x8.extmul_low_i8x16_s(weights, activations);
  const high = i16x8.extmul_high_i8x16_s(weights, activations);
  const even = v128.shuffle<i16>(low, high, 0, 2, 4, 6, 8, 10, 12, 14);
  const odd = v128.shuffle<i16>(low, high, 1, 3, 5, 7, 9, 11, 13, 15);
  return i16x8.add(c, i16x8.add(even, odd));
}

// Constants lie in memory, four lanes each: V8 makes a v128.const from immediates anew at each use, also in loops, which
// made GELU three times as slow.
// prettier-ignore
const TABLE: usize = memory.data<f32>([
  12582912.0, 12582912.0, 12582912.0, 12582912.0,
  -87.0, -87.0, -87.0, -87.0,
  1.4426950408889634, 1.4426950408889634, 1.4426950408889634, 1.4426950408889634,
  -0.693359375, -0.693359375, -0.693359375, -0.693359375,
  2.12194440e-4, 2.12194440e-4, 2.12194440e-4, 2.12194440e-4,
  0.001388888888888889, 0.001388888888888889, 0.001388888888888889, 0.001388888888888889,
  0.008333333333333333, 0.008333333333333333, 0.008333333333333333, 0.008333333333333333,
  0.041666666666666664, 0.041666666666666664, 0.041666666666666664, 0.041666666666666664,
  0.16666666666666666, 0.16666666666666666, 0.16666666666666666, 0.16666666666666666,
  0.5, 0.5, 0.5, 0.5,
  1.0, 1.0, 1.0, 1.0,
  -4.5, -4.5, -4.5, -4.5,
  4.5, 4.5, 4.5, 4.5,
  -1.400032542155094e-12, -1.400032542155094e-12, -1.400032542155094e-12, -1.400032542155094e-12,
  1.6972688532401747e-10, 1.6972688532401747e-10, 1.6972688532401747e-10, 1.6972688532401747e-10,
  -9.193600547519054e-9, -9.193600547519054e-9, -9.193600547519054e-9, -9.193600547519054e-9,
  2.9588636607513763e-7, 2.9588636607513763e-7, 2.9588636607513763e-7, 2.9588636607513763e-7,
  -6.365206445479998e-6, -6.365206445479998e-6, -6.365206445479998e-6, -6.365206445479998e-6,
  9.7870928584598e-5, 9.7870928584598e-5, 9.7870928584598e-5, 9.7870928584598e-5,
  -0.0011226761853322387, -0.0011226761853322387, -0.0011226761853322387, -0.0011226761853322387,
  0.009833178482949734, 0.009833178482949734, 0.009833178482949734, 0.009833178482949734,
  -0.06633704900741577, -0.06633704900741577, -0.06633704900741577, -0.06633704900741577,
  0.39888378977775574, 0.39888378977775574, 0.39888378977775574, 0.39888378977775574,
  2.0, 2.0, 2.0, 2.0,
  -2.0, -2.0, -2.0, -2.0,
  4.0, 4.0, 4.0, 4.0,
  -4.0, -4.0, -4.0, -4.0,
  -5.0, -5.0, -5.0, -5.0,
  8.0, 8.0, 8.0, 8.0,
], 16);

/** 1.5·2^23: added to a float32 of less than 2^22, it leaves the nearest integer in the low bits of the sum. */
// @ts-ignore: decorator
@inline
export function round4(): v128 {
  return v128.load(TABLE);
}

// @ts-ignore: decorator
@inline
export function two4(): v128 {
  return v128.load(TABLE, 23 * 16);
}

// @ts-ignore: decorator
@inline
export function minusTwo4(): v128 {
  return v128.load(TABLE, 24 * 16);
}

// @ts-ignore: decorator
@inline
export function four4(): v128 {
  return v128.load(TABLE, 25 * 16);
}

// @ts-ignore: decorator
@inline
export function minusFour4(): v128 {
  return v128.load(TABLE, 26 * 16);
}

// @ts-ignore: decorator
@inline
export function minusFive4(): v128 {
  return v128.load(TABLE, 27 * 16);
}

// @ts-ignore: decorator
@inline
export function eight4(): v128 {
  return v128.load(TABLE, 28 * 16);
}

// The machine's own minimum and maximum, one instruction each: the second operand where one is NaN.

// @ts-ignore: decorator
@inline
export function larger(a: v128, b: v128): v128 {
  return f32x4.pmax(a, b);
}

// @ts-ignore: decorator
@inline
export function smaller(a: v128, b: v128): v128 {
  return f32x4.pmin(a, b);
}

/** exp of four lanes, for arguments up to 88; below -87 it is that of -87. Relative error below 3e-7. */
// @ts-ignore: decorator
@inline
export function exp4(x: v128): v128 {
  const clamped = larger(x, v128.load(TABLE, 16));
  const shifted = madd(clamped, v128.load(TABLE, 2 * 16), v128.load(TABLE));
  const n = f32x4.sub(shifted, v128.load(TABLE));
  // ln 2 in two parts (Cody and Waite), so that n·ln 2 has no rounding error of its own.
  let r = madd(n, v128.load(TABLE, 3 * 16), clamped);
  r = madd(n, v128.load(TABLE, 4 * 16), r);
  // Taylor's polynomial to degree 6 over |r| <= ln 2 / 2.
  let p = madd(v128.load(TABLE, 5 * 16), r, v128.load(TABLE, 6 * 16));
  p = madd(p, r, v128.load(TABLE, 7 * 16));
  p = madd(p, r, v128.load(TABLE, 8 * 16));
  p = madd(p, r, v128.load(TABLE, 9 * 16));
  p = madd(p, r, v128.load(TABLE, 10 * 16));
  p = madd(p, r, v128.load(TABLE, 10 * 16));
  // n stands in the low bits of `shifted`: the bits of 1.0 and n in the exponent are 2^n.
  return f32x4.mul(p, i32x4.add(i32x4.shl(shifted, 23), v128.load(TABLE, 10 * 16)));
}

/**
 * x·Φ(x) of four lanes. Φ(x) - 1/2 = x·P(x²) over |x| <= 4.5, with a polynomial of degree 9 that was fitted to the least
 * largest error; beyond 4.5 it stays as there. Error below 5e-5 for |x| <= 8, and below 6e-6·|x| beyond.
 */
// @ts-ignore: decorator
@inline
export function gelu4(x: v128): v128 {
  const c = smaller(larger(x, v128.load(TABLE, 11 * 16)), v128.load(TABLE, 12 * 16));
  const u = f32x4.mul(c, c);
  let p = madd(v128.load(TABLE, 13 * 16), u, v128.load(TABLE, 14 * 16));
  p = madd(p, u, v128.load(TABLE, 15 * 16));
  p = madd(p, u, v128.load(TABLE, 16 * 16));
  p = madd(p, u, v128.load(TABLE, 17 * 16));
  p = madd(p, u, v128.load(TABLE, 18 * 16));
  p = madd(p, u, v128.load(TABLE, 19 * 16));
  p = madd(p, u, v128.load(TABLE, 20 * 16));
  p = madd(p, u, v128.load(TABLE, 21 * 16));
  p = madd(p, u, v128.load(TABLE, 22 * 16));
  return f32x4.mul(x, madd(c, p, v128.load(TABLE, 9 * 16)));
}

// @ts-ignore: decorator
@inline
export function sum4(x: v128): f32 {
  return (
    f32x4.extract_lane(x, 0) + f32x4.extract_lane(x, 2) + (f32x4.extract_lane(x, 1) + f32x4.extract_lane(x, 3))
  );
}

// @ts-ignore: decorator
@inline
export function max4(x: v128): f32 {
  return max<f32>(
    max<f32>(f32x4.extract_lane(x, 0), f32x4.extract_lane(x, 2)),
    max<f32>(f32x4.extract_lane(x, 1), f32x4.extract_lane(x, 3)),
  );
}

// @ts-ignore: decorator
@inline
export function min4(x: v128): f32 {
  return min<f32>(
    min<f32>(f32x4.extract_lane(x, 0), f32x4.extract_lane(x, 2)),
    min<f32>(f32x4.extract_lane(x, 1), f32x4.extract_lane(x, 3)),
  );
}

/** Field `n` of a parameter block of int32. */
// @ts-ignore: decorator
@inline
export function field(block: usize, n: i32): i32 {
  return load<i32>(block + (n << 2));
}

/** Activations of an epilogue. */
export const NONE = 0;
export const RELU = 1;
export const GELU = 2;

// @ts-ignore: decorator
@inline
export function activate4(x: v128, activation: i32): v128 {
  if (activation == RELU) return larger(x, f32x4.splat(0));
  if (activation == GELU) return gelu4(x);
  return x;
}

/** The first `count` lanes of a vector to memory. */
export function storeLanes(at: usize, x: v128, count: i32): void {
  if (count > 0) v128.store_lane<f32>(at, x, 0);
  if (count > 1) v128.store_lane<f32>(at, x, 1, 4);
  if (count > 2) v128.store_lane<f32>(at, x, 2, 8);
  if (count > 3) v128.store_lane<f32>(at, x, 3, 12);
}

/** The first `count` lanes from memory, zeros behind them. */
export function loadLanes(at: usize, count: i32): v128 {
  if (count >= 4) return v128.load(at);
  let x = f32x4.splat(0);
  if (count > 0) x = v128.load_lane<f32>(at, x, 0);
  if (count > 1) x = v128.load_lane<f32>(at, x, 1, 4);
  if (count > 2) x = v128.load_lane<f32>(at, x, 2, 8);
  return x;
}
