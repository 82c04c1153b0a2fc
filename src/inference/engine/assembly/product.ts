import { activate4, dotQuads, dotPairs, field, loadLanes, madd, storeLanes } from "./lanes";

// Products of rows and weights: linears, and convolutions as the same loop over the segments of a padded image.
//
// A parameter block (int32, pointers and distances in bytes):
//   0 input     1 distance of lines   2 distance of pixels   3 lines   4 pixels of a line
//   5 table of segments' offsets      6 segments             7 bytes of a segment
//   8 weights [ceil(N/8)][segments][K][8] (float32) or [ceil(N/8)][segments][K/4][8][4] (int8)        9 N
//  10 scales of columns (int8)       11 sums of columns' weights times their scale (int8)            12 bias, padded to 8
//  13 (scale, low) of each row (int8)                        14 distance of those: 8, or 0 for one of all
//  15 output   16 offsets of output rows, or 0               17 distance of output rows
//  18 offsets of blocks of 8 columns, or 0                   19 residual, addressed as the output, or 0
//  20 activation                     21 table of input rows' offsets, or 0 (float32)
//  22 bytes of a row whose products fit 16 bits (productI4)
//
// An 8-bit activation q of a row with scale s and low l stands for l + s·q, so a sum over it is s·Σqw + l·Σw.
//
// The kernels are one loop three times, because accumulators must be locals to live in registers: four rows by eight columns.

/** Rows at a time: their activations and one panel of weights stay in the first-level cache. */
const BLOCK: i32 = 64;

/** Eight columns of one row: residual, activation, store. */
// @ts-ignore: decorator
@inline
function put(out: usize, residual: usize, to: usize, activation: i32, left: i32, v0: v128, v1: v128): void {
  if (left >= 8) {
    if (residual) {
      v0 = f32x4.add(v0, v128.load(residual + to));
      v1 = f32x4.add(v1, v128.load(residual + to, 16));
    }
    if (activation) {
      v0 = activate4(v0, activation);
      v1 = activate4(v1, activation);
    }
    v128.store(out + to, v0);
    v128.store(out + to, v1, 16);
  } else putPart(out, residual, to, activation, left, v0, v1);
}

function putPart(out: usize, residual: usize, to: usize, activation: i32, left: i32, v0: v128, v1: v128): void {
  if (residual) {
    v0 = f32x4.add(v0, loadLanes(residual + to, left));
    if (left > 4) v1 = f32x4.add(v1, loadLanes(residual + to + 16, left - 4));
  }
  storeLanes(out + to, activate4(v0, activation), left);
  if (left > 4) storeLanes(out + to + 16, activate4(v1, activation), left - 4);
}

// @ts-ignore: decorator
@inline
function rowOffset(rows: usize, step: i32, row: i32): usize {
  return rows ? load<i32>(rows + (<usize>row << 2)) : row * step;
}

/** Integer sums of eight columns → their values. */
// @ts-ignore: decorator
@inline
function scaled(sum: v128, range: usize, scale: v128, columnSum: v128, bias: v128): v128 {
  return madd(
    f32x4.convert_i32x4_s(sum),
    f32x4.mul(v128.load32_splat(range), scale),
    madd(v128.load32_splat(range, 4), columnSum, bias),
  );
}

/** Activations of 7 bits times weights of 8 bits. */
export function productI8(p: usize): void {
  const input = <usize>field(p, 0), lineStep = field(p, 1), pixelStep = field(p, 2);
  const lines = field(p, 3), width = field(p, 4);
  const table = <usize>field(p, 5), segments = field(p, 6), length = <usize>field(p, 7);
  const N = field(p, 9), ranges = <usize>field(p, 13), rangeStep = field(p, 14);
  const out = <usize>field(p, 15), rows = <usize>field(p, 16), rowStep = field(p, 17);
  const columns = <usize>field(p, 18), residual = <usize>field(p, 19), activation = field(p, 20);
  const panel = segments * <i32>length * 8;
  for (let y = 0; y < lines; y++) {
    const line = input + y * lineStep;
    for (let from = 0; from < width; from += BLOCK) {
      const to = min(from + BLOCK, width);
      let panelAt = <usize>field(p, 8);
      for (let n = 0; n < N; n += 8, panelAt += panel) {
        const own = <usize>n << 2, left = N - n;
        const scale0 = v128.load(<usize>field(p, 10) + own), scale1 = v128.load(<usize>field(p, 10) + own, 16);
        const sum0 = v128.load(<usize>field(p, 11) + own), sum1 = v128.load(<usize>field(p, 11) + own, 16);
        const bias0 = v128.load(<usize>field(p, 12) + own), bias1 = v128.load(<usize>field(p, 12) + own, 16);
        const base = columns ? load<i32>(columns + (own >> 3)) : <i32>own;
        for (let x = from; x < to; x += 4) {
          const count = to - x;
          const a0 = line + x * pixelStep;
          // Rows beyond the last repeat it, and are not stored.
          const a1 = count > 1 ? a0 + pixelStep : a0;
          const a2 = count > 2 ? a1 + pixelStep : a1;
          const a3 = count > 3 ? a2 + pixelStep : a2;
          let c00 = i32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
          let w = panelAt;
          for (let s = 0; s < segments; s++) {
            const offset = load<i32>(table + (<usize>s << 2));
            const p0 = a0 + offset, p1 = a1 + offset, p2 = a2 + offset, p3 = a3 + offset;
            for (let k: usize = 0; k < length; k += 4) {
              const w0 = v128.load(w), w1 = v128.load(w, 16);
              w += 32;
              let v = v128.load32_splat(p0 + k);
              c00 = dotQuads(w0, v, c00);
              c01 = dotQuads(w1, v, c01);
              v = v128.load32_splat(p1 + k);
              c10 = dotQuads(w0, v, c10);
              c11 = dotQuads(w1, v, c11);
              v = v128.load32_splat(p2 + k);
              c20 = dotQuads(w0, v, c20);
              c21 = dotQuads(w1, v, c21);
              v = v128.load32_splat(p3 + k);
              c30 = dotQuads(w0, v, c30);
              c31 = dotQuads(w1, v, c31);
            }
          }
          const row = y * width + x;
          let range = ranges + row * rangeStep;
          put(out, residual, rowOffset(rows, rowStep, row) + base, activation, left,
            scaled(c00, range, scale0, sum0, bias0), scaled(c01, range, scale1, sum1, bias1));
          if (count < 2) continue;
          range += rangeStep;
          put(out, residual, rowOffset(rows, rowStep, row + 1) + base, activation, left,
            scaled(c10, range, scale0, sum0, bias0), scaled(c11, range, scale1, sum1, bias1));
          if (count < 3) continue;
          range += rangeStep;
          put(out, residual, rowOffset(rows, rowStep, row + 2) + base, activation, left,
            scaled(c20, range, scale0, sum0, bias0), scaled(c21, range, scale1, sum1, bias1));
          if (count < 4) continue;
          range += rangeStep;
          put(out, residual, rowOffset(rows, rowStep, row + 3) + base, activation, left,
            scaled(c30, range, scale0, sum0, bias0), scaled(c31, range, scale1, sum1, bias1));
        }
      }
    }
  }
}

/** As productI8 for one segment and weights so small (4 bits) that several products fit 16 bits: a third fewer instructions. */
export function productI4(p: usize): void {
  const input = <usize>field(p, 0), pixelStep = field(p, 2), width = field(p, 4), length = <usize>field(p, 7);
  const N = field(p, 9), ranges = <usize>field(p, 13), rangeStep = field(p, 14);
  const out = <usize>field(p, 15), rows = <usize>field(p, 16), rowStep = field(p, 17);
  const columns = <usize>field(p, 18), residual = <usize>field(p, 19), activation = field(p, 20);
  const chunk = <usize>field(p, 22);
  const panel = length * 8;
  for (let from = 0; from < width; from += BLOCK) {
    const to = min(from + BLOCK, width);
    let panelAt = <usize>field(p, 8);
    for (let n = 0; n < N; n += 8, panelAt += panel) {
      const own = <usize>n << 2, left = N - n;
      const scale0 = v128.load(<usize>field(p, 10) + own), scale1 = v128.load(<usize>field(p, 10) + own, 16);
      const sum0 = v128.load(<usize>field(p, 11) + own), sum1 = v128.load(<usize>field(p, 11) + own, 16);
      const bias0 = v128.load(<usize>field(p, 12) + own), bias1 = v128.load(<usize>field(p, 12) + own, 16);
      const base = columns ? load<i32>(columns + (own >> 3)) : <i32>own;
      for (let row = from; row < to; row += 4) {
        const count = to - row;
        const p0 = input + row * pixelStep;
        const p1 = count > 1 ? p0 + pixelStep : p0;
        const p2 = count > 2 ? p1 + pixelStep : p1;
        const p3 = count > 3 ? p2 + pixelStep : p2;
        let c00 = i32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
        let w = panelAt;
        for (let start: usize = 0; start < length; start += chunk) {
          const end = min(start + chunk, length);
          let e00 = i32x4.splat(0), e01 = e00, e10 = e00, e11 = e00, e20 = e00, e21 = e00, e30 = e00, e31 = e00;
          for (let k = start; k < end; k += 4) {
            const w0 = v128.load(w), w1 = v128.load(w, 16);
            w += 32;
            let v = v128.load32_splat(p0 + k);
            e00 = dotPairs(w0, v, e00);
            e01 = dotPairs(w1, v, e01);
            v = v128.load32_splat(p1 + k);
            e10 = dotPairs(w0, v, e10);
            e11 = dotPairs(w1, v, e11);
            v = v128.load32_splat(p2 + k);
            e20 = dotPairs(w0, v, e20);
            e21 = dotPairs(w1, v, e21);
            v = v128.load32_splat(p3 + k);
            e30 = dotPairs(w0, v, e30);
            e31 = dotPairs(w1, v, e31);
          }
          c00 = i32x4.add(c00, i32x4.extadd_pairwise_i16x8_s(e00));
          c01 = i32x4.add(c01, i32x4.extadd_pairwise_i16x8_s(e01));
          c10 = i32x4.add(c10, i32x4.extadd_pairwise_i16x8_s(e10));
          c11 = i32x4.add(c11, i32x4.extadd_pairwise_i16x8_s(e11));
          c20 = i32x4.add(c20, i32x4.extadd_pairwise_i16x8_s(e20));
          c21 = i32x4.add(c21, i32x4.extadd_pairwise_i16x8_s(e21));
          c30 = i32x4.add(c30, i32x4.extadd_pairwise_i16x8_s(e30));
          c31 = i32x4.add(c31, i32x4.extadd_pairwise_i16x8_s(e31));
        }
        let range = ranges + row * rangeStep;
        put(out, residual, rowOffset(rows, rowStep, row) + base, activation, left,
          scaled(c00, range, scale0, sum0, bias0), scaled(c01, range, scale1, sum1, bias1));
        if (count < 2) continue;
        range += rangeStep;
        put(out, residual, rowOffset(rows, rowStep, row + 1) + base, activation, left,
          scaled(c10, range, scale0, sum0, bias0), scaled(c11, range, scale1, sum1, bias1));
        if (count < 3) continue;
        range += rangeStep;
        put(out, residual, rowOffset(rows, rowStep, row + 2) + base, activation, left,
          scaled(c20, range, scale0, sum0, bias0), scaled(c21, range, scale1, sum1, bias1));
        if (count < 4) continue;
        range += rangeStep;
        put(out, residual, rowOffset(rows, rowStep, row + 3) + base, activation, left,
          scaled(c30, range, scale0, sum0, bias0), scaled(c31, range, scale1, sum1, bias1));
      }
    }
  }
}

/** float32 times float32; the input may be addressed by rows. */
export function productF32(p: usize): void {
  const input = <usize>field(p, 0), lineStep = field(p, 1), pixelStep = field(p, 2);
  const lines = field(p, 3), width = field(p, 4);
  const table = <usize>field(p, 5), segments = field(p, 6), length = <usize>field(p, 7);
  const N = field(p, 9), inputRows = <usize>field(p, 21);
  const out = <usize>field(p, 15), rows = <usize>field(p, 16), rowStep = field(p, 17);
  const columns = <usize>field(p, 18), residual = <usize>field(p, 19), activation = field(p, 20);
  const panel = segments * <i32>length * 8;
  for (let y = 0; y < lines; y++) {
    const line = input + y * lineStep;
    for (let from = 0; from < width; from += BLOCK) {
      const to = min(from + BLOCK, width);
      let panelAt = <usize>field(p, 8);
      for (let n = 0; n < N; n += 8, panelAt += panel) {
        const own = <usize>n << 2, left = N - n;
        const bias0 = v128.load(<usize>field(p, 12) + own), bias1 = v128.load(<usize>field(p, 12) + own, 16);
        const base = columns ? load<i32>(columns + (own >> 3)) : <i32>own;
        for (let x = from; x < to; x += 4) {
          const count = to - x;
          const row = y * width + x;
          let a0: usize, a1: usize, a2: usize, a3: usize;
          if (inputRows) {
            const at = inputRows + (<usize>row << 2);
            a0 = input + load<i32>(at);
            a1 = count > 1 ? input + load<i32>(at, 4) : a0;
            a2 = count > 2 ? input + load<i32>(at, 8) : a1;
            a3 = count > 3 ? input + load<i32>(at, 12) : a2;
          } else {
            a0 = line + x * pixelStep;
            a1 = count > 1 ? a0 + pixelStep : a0;
            a2 = count > 2 ? a1 + pixelStep : a1;
            a3 = count > 3 ? a2 + pixelStep : a2;
          }
          let c00 = bias0, c01 = bias1, c10 = bias0, c11 = bias1, c20 = bias0, c21 = bias1, c30 = bias0, c31 = bias1;
          let w = panelAt;
          for (let s = 0; s < segments; s++) {
            const offset = load<i32>(table + (<usize>s << 2));
            const p0 = a0 + offset, p1 = a1 + offset, p2 = a2 + offset, p3 = a3 + offset;
            for (let k: usize = 0; k < length; k += 4) {
              const w0 = v128.load(w), w1 = v128.load(w, 16);
              w += 32;
              let v = v128.load32_splat(p0 + k);
              c00 = madd(w0, v, c00);
              c01 = madd(w1, v, c01);
              v = v128.load32_splat(p1 + k);
              c10 = madd(w0, v, c10);
              c11 = madd(w1, v, c11);
              v = v128.load32_splat(p2 + k);
              c20 = madd(w0, v, c20);
              c21 = madd(w1, v, c21);
              v = v128.load32_splat(p3 + k);
              c30 = madd(w0, v, c30);
              c31 = madd(w1, v, c31);
            }
          }
          put(out, residual, rowOffset(rows, rowStep, row) + base, activation, left, c00, c01);
          if (count > 1) put(out, residual, rowOffset(rows, rowStep, row + 1) + base, activation, left, c10, c11);
          if (count > 2) put(out, residual, rowOffset(rows, rowStep, row + 2) + base, activation, left, c20, c21);
          if (count > 3) put(out, residual, rowOffset(rows, rowStep, row + 3) + base, activation, left, c30, c31);
        }
      }
    }
  }
}
