import { field, gelu4, larger, madd, max4, min4, round4, smaller, sum4 } from "./lanes";

// Rows of float32: norms, and rounding to 7 bits.
//
// A parameter block of a row kernel:
//   0 input   1 offsets of input rows, or 0   2 distance of input rows   3 rows   4 K
//   5 output  6 distance of output rows       7 (scale, low) of each row (quantizing)
//   8 gamma, or 0   9 beta, or 0   10 epsilon (float32 bits)   11 what is done first: 0 nothing, 1 layer norm, 2 GELU
//  12 scratch of K float32, padded to 16 bytes

// @ts-ignore: decorator
@inline
function rowAt(p: usize, m: i32): usize {
  const rows = <usize>field(p, 1);
  return <usize>field(p, 0) + (rows ? load<i32>(rows + (<usize>m << 2)) : m * field(p, 2));
}

/** Layer norm (Ba et al. 2016) of one row: mean and variance in two passes. */
function normalizeRow(p: usize, from: usize, to: usize): void {
  const K = field(p, 4);
  const whole = <usize>((K & ~3) << 2);
  const bytes = <usize>(K << 2);
  let sums = f32x4.splat(0);
  let i: usize = 0;
  for (; i < whole; i += 16) sums = f32x4.add(sums, v128.load(from + i));
  let sum = sum4(sums);
  for (; i < bytes; i += 4) sum += load<f32>(from + i);
  const mean = sum / <f32>K;
  const means = f32x4.splat(mean);
  sums = f32x4.splat(0);
  for (i = 0; i < whole; i += 16) {
    const d = f32x4.sub(v128.load(from + i), means);
    sums = f32x4.add(sums, f32x4.mul(d, d));
  }
  let squares = sum4(sums);
  for (; i < bytes; i += 4) {
    const d = load<f32>(from + i) - mean;
    squares += d * d;
  }
  const inverse: f32 = 1.0 / sqrt<f32>(squares / <f32>K + reinterpret<f32>(field(p, 10)));
  const inverses = f32x4.splat(inverse);
  const gamma = <usize>field(p, 8);
  const beta = <usize>field(p, 9);
  for (i = 0; i < whole; i += 16) {
    const scaled = f32x4.mul(f32x4.sub(v128.load(from + i), means), inverses);
    v128.store(to + i, f32x4.add(f32x4.mul(scaled, v128.load(gamma + i)), v128.load(beta + i)));
  }
  for (; i < bytes; i += 4) {
    store<f32>(to + i, (load<f32>(from + i) - mean) * inverse * load<f32>(gamma + i) + load<f32>(beta + i));
  }
}

export function layerNorm(p: usize): void {
  const rows = field(p, 3);
  let to = <usize>field(p, 5);
  for (let m = 0; m < rows; m++, to += field(p, 6)) normalizeRow(p, rowAt(p, m), to);
}

function geluRow(from: usize, to: usize, K: i32): void {
  const bytes = <usize>(K << 2);
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) v128.store(to + i, gelu4(v128.load(from + i)));
  for (; i < bytes; i += 4) v128.store_lane<f32>(to + i, gelu4(v128.load32_splat(from + i)), 0);
}

/** Four floats to integers of 0 to 127 in int32 lanes. */
// @ts-ignore: decorator
@inline
function toLevels(x: v128, low: v128, inverse: v128): v128 {
  // The bits of 1.5·2^23 and an integer, less those of 1.5·2^23.
  return i32x4.sub(madd(f32x4.sub(x, low), inverse, round4()), round4());
}

/** `count` floats to as many bytes of 0 to 127. */
function toBytes(from: usize, to: usize, count: i32, low: f32, inverse: f32): void {
  const lows = f32x4.splat(low);
  const inverses = f32x4.splat(inverse);
  let i = 0;
  for (; i + 16 <= count; i += 16, from += 64) {
    const a = i16x8.narrow_i32x4_s(
      toLevels(v128.load(from), lows, inverses),
      toLevels(v128.load(from, 16), lows, inverses),
    );
    const b = i16x8.narrow_i32x4_s(
      toLevels(v128.load(from, 32), lows, inverses),
      toLevels(v128.load(from, 48), lows, inverses),
    );
    v128.store(to + i, i8x16.narrow_i16x8_s(a, b));
  }
  for (; i < count; i++, from += 4) {
    const level = i32x4.extract_lane(toLevels(v128.load32_splat(from), lows, inverses), 0);
    store<u8>(to + i, <u8>max(0, min(127, level)));
  }
}

/** Each row to 7 bits over its own range. Bytes behind K, up to the output's distance, are 0. */
export function quantizeRows(p: usize): void {
  const rows = field(p, 3);
  const K = field(p, 4);
  const before = field(p, 11);
  const scratch = <usize>field(p, 12);
  const step = field(p, 6);
  let to = <usize>field(p, 5);
  let ranges = <usize>field(p, 7);
  for (let m = 0; m < rows; m++, to += step, ranges += 8) {
    let from = rowAt(p, m);
    if (before == 1) {
      normalizeRow(p, from, scratch);
      from = scratch;
    } else if (before == 2) {
      geluRow(from, scratch, K);
      from = scratch;
    }
    const bytes = <usize>(K << 2);
    let lows = v128.load32_splat(from);
    let highs = lows;
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) {
      const x = v128.load(from + i);
      lows = smaller(lows, x);
      highs = larger(highs, x);
    }
    for (; i < bytes; i += 4) {
      const x = v128.load32_splat(from + i);
      lows = smaller(lows, x);
      highs = larger(highs, x);
    }
    const low = min4(lows);
    const range = max4(highs) - low;
    store<f32>(ranges, range / 127.0);
    store<f32>(ranges, low, 4);
    toBytes(from, to, K, low, range > 0 ? 127.0 / range : 0);
    for (let k = K; k < step; k++) store<u8>(to + k, 0);
  }
}
