import { exp4, field, larger, madd, max4, storeLanes, sum4 } from "./lanes";

/**
 * softmax(scale·Q·Kᵀ + A + B)·V for each batch (attention window and head).
 *   0 batches   1 T queries   2 S keys   3 d, of queries and keys   4 e, of values
 *   5, 6, 7 tables of offsets of Q, K, V a batch   8, 9, 10 their bases   11, 12, 13 distances of their rows
 *  14 scale (float32 bits)   15 table of two matrices a batch, addresses; the second may be 0. Each [T][round8(S)], and
 *     so negative beyond S that nothing of those columns is left
 *  16 output base   17 table of output offsets a batch   18 distance of output rows
 *  19 scratch: Kᵀ [d][round8(S)], V [S][round8(e)], scores [4][round8(S)], four maxima, four reciprocals
 */
export function attention(p: usize): void {
  const batches = field(p, 0), T = field(p, 1), S = field(p, 2), d = field(p, 3), e = field(p, 4);
  const keyBytes = <usize>(((S + 7) & ~7) << 2);
  const valueBytes = <usize>(((e + 7) & ~7) << 2);
  const keys = <usize>field(p, 19);
  const copy = keys + <usize>d * keyBytes;
  const scores = copy + <usize>S * valueBytes;
  const highs = scores + 4 * keyBytes, inverses = highs + 16;
  // Rows of whole blocks of eight are read where they lie.
  const direct = (e & 7) == 0;
  const valueStep = direct ? <usize>field(p, 13) : valueBytes;
  for (let b = 0; b < batches; b++) {
    const at = <usize>b << 2;
    const q = <usize>(field(p, 8) + load<i32>(<usize>field(p, 5) + at));
    const v = <usize>(field(p, 10) + load<i32>(<usize>field(p, 7) + at));
    turnKeys(p, <usize>(field(p, 9) + load<i32>(<usize>field(p, 6) + at)), keys, keyBytes);
    if (!direct) copyValues(p, v, copy, valueBytes);
    const out = <usize>(field(p, 16) + load<i32>(<usize>field(p, 17) + at));
    const extra = <usize>field(p, 15) + (<usize>b << 3);
    const first = <usize>load<i32>(extra), second = <usize>load<i32>(extra, 4);
    for (let t = 0; t < T; t += 4) {
      const count = min(4, T - t);
      scoreRows(p, q, t, count, keys, keyBytes, scores, first, second, highs);
      for (let r = 0; r < count; r++) {
        const own = <usize>r << 2;
        store<f32>(inverses + own, softmaxRow(scores + <usize>r * keyBytes, keyBytes, load<f32>(highs + own)));
      }
      weighValues(p, out, t, count, direct ? v : copy, valueStep, scores, keyBytes, inverses);
    }
  }
}

/** scale·K, transposed: four keys by four values at a time. */
function turnKeys(p: usize, from: usize, keys: usize, keyBytes: usize): void {
  const S = field(p, 2), d = field(p, 3);
  const step = <usize>field(p, 12);
  const scale = reinterpret<f32>(field(p, 14));
  const scales = f32x4.splat(scale);
  let s = 0;
  if ((d & 3) == 0) {
    for (; s + 4 <= S; s += 4) {
      const source = from + <usize>s * step;
      let to = keys + (<usize>s << 2);
      for (let i: usize = 0; i < <usize>(d << 2); i += 16) {
        const a = v128.load(source + i), b = v128.load(source + step + i);
        const c = v128.load(source + 2 * step + i), e = v128.load(source + 3 * step + i);
        const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5), ab2 = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
        const ce = v128.shuffle<i32>(c, e, 0, 4, 1, 5), ce2 = v128.shuffle<i32>(c, e, 2, 6, 3, 7);
        v128.store(to, f32x4.mul(scales, v128.shuffle<i64>(ab, ce, 0, 2)));
        to += keyBytes;
        v128.store(to, f32x4.mul(scales, v128.shuffle<i64>(ab, ce, 1, 3)));
        to += keyBytes;
        v128.store(to, f32x4.mul(scales, v128.shuffle<i64>(ab2, ce2, 0, 2)));
        to += keyBytes;
        v128.store(to, f32x4.mul(scales, v128.shuffle<i64>(ab2, ce2, 1, 3)));
        to += keyBytes;
      }
    }
  }
  for (; s < S; s++) {
    const source = from + <usize>s * step;
    let to = keys + (<usize>s << 2);
    for (let i = 0; i < d; i++, to += keyBytes) store<f32>(to, scale * load<f32>(source + (<usize>i << 2)));
  }
  for (let i = 0; i < d; i++) {
    for (let at: usize = <usize>S << 2; at < keyBytes; at += 4) store<f32>(keys + <usize>i * keyBytes + at, 0);
  }
}

function copyValues(p: usize, from: usize, values: usize, valueBytes: usize): void {
  const S = field(p, 2);
  const bytes = <usize>(field(p, 4) << 2);
  const step = field(p, 13);
  for (let s = 0; s < S; s++, from += step, values += valueBytes) {
    let i: usize = 0;
    for (; i < bytes; i += 4) store<f32>(values + i, load<f32>(from + i));
    for (; i < valueBytes; i += 4) store<f32>(values + i, 0);
  }
}

// @ts-ignore: decorator
@inline
function addition(first: usize, second: usize, at: usize): v128 {
  const x = v128.load(first + at);
  return second ? f32x4.add(x, v128.load(second + at)) : x;
}

/** Four rows of Q times Kᵀ, onto what is added to them, and their maxima. */
// @ts-ignore: decorator
@inline
function scoreRows(
  p: usize,
  q: usize,
  t: i32,
  count: i32,
  keys: usize,
  keyBytes: usize,
  scores: usize,
  first: usize,
  second: usize,
  highs: usize,
): void {
  const step = field(p, 11), d = <usize>(field(p, 3) << 2);
  const q0 = q + t * step;
  const q1 = count > 1 ? q0 + step : q0;
  const q2 = count > 2 ? q1 + step : q1;
  const q3 = count > 3 ? q2 + step : q2;
  const r0 = <usize>t * keyBytes;
  const r1 = count > 1 ? r0 + keyBytes : r0;
  const r2 = count > 2 ? r1 + keyBytes : r1;
  const r3 = count > 3 ? r2 + keyBytes : r2;
  let m0 = f32x4.splat(-Infinity), m1 = m0, m2 = m0, m3 = m0;
  for (let s: usize = 0; s < keyBytes; s += 32) {
    let c00 = addition(first, second, r0 + s), c01 = addition(first, second, r0 + s + 16);
    let c10 = addition(first, second, r1 + s), c11 = addition(first, second, r1 + s + 16);
    let c20 = addition(first, second, r2 + s), c21 = addition(first, second, r2 + s + 16);
    let c30 = addition(first, second, r3 + s), c31 = addition(first, second, r3 + s + 16);
    let k = keys + s;
    for (let i: usize = 0; i < d; i += 4, k += keyBytes) {
      const k0 = v128.load(k), k1 = v128.load(k, 16);
      let v = v128.load32_splat(q0 + i);
      c00 = madd(k0, v, c00);
      c01 = madd(k1, v, c01);
      v = v128.load32_splat(q1 + i);
      c10 = madd(k0, v, c10);
      c11 = madd(k1, v, c11);
      v = v128.load32_splat(q2 + i);
      c20 = madd(k0, v, c20);
      c21 = madd(k1, v, c21);
      v = v128.load32_splat(q3 + i);
      c30 = madd(k0, v, c30);
      c31 = madd(k1, v, c31);
    }
    let to = scores + s;
    v128.store(to, c00);
    v128.store(to, c01, 16);
    to += keyBytes;
    v128.store(to, c10);
    v128.store(to, c11, 16);
    to += keyBytes;
    v128.store(to, c20);
    v128.store(to, c21, 16);
    to += keyBytes;
    v128.store(to, c30);
    v128.store(to, c31, 16);
    m0 = larger(larger(m0, c00), c01);
    m1 = larger(larger(m1, c10), c11);
    m2 = larger(larger(m2, c20), c21);
    m3 = larger(larger(m3, c30), c31);
  }
  store<f32>(highs, max4(m0));
  store<f32>(highs, max4(m1), 4);
  store<f32>(highs, max4(m2), 8);
  store<f32>(highs, max4(m3), 12);
}

/** exp(row - high) in place; returns 1 / sum. Columns beyond the keys add exp(-87), which no sum of at least 1 can hold. */
// @ts-ignore: decorator
@inline
function softmaxRow(row: usize, bytes: usize, high: f32): f32 {
  const highs = f32x4.splat(high);
  let sums = f32x4.splat(0), others = sums;
  for (let i: usize = 0; i < bytes; i += 32) {
    const x = exp4(f32x4.sub(v128.load(row + i), highs));
    const y = exp4(f32x4.sub(v128.load(row + i, 16), highs));
    v128.store(row + i, x);
    v128.store(row + i, y, 16);
    sums = f32x4.add(sums, x);
    others = f32x4.add(others, y);
  }
  return <f32>1.0 / sum4(f32x4.add(sums, others));
}

/** Four rows of probabilities times V. */
// @ts-ignore: decorator
@inline
function weighValues(
  p: usize,
  out: usize,
  t: i32,
  count: i32,
  values: usize,
  valueStep: usize,
  scores: usize,
  keyBytes: usize,
  inverses: usize,
): void {
  const S = <usize>(field(p, 2) << 2), e = field(p, 4), step = field(p, 18);
  const p1 = scores + keyBytes, p2 = p1 + keyBytes, p3 = p2 + keyBytes;
  for (let n = 0; n < e; n += 8) {
    let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
    let v = values + (<usize>n << 2);
    for (let s: usize = 0; s < S; s += 4, v += valueStep) {
      const v0 = v128.load(v), v1 = v128.load(v, 16);
      let x = v128.load32_splat(scores + s);
      c00 = madd(v0, x, c00);
      c01 = madd(v1, x, c01);
      x = v128.load32_splat(p1 + s);
      c10 = madd(v0, x, c10);
      c11 = madd(v1, x, c11);
      x = v128.load32_splat(p2 + s);
      c20 = madd(v0, x, c20);
      c21 = madd(v1, x, c21);
      x = v128.load32_splat(p3 + s);
      c30 = madd(v0, x, c30);
      c31 = madd(v1, x, c31);
    }
    let to = out + t * step + (<usize>n << 2);
    storeEight(to, c00, c01, v128.load32_splat(inverses), e - n);
    to += step;
    if (count > 1) storeEight(to, c10, c11, v128.load32_splat(inverses, 4), e - n);
    to += step;
    if (count > 2) storeEight(to, c20, c21, v128.load32_splat(inverses, 8), e - n);
    to += step;
    if (count > 3) storeEight(to, c30, c31, v128.load32_splat(inverses, 12), e - n);
  }
}

// @ts-ignore: decorator
@inline
function storeEight(to: usize, a: v128, b: v128, factor: v128, left: i32): void {
  if (left >= 8) {
    v128.store(to, f32x4.mul(a, factor));
    v128.store(to, f32x4.mul(b, factor), 16);
  } else storePart(to, f32x4.mul(a, factor), f32x4.mul(b, factor), left);
}

function storePart(to: usize, a: v128, b: v128, left: i32): void {
  storeLanes(to, a, left);
  if (left > 4) storeLanes(to + 16, b, left - 4);
}
