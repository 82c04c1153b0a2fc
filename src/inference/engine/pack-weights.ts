import type { Weights } from "./steps.ts";

/** Columns that the kernels compute together. */
const COLUMNS = 8;

export interface PackedWeights {
  /** `[ceil(N/8)][K][8]` in float32, `[ceil(N/8)][K/4][8][4]` in int8. */
  data: Float32Array | Int8Array;
  /** Padded to whole blocks, as is what follows. */
  bias: Float32Array;
  scales?: Float32Array;
  /** The largest absolute value of int8 weights. */
  largest: number;
  /** Of each column: the sum of its weights times its scale, what an activation of 1 everywhere gives. */
  sums?: Float32Array;
}

const packed = new WeakMap<Weights, PackedWeights>();

/** Weights as the kernels read them; the same weights are packed once. */
export function packWeights(weights: Weights): PackedWeights {
  const known = packed.get(weights);
  if (known) return known;
  const made = pack(weights);
  packed.set(weights, made);
  return made;
}

function pack({ N, segments, segmentLength, data, scales, bias }: Weights): PackedWeights {
  const K = segments * segmentLength;
  const blocks = Math.ceil(N / COLUMNS);
  const padded = (values: (n: number) => number) =>
    Float32Array.from({ length: blocks * COLUMNS }, (_, n) => (n < N ? values(n) : 0));
  const group = scales ? 4 : 1;
  const panel = K * COLUMNS;
  const out = scales ? new Int8Array(blocks * panel) : new Float32Array(blocks * panel);
  let [least, most] = [0, 0];
  for (let n = 0; n < N; n++) {
    let to = Math.floor(n / COLUMNS) * panel + (n % COLUMNS) * group;
    for (let k = 0; k < K; k += group, to += COLUMNS * group) {
      for (let i = 0; i < group; i++) {
        const w = data[n * K + k + i]!;
        out[to + i] = w;
        if (w < least) least = w;
        if (w > most) most = w;
      }
    }
  }
  const result: PackedWeights = {
    data: out,
    bias: padded((n) => bias[n]!),
    largest: Math.max(1, -least, most),
  };
  if (!scales) return result;
  const sums = padded((n) => {
    let sum = 0;
    for (let k = 0; k < K; k++) sum += data[n * K + k]!;
    return sum * scales[n]!;
  });
  return { ...result, scales: padded((n) => scales[n]!), sums };
}
