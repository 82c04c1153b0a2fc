import { attributeNumber, axisOf } from "./fold-constants.ts";
import type { OnnxNode } from "./onnx-graph.ts";
import { PlanError } from "./plan-error.ts";
import type { ProgramBuilder } from "./program-builder.ts";
import type { Product, RowSource, Weights } from "./steps.ts";
import { elementCount, type Tensor } from "./tensor.ts";
import { denseView, type View } from "./view.ts";

/** Inputs: B int8 [K, N], its scales [N], its zero point (absent), bias [N]. The activations are rounded row by row. */
export function lowerDynamicQuantizeMatMul(
  builder: ProgramBuilder,
  node: OnnxNode,
  view: View,
  [B, scales, zero, bias]: readonly (Tensor | undefined)[],
): View {
  const K = view.shape.at(-1)!;
  if (!B || !scales || !(B.data instanceof Int8Array) || B.shape.length !== 2 || B.shape[0] !== K) {
    throw new PlanError(
      `the operator ${node.operator} has weights of ${B?.shape.join("×")} for ${view.shape.join("×")}`,
    );
  }
  if (zero?.data.some((x) => x !== 0)) {
    throw new PlanError(
      `the operator ${node.operator} has a zero point; the engine has symmetric weights only`,
    );
  }
  const N = B.shape[1]!;
  if ((scales.data.length !== N && scales.data.length !== 1) || (bias && bias.data.length !== N)) {
    throw new PlanError(`the operator ${node.operator} has ${scales.data.length} scales for ${N} columns`);
  }
  const step = (K + 3) & ~3;
  const data = new Int8Array(N * step);
  for (let k = 0; k < K; k++) for (let n = 0; n < N; n++) data[n * step + k] = B.data[k * N + n]!;
  const weights: Weights = {
    N,
    segments: 1,
    segmentLength: step,
    data,
    scales: Float32Array.from({ length: N }, (_, n) => scales.data[scales.data.length === 1 ? 0 : n]!),
    bias: bias ? Float32Array.from(bias.data) : new Float32Array(N),
  };
  return integerLinear(builder, view, weights);
}

/**
 * Inputs: B uint8 [N, blocks, bytes], scales [N·blocks], bias absent. The codes of 4 bits stand for (code - 8)·scale. Each
 * column must have one scale, as weights that were trained in 4 bits a channel have.
 */
export function lowerMatMulNBits(
  builder: ProgramBuilder,
  node: OnnxNode,
  view: View,
  [B, scales, zeros, , bias]: readonly (Tensor | undefined)[],
): View {
  const [K, N] = [attributeNumber(node, "K", 0), attributeNumber(node, "N", 0)];
  const block = attributeNumber(node, "block_size", 0);
  const blocks = Math.ceil(K / block);
  if (attributeNumber(node, "bits", 4) !== 4 || zeros || bias || view.shape.at(-1) !== K) {
    throw new PlanError(`the operator ${node.operator} has a form that the engine does not have`);
  }
  if (B?.data.length !== (N * blocks * block) / 2 || scales?.data.length !== N * blocks) {
    throw new PlanError(`the operator ${node.operator} has weights of ${B?.shape.join("×")} for ${K}×${N}`);
  }
  const step = (K + 3) & ~3;
  const data = new Int8Array(N * step);
  const own = new Float32Array(N);
  for (let n = 0; n < N; n++) {
    own[n] = scales.data[n * blocks]!;
    for (let b = 1; b < blocks; b++) {
      if (scales.data[n * blocks + b] !== own[n]) {
        throw new PlanError(`the operator ${node.operator} has several scales a column; the engine has one`);
      }
    }
    for (let k = 0; k < K; k++) {
      const pair = B.data[(n * blocks * block + k) >> 1]!;
      data[n * step + k] = ((pair >> ((k & 1) << 2)) & 15) - 8;
    }
  }
  const weights: Weights = {
    N,
    segments: 1,
    segmentLength: step,
    data,
    scales: own,
    bias: new Float32Array(N),
  };
  return integerLinear(builder, view, weights);
}

/**
 * Norms, GELU and attention hand on rows whose values are alike. Others, such as sums of residuals, have outliers, beside
 * which 7 bits leave little of the rest: their linears take the same weights in float32. In the hippocampus network, 87 of 757
 * million products so made a third of the error.
 */
function integerLinear(builder: ProgramBuilder, view: View, weights: Weights): View {
  const source = builder.rows(view);
  const writer = builder.writerOf(view.buffer);
  const even =
    writer?.kind === "layerNorm" ||
    writer?.kind === "attention" ||
    (writer?.kind === "elementwise" && writer.activation === "gelu");
  if (even) return quantizedLinear(builder, source, view.shape, weights);
  const K = view.shape.at(-1)!;
  const { N, segmentLength, data, scales, bias } = weights;
  const floats = new Float32Array(N * K);
  for (let n = 0; n < N; n++) {
    for (let k = 0; k < K; k++) floats[n * K + k] = data[n * segmentLength + k]! * scales![n]!;
  }
  return floatLinear(builder, source, view.shape, { N, segments: 1, segmentLength: K, data: floats, bias });
}

function quantizedLinear(
  builder: ProgramBuilder,
  source: RowSource,
  shape: readonly number[],
  weights: Weights,
): View {
  const { rows } = source;
  const step = weights.segmentLength;
  const levels = builder.buffer(rows * step, 1);
  const ranges = builder.buffer(2 * rows);
  builder.steps.push({ kind: "quantizeRows", source, output: levels, outputStep: step, ranges });
  const output = builder.buffer(rows * weights.N);
  builder.steps.push({ ...linear(levels, rows, step, weights, output), ranges });
  return denseView(output, shape.with(-1, weights.N));
}

export function lowerMatMul(builder: ProgramBuilder, view: View, B: Tensor): View {
  const K = view.shape.at(-1)!;
  if (B.shape.length !== 2 || B.shape[0] !== K || !(B.data instanceof Float32Array)) {
    throw new PlanError(`the operator MatMul multiplies ${view.shape.join("×")} and ${B.shape.join("×")}`);
  }
  const N = B.shape[1]!;
  const data = new Float32Array(N * K);
  for (let k = 0; k < K; k++) for (let n = 0; n < N; n++) data[n * K + k] = B.data[k * N + n]!;
  const weights: Weights = { N, segments: 1, segmentLength: K, data, bias: new Float32Array(N) };
  return floatLinear(builder, builder.rows(view), view.shape, weights);
}

export function floatLinear(
  builder: ProgramBuilder,
  source: RowSource,
  shape: readonly number[],
  weights: Weights,
): View {
  const output = builder.buffer(source.rows * weights.N);
  builder.steps.push({
    ...linear(source.buffer, source.rows, source.step, weights, output),
    inputStart: source.start,
    inputTable: source.table,
  });
  return denseView(output, shape.with(-1, weights.N));
}

function linear(
  input: Product["input"],
  rows: number,
  step: number,
  weights: Weights,
  output: Product["output"],
): Product {
  return {
    kind: "product",
    input,
    inputStart: 0,
    lines: 1,
    width: rows,
    lineStep: 0,
    pixelStep: step,
    segments: [0],
    weights,
    output,
    activation: "none",
  };
}

export function lowerLayerNorm(
  builder: ProgramBuilder,
  node: OnnxNode,
  view: View,
  [gamma, beta]: readonly (Tensor | undefined)[],
): View {
  const K = view.shape.at(-1)!;
  if (axisOf(node, view.shape.length, -1) !== view.shape.length - 1 || gamma?.data.length !== K) {
    throw new PlanError(
      "the operator LayerNormalization is over other axes than the last; the engine has that one only",
    );
  }
  const source = builder.rows(view);
  const output = builder.buffer(elementCount(view.shape));
  const norm = {
    gamma: Float32Array.from(gamma.data),
    beta: beta ? Float32Array.from(beta.data) : new Float32Array(K),
    epsilon: attributeNumber(node, "epsilon", 1e-5),
  };
  builder.steps.push({ kind: "layerNorm", source, norm, output });
  return denseView(output, view.shape);
}
