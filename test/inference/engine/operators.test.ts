import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chain, floats, integers, KERNELS, noise, runGraph } from "../../builders/engine-graph.ts";

/** Both values and the largest sum of absolute products that led to one bound the error of float32. */
function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!);
    // NaN compares false with everything.
    if (!(difference <= worst)) worst = difference;
  }
  expect(worst).toBeLessThanOrEqual(tolerance);
}

interface Case {
  C: number;
  N: number;
  H: number;
  W: number;
  kernel: [number, number];
  strides: [number, number];
  dilations: [number, number];
  pads: [number, number, number, number];
  seed: number;
}

/** A convolution from its definition, in float64. */
function convolve(x: Float32Array, w: Float32Array, bias: Float32Array, c: Case, groups: number) {
  const { C, N, H, W, kernel, strides, dilations, pads } = c;
  const size = (n: number, i: 0 | 1) =>
    Math.floor((n + pads[i] + pads[i + 2]! - (kernel[i] - 1) * dilations[i] - 1) / strides[i]) + 1;
  const [outH, outW] = [size(H, 0), size(W, 1)];
  const perGroup = C / groups;
  const y = new Float64Array(N * outH * outW);
  for (let n = 0; n < N; n++) {
    const group = Math.floor((n * groups) / N);
    for (let i = 0; i < outH; i++) {
      for (let j = 0; j < outW; j++) {
        let sum = bias[n]!;
        for (let k = 0; k < perGroup; k++) {
          for (let a = 0; a < kernel[0]; a++) {
            for (let b = 0; b < kernel[1]; b++) {
              const [r, s] = [
                i * strides[0] - pads[0] + a * dilations[0],
                j * strides[1] - pads[1] + b * dilations[1],
              ];
              if (r < 0 || r >= H || s < 0 || s >= W) continue;
              const weight = w[((n * perGroup + k) * kernel[0] + a) * kernel[1] + b]!;
              sum += weight * x[((group * perGroup + k) * H + r) * W + s]!;
            }
          }
        }
        y[(n * outH + i) * outW + j] = sum;
      }
    }
  }
  return { y, shape: [1, N, outH, outW] };
}

const small = (most: number) => fc.integer({ min: 1, max: most });
const cases = fc
  .record({
    C: small(9),
    N: small(19),
    H: small(13),
    W: small(13),
    kernel: fc.tuple(small(5), small(5)),
    strides: fc.tuple(small(3), small(3)),
    dilations: fc.tuple(small(3), small(3)),
    pads: fc.tuple(fc.nat(4), fc.nat(4), fc.nat(4), fc.nat(4)),
    seed: fc.nat(),
  })
  .filter(({ H, W, kernel, dilations, pads }) => {
    return (
      H + pads[0] + pads[2] > (kernel[0] - 1) * dilations[0] &&
      W + pads[1] + pads[3] > (kernel[1] - 1) * dilations[1]
    );
  }) as fc.Arbitrary<Case>;

const convolutionOf = ({ kernel, strides, dilations, pads }: Case, group: number) => ({
  kernel_shape: [...kernel],
  strides: [...strides],
  dilations: [...dilations],
  pads: [...pads],
  group,
});

describe.each(KERNELS)("operators, relaxed $relaxed", (kernels) => {
  async function checkConvolution(c: Case, groups: number): Promise<void> {
    const [w, bias] = [floats([c.N, c.C / groups, ...c.kernel], c.seed), floats([c.N], c.seed + 1)];
    const x = noise(c.C * c.H * c.W, c.seed + 2);
    const graph = chain({ operator: "Conv", constants: [w, bias], attributes: convolutionOf(c, groups) });
    const { data, shape } = await runGraph(graph, [1, c.C, c.H, c.W], x, kernels);
    const expected = convolve(x, w.data as Float32Array, bias.data as Float32Array, c, groups);
    expect(shape).toEqual(expected.shape);
    expectClose(data, expected.y, 2e-5 * (c.C / groups) * c.kernel[0] * c.kernel[1]);
  }

  it("convolve images of any size, kernel, stride, dilation and padding", async () => {
    await fc.assert(
      fc.asyncProperty(cases, (c) => checkConvolution(c, 1)),
      { numRuns: 60 },
    );
  });

  it("convolve by minimal filtering, to the same values", async () => {
    const filtered = fc
      .tuple(cases, fc.constantFrom(8, 12, 16), fc.constantFrom(4, 8, 20))
      .map(([c, C, N]): Case => ({ ...c, C, N, kernel: [3, 3], strides: [1, 1], pads: [4, 3, 4, 5] }));
    await fc.assert(
      fc.asyncProperty(filtered, (c) => checkConvolution(c, 1)),
      { numRuns: 40 },
    );
  });

  it("convolve each channel by itself", async () => {
    const depthwise = fc
      .tuple(cases, fc.constantFrom(4, 8, 12, 16, 20, 36))
      .map(([c, C]): Case => ({ ...c, C, N: C }));
    await fc.assert(
      fc.asyncProperty(depthwise, (c) => checkConvolution(c, c.C)),
      { numRuns: 40 },
    );
  });

  it("enlarge by a transposed convolution whose kernel is its stride", async () => {
    await fc.assert(
      fc.asyncProperty(
        small(6),
        small(6),
        small(5),
        small(5),
        small(4),
        fc.nat(),
        async (C, N, H, W, s, seed) => {
          const [w, bias] = [floats([C, N, s, s], seed), floats([N], seed + 1)];
          const x = noise(C * H * W, seed + 2);
          const attributes = { kernel_shape: [s, s], strides: [s, s] };
          const graph = chain({ operator: "ConvTranspose", constants: [w, bias], attributes });
          const { data, shape } = await runGraph(graph, [1, C, H, W], x, kernels);
          expect(shape).toEqual([1, N, H * s, W * s]);
          const expected = Float64Array.from(data, (_, at) => {
            const [n, i, j] = [
              Math.floor(at / (H * W * s * s)),
              Math.floor(at / (W * s)) % (H * s),
              at % (W * s),
            ];
            let sum = bias.data[n]!;
            for (let c = 0; c < C; c++) {
              const weight = w.data[((c * N + n) * s + (i % s)) * s + (j % s)]!;
              sum += weight * x[(c * H + Math.floor(i / s)) * W + Math.floor(j / s)]!;
            }
            return sum;
          });
          expectClose(data, expected, 1e-5 * C);
        },
      ),
      { numRuns: 25 },
    );
  });

  it("take the largest of a neighbourhood", async () => {
    const x = noise(3 * 5 * 7, 4);
    const attributes = { kernel_shape: [2, 3], strides: [2, 2], pads: [1, 1, 0, 1] };
    const { data, shape } = await runGraph(
      chain({ operator: "MaxPool", attributes }),
      [1, 3, 5, 7],
      x,
      kernels,
    );
    expect(shape).toEqual([1, 3, 3, 4]);
    const expected = Float64Array.from(data, (_, at) => {
      const [c, i, j] = [Math.floor(at / 12), Math.floor(at / 4) % 3, at % 4];
      let most = Number.NEGATIVE_INFINITY;
      for (let a = 0; a < 2; a++) {
        for (let b = 0; b < 3; b++) {
          const [r, s] = [2 * i - 1 + a, 2 * j - 1 + b];
          if (r >= 0 && r < 5 && s >= 0 && s < 7) most = Math.max(most, x[(c * 5 + r) * 7 + s]!);
        }
      }
      return most;
    });
    expect(Array.from(data)).toEqual(Array.from(expected));
  });

  it("normalize layers", async () => {
    await fc.assert(
      fc.asyncProperty(
        small(70),
        small(9),
        fc.nat(),
        fc.constantFrom(1, 1e-3, 1e3),
        async (K, rows, seed, factor) => {
          const [gamma, beta] = [floats([K], seed), floats([K], seed + 1)];
          const x = noise(rows * K, seed + 2).map((v) => v * factor + 3 * factor);
          // Rows as "channels", so that nothing is transposed on the way in.
          const graph = chain({
            operator: "LayerNormalization",
            constants: [gamma, beta],
            attributes: { axis: -1, epsilon: 1e-5 },
          });
          const { data } = await runGraph(graph, [1, rows, K], x, kernels);
          const expected = Float64Array.from(x, (v, i) => {
            const row = x.subarray(i - (i % K), i - (i % K) + K);
            const mean = row.reduce((sum, r) => sum + r, 0) / K;
            const variance = row.reduce((sum, r) => sum + (r - mean) ** 2, 0) / K;
            return ((v - mean) / Math.sqrt(variance + 1e-5)) * gamma.data[i % K]! + beta.data[i % K]!;
          });
          expectClose(data, expected, 2e-3 * (K === 1 ? 10 : 1));
        },
      ),
      { numRuns: 40 },
    );
  });

  it("multiply float32 rows, add biases, and rectify", async () => {
    await fc.assert(
      fc.asyncProperty(small(13), small(40), small(21), fc.nat(), async (rows, K, N, seed) => {
        const [B, bias] = [floats([K, N], seed), floats([N], seed + 1)];
        const x = noise(rows * K, seed + 2);
        const graph = chain(
          { operator: "MatMul", constants: [B] },
          { operator: "Add", constants: [bias] },
          { operator: "Relu" },
        );
        const expected = Float64Array.from({ length: rows * N }, (_, i) => {
          let sum = bias.data[i % N]!;
          for (let k = 0; k < K; k++) sum += x[Math.floor(i / N) * K + k]! * B.data[k * N + (i % N)]!;
          return Math.max(0, sum);
        });
        const joined = await runGraph(graph, [1, rows, K], x, kernels);
        expectClose(joined.data, expected, 1e-5 * K);
        const apart = await runGraph(graph, [1, rows, K], x, kernels, { fused: false });
        expectClose(apart.data, joined.data, 1e-5 * K);
      }),
      { numRuns: 40 },
    );
  });

  it("compute GELU within 5e-5 up to 8, and to 6e-6 of the value beyond", async () => {
    const x = Float32Array.from({ length: 4001 }, (_, i) => (i - 2000) / 100);
    const { data } = await runGraph(chain({ operator: "Gelu" }), [1, 1, x.length], x, kernels);
    for (const [i, v] of x.entries()) {
      const bound = Math.abs(v) <= 8 ? 5e-5 : 6e-6 * Math.abs(v);
      expect(Math.abs(data[i]! - v * normalDistribution(v)), String(v)).toBeLessThanOrEqual(bound);
    }
  });

  it("round rows to 7 bits, and no further", async () => {
    await fc.assert(
      fc.asyncProperty(
        small(9),
        small(70),
        small(21),
        fc.nat(),
        fc.constantFrom(7, 8, 127),
        async (rows, K, N, seed, most) => {
          const codes = Int8Array.from(noise(K * N, seed), (v) => Math.round(v * most));
          const B = { shape: [K, N], data: codes };
          const scales = floats([N], seed + 1, 0.1);
          const bias = floats([N], seed + 2);
          const [gamma, beta] = [floats([K], seed + 3), floats([K], seed + 4)];
          const x = noise(rows * K, seed + 5);
          const before = {
            operator: "LayerNormalization",
            constants: [gamma, beta],
            attributes: { axis: -1 },
          };
          const linear = {
            operator: "com.microsoft.DynamicQuantizeMatMul",
            constants: [B, scales, undefined, bias],
          };
          const normed = (await runGraph(chain(before), [1, rows, K], x, kernels)).data;
          const { data } = await runGraph(chain(before, linear), [1, rows, K], x, kernels);
          for (let i = 0; i < rows * N; i++) {
            const [m, n] = [Math.floor(i / N), i % N];
            const row = normed.subarray(m * K, (m + 1) * K);
            const step = (Math.max(...row) - Math.min(...row)) / 127;
            let sum = bias.data[n]!;
            let bound = 1e-4;
            for (let k = 0; k < K; k++) {
              const weight = codes[k * N + n]! * scales.data[n]!;
              sum += row[k]! * weight;
              bound += Math.abs(weight) * (step * 0.5001 + 1e-5);
            }
            expect(Math.abs(data[i]! - sum)).toBeLessThanOrEqual(bound);
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  it("attend within windows, with biases and masks, for any number of tokens and channels", async () => {
    await fc.assert(
      fc.asyncProperty(
        small(3),
        small(3),
        small(19),
        small(11),
        fc.boolean(),
        fc.nat(),
        async (B, H, T, d, masked, seed) => {
          const bias = floats([H, T, T], seed);
          const mask = {
            shape: [B, 1, T, T],
            data: noise(B * T * T, seed + 1).map((v) => (v > 0.5 ? -100 : 0)),
          };
          const x = noise(B * T * 3 * H * d, seed + 2);
          const graph = attentionGraph({ B, H, T, d, bias, mask: masked ? mask : undefined });
          const { data } = await runGraph(graph, [1, B * T, 3 * H * d], x, kernels);
          const at = (part: number, b: number, h: number, t: number, i: number) =>
            x[(b * T + t) * 3 * H * d + part * H * d + h * d + i]!;
          const expected = new Float64Array(B * T * H * d);
          for (let b = 0; b < B; b++) {
            for (let h = 0; h < H; h++) {
              for (let t = 0; t < T; t++) {
                const scores = Array.from({ length: T }, (_, s) => {
                  let sum = bias.data[(h * T + t) * T + s]! + (masked ? mask.data[(b * T + t) * T + s]! : 0);
                  for (let i = 0; i < d; i++) sum += 0.25 * at(0, b, h, t, i) * at(1, b, h, s, i);
                  return sum;
                });
                const high = Math.max(...scores);
                const weights = scores.map((s) => Math.exp(s - high));
                const total = weights.reduce((sum, w) => sum + w, 0);
                for (let i = 0; i < d; i++) {
                  let sum = 0;
                  for (let s = 0; s < T; s++) sum += (weights[s]! / total) * at(2, b, h, s, i);
                  expected[((b * T + t) * H + h) * d + i] = sum;
                }
              }
            }
          }
          expectClose(data, expected, 1e-5);
        },
      ),
      { numRuns: 30 },
    );
  });
});

interface AttentionCase {
  B: number;
  H: number;
  T: number;
  d: number;
  bias: ReturnType<typeof floats>;
  mask: ReturnType<typeof floats> | undefined;
}

/** As the tracing exporter writes it: split, heads, products, bias, mask, softmax. */
function attentionGraph({ B, H, T, d, bias, mask }: AttentionCase) {
  const inner = H * d;
  const graph = chain(
    { operator: "Reshape", constants: [integers(B, T, 3 * inner)] },
    { operator: "Split", constants: [integers(inner, inner, inner)], attributes: { axis: -1 } },
  );
  graph.nodes[1]!.outputs = ["q0", "k0", "v0"];
  const add = (
    operator: string,
    inputs: string[],
    output: string,
    attributes: Record<string, number[] | number> = {},
  ) =>
    graph.nodes.push({
      operator,
      inputs,
      outputs: [output],
      attributes: new Map(Object.entries(attributes)),
    });
  graph.initializers.set("heads", integers(-1, T, H, d));
  graph.initializers.set("quarter", { shape: [], data: Float32Array.of(0.25) });
  graph.initializers.set("bias", bias);
  for (const name of ["q", "k", "v"]) {
    add("Reshape", [`${name}0`, "heads"], `${name}1`);
    add("Transpose", [`${name}1`], `${name}2`, { perm: name === "k" ? [0, 2, 3, 1] : [0, 2, 1, 3] });
  }
  add("Mul", ["q2", "quarter"], "q3");
  add("MatMul", ["q3", "k2"], "s0");
  add("Add", ["s0", "bias"], "s1");
  let scores = "s1";
  if (mask) {
    graph.initializers.set("windows", integers(-1, B, H, T, T));
    graph.initializers.set("flat", integers(-1, H, T, T));
    graph.initializers.set("mask", mask);
    add("Reshape", ["s1", "windows"], "s2");
    add("Add", ["s2", "mask"], "s3");
    add("Reshape", ["s3", "flat"], "s4");
    scores = "s4";
  }
  add("Softmax", [scores], "p", { axis: -1 });
  add("MatMul", ["p", "v2"], "o0");
  add("Transpose", ["o0"], "o1", { perm: [0, 2, 1, 3] });
  graph.initializers.set("out", integers(1, B * T, inner));
  add("Reshape", ["o1", "out"], "y");
  return graph;
}

/** Φ(x) in float64: by the series of erf for small, by a continued fraction for large arguments. */
function normalDistribution(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  let tail: number;
  if (z < 2.5) {
    let term = z;
    let sum = z;
    for (let n = 1; n < 200; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    tail = 1 - (2 / Math.sqrt(Math.PI)) * sum;
  } else {
    let fraction = 0;
    for (let n = 200; n > 0; n--) fraction = n / 2 / (z + fraction);
    tail = Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction);
  }
  return x > 0 ? 1 - tail / 2 : tail / 2;
}
