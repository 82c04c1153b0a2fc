import type { Tensor } from "./tensor.ts";

/** Rows of G for F(4, 3) of Lavin and Gray (arXiv 1509.09308): 3 weights of a line → 6. */
const G = [
  [1 / 4, 0, 0],
  [-1 / 6, -1 / 6, -1 / 6],
  [-1 / 6, 1 / 6, -1 / 6],
  [1 / 24, 1 / 12, 1 / 6],
  [1 / 24, -1 / 12, 1 / 6],
  [0, 0, 1],
] as const;

const COLUMNS = 8;

/** What each of the 36 results of G·g·Gᵀ takes of each of the 9 weights. */
const SHARES = Float64Array.from({ length: 36 * 9 }, (_, at) => {
  const [place, i] = [Math.floor(at / 9), at % 9];
  return G[Math.floor(place / 6)]![Math.floor(i / 3)]! * G[place % 6]![i % 3]!;
});

/** G·g·Gᵀ of each kernel: weights [N, C, 3, 3] → `[36][ceil(N/8)][C][8]`. */
export function filterWeights(W: Tensor): Float32Array {
  const [N, channels] = W.shape as [number, number];
  const blocks = Math.ceil(N / COLUMNS);
  const out = new Float32Array(36 * blocks * channels * COLUMNS);
  const { data } = W;
  for (let n = 0; n < N; n++) {
    for (let c = 0; c < channels; c++) {
      const from = (n * channels + c) * 9;
      for (let place = 0; place < 36; place++) {
        let sum = 0;
        for (let i = 0; i < 9; i++) sum += SHARES[place * 9 + i]! * data[from + i]!;
        const block = place * blocks + Math.floor(n / COLUMNS);
        out[(block * channels + c) * COLUMNS + (n % COLUMNS)] = sum;
      }
    }
  }
  return out;
}
