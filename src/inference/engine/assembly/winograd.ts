import { activate4, eight4, field, four4, madd, minusFive4, minusFour4, minusTwo4, two4 } from "./lanes";

/**
 * 3×3 convolutions of stride 1 by the minimal filtering algorithm F(4×4, 3×3) of Lavin and Gray (arXiv 1509.09308): a tile
 * of 6×6 samples gives 4×4 results with 36 products instead of 144. A dilated convolution is one of distance 1 over each of
 * the interleaved images ("phases") of every dilation-th line and column.
 *
 *   0 input, with a border, channels last   1 bytes of a line   2 channels C (a multiple of 4)   3 N (a multiple of 4)
 *   4 weights [36][ceil(N/8)][C][8]   5 bias, padded to 8   6 output [height][width][N]   7 height   8 width
 *   9 dilation y   10 dilation x   11 activation
 *  12 scratch: tiles [36][T][C], products [36][T][round8(N)], one tile [36][4], with T tiles of a line of them
 */
export function winograd(p: usize): void {
  const height = field(p, 7), width = field(p, 8), dilationY = field(p, 9), dilationX = field(p, 10);
  const C = field(p, 2), N = field(p, 3), columns = (N + 7) & ~7;
  const across = ((width + dilationX - 1) / dilationX + 3) / 4;
  const down = ((height + dilationY - 1) / dilationY + 3) / 4;
  const tiles = across * dilationX;
  const turned = <usize>field(p, 12);
  const products = turned + 36 * tiles * (C << 2);
  const tile = products + 36 * tiles * (columns << 2);
  for (let phaseY = 0; phaseY < dilationY; phaseY++) {
    for (let ty = 0; ty < down; ty++) {
      const y = phaseY + 4 * ty * dilationY;
      for (let phaseX = 0; phaseX < dilationX; phaseX++) {
        for (let tx = 0; tx < across; tx++) {
          const x = phaseX + 4 * tx * dilationX;
          turnInput(p, y, x, turned + (phaseX * across + tx) * (C << 2), tiles * (C << 2), tile);
        }
      }
      multiply(p, tiles, turned, products);
      for (let phaseX = 0; phaseX < dilationX; phaseX++) {
        for (let tx = 0; tx < across; tx++) {
          const x = phaseX + 4 * tx * dilationX;
          const from = products + (phaseX * across + tx) * (columns << 2);
          turnOutput(p, y, x, from, tiles * (columns << 2), tile);
        }
      }
    }
  }
}

/** Bᵀ·d·B of each channel: columns into `tile`, then its rows to `to`, one each `step`. */
function turnInput(p: usize, y: i32, x: i32, to: usize, step: i32, tile: usize): void {
  const C = field(p, 2), lineBytes = field(p, 1);
  const line = <usize>(lineBytes * field(p, 9)), column = <usize>((C << 2) * field(p, 10));
  const from = <usize>field(p, 0) + y * lineBytes + x * (C << 2);
  for (let c: usize = 0; c < <usize>(C << 2); c += 16) {
    let at = from + c;
    for (let s: usize = 0; s < 96; s += 16, at += column) {
      let row = at;
      const d0 = v128.load(row);
      row += line;
      const d1 = v128.load(row);
      row += line;
      const d2 = v128.load(row);
      row += line;
      const d3 = v128.load(row);
      row += line;
      const d4 = v128.load(row);
      row += line;
      const d5 = v128.load(row);
      const a = madd(minusFour4(), d2, d4), b = madd(minusFour4(), d1, d3);
      const e = f32x4.sub(d4, d2), f = f32x4.sub(d3, d1);
      const out = tile + s;
      v128.store(out, madd(four4(), d0, madd(minusFive4(), d2, d4)));
      v128.store(out, f32x4.add(a, b), 96);
      v128.store(out, f32x4.sub(a, b), 192);
      v128.store(out, madd(two4(), f, e), 288);
      v128.store(out, madd(minusTwo4(), f, e), 384);
      v128.store(out, madd(four4(), d1, madd(minusFive4(), d3, d5)), 480);
    }
    let out = to + c;
    for (let row = tile; row < tile + 576; row += 96) {
      const d0 = v128.load(row), d1 = v128.load(row, 16), d2 = v128.load(row, 32);
      const d3 = v128.load(row, 48), d4 = v128.load(row, 64), d5 = v128.load(row, 80);
      const a = madd(minusFour4(), d2, d4), b = madd(minusFour4(), d1, d3);
      const e = f32x4.sub(d4, d2), f = f32x4.sub(d3, d1);
      v128.store(out, madd(four4(), d0, madd(minusFive4(), d2, d4)));
      out += step;
      v128.store(out, f32x4.add(a, b));
      out += step;
      v128.store(out, f32x4.sub(a, b));
      out += step;
      v128.store(out, madd(two4(), f, e));
      out += step;
      v128.store(out, madd(minusTwo4(), f, e));
      out += step;
      v128.store(out, madd(four4(), d1, madd(minusFive4(), d3, d5)));
      out += step;
    }
  }
}

/** For each of the 36 places: tiles [T][C] times weights [C][N]. */
function multiply(p: usize, tiles: i32, turned: usize, products: usize): void {
  const bytes = <usize>(field(p, 2) << 2), N = field(p, 3);
  const columns = <usize>(((N + 7) & ~7) << 2);
  let w = <usize>field(p, 4);
  for (let place = 0; place < 36; place++) {
    for (let n: usize = 0; n < columns; n += 32, w += bytes << 3) {
      for (let t = 0; t < tiles; t += 4) {
        const count = tiles - t;
        const a0 = turned + <usize>t * bytes;
        const a1 = count > 1 ? a0 + bytes : a0;
        const a2 = count > 2 ? a1 + bytes : a1;
        const a3 = count > 3 ? a2 + bytes : a2;
        let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
        let panel = w;
        for (let k: usize = 0; k < bytes; k += 4, panel += 32) {
          const w0 = v128.load(panel), w1 = v128.load(panel, 16);
          let v = v128.load32_splat(a0 + k);
          c00 = madd(w0, v, c00);
          c01 = madd(w1, v, c01);
          v = v128.load32_splat(a1 + k);
          c10 = madd(w0, v, c10);
          c11 = madd(w1, v, c11);
          v = v128.load32_splat(a2 + k);
          c20 = madd(w0, v, c20);
          c21 = madd(w1, v, c21);
          v = v128.load32_splat(a3 + k);
          c30 = madd(w0, v, c30);
          c31 = madd(w1, v, c31);
        }
        let out = products + <usize>t * columns + n;
        v128.store(out, c00);
        v128.store(out, c01, 16);
        if (count < 2) continue;
        out += columns;
        v128.store(out, c10);
        v128.store(out, c11, 16);
        if (count < 3) continue;
        out += columns;
        v128.store(out, c20);
        v128.store(out, c21, 16);
        if (count < 4) continue;
        out += columns;
        v128.store(out, c30);
        v128.store(out, c31, 16);
      }
    }
    turned += <usize>tiles * bytes;
    products += <usize>tiles * columns;
  }
}

/** Aᵀ·m·A of each column of the weights, bias, activation; results beyond the image are left out. */
function turnOutput(p: usize, y: i32, x: i32, from: usize, step: i32, tile: usize): void {
  const N = field(p, 3), height = field(p, 7), width = field(p, 8), activation = field(p, 11);
  const dilationY = field(p, 9), dilationX = field(p, 10);
  // Later phases may have a tile less.
  if (x >= width) return;
  const place = <usize>step, line = place * 6;
  const columnBytes = (N << 2) * dilationX;
  for (let n: usize = 0; n < <usize>(N << 2); n += 16) {
    const bias = v128.load(<usize>field(p, 5) + n);
    let at = from + n;
    for (let s: usize = 0; s < 96; s += 16, at += place) {
      let row = at;
      const m0 = v128.load(row);
      row += line;
      const m1 = v128.load(row);
      row += line;
      const m2 = v128.load(row);
      row += line;
      const m3 = v128.load(row);
      row += line;
      const m4 = v128.load(row);
      row += line;
      const m5 = v128.load(row);
      const a = f32x4.add(m1, m2), b = f32x4.sub(m1, m2), e = f32x4.add(m3, m4), f = f32x4.sub(m3, m4);
      const out = tile + s;
      v128.store(out, f32x4.add(m0, f32x4.add(a, e)));
      v128.store(out, madd(two4(), f, b), 96);
      v128.store(out, madd(four4(), e, a), 192);
      v128.store(out, f32x4.add(madd(eight4(), f, b), m5), 288);
    }
    for (let i = 0; i < 4; i++) {
      const toY = y + i * dilationY;
      if (toY >= height) break;
      const row = tile + i * 96;
      const m0 = v128.load(row), m1 = v128.load(row, 16), m2 = v128.load(row, 32);
      const m3 = v128.load(row, 48), m4 = v128.load(row, 64), m5 = v128.load(row, 80);
      const a = f32x4.add(m1, m2), b = f32x4.sub(m1, m2), e = f32x4.add(m3, m4), f = f32x4.sub(m3, m4);
      let to = <usize>field(p, 6) + (toY * width + x) * (N << 2) + n;
      v128.store(to, activate4(f32x4.add(f32x4.add(m0, f32x4.add(a, e)), bias), activation));
      if (x + dilationX >= width) continue;
      to += columnBytes;
      v128.store(to, activate4(f32x4.add(madd(two4(), f, b), bias), activation));
      if (x + 2 * dilationX >= width) continue;
      to += columnBytes;
      v128.store(to, activate4(f32x4.add(madd(four4(), e, a), bias), activation));
      if (x + 3 * dilationX >= width) continue;
      to += columnBytes;
      v128.store(to, activate4(f32x4.add(f32x4.add(madd(eight4(), f, b), m5), bias), activation));
    }
  }
}
