import { attributeNumber, attributeNumbers } from "./fold-constants.ts";
import { floatLinear } from "./lower-linear.ts";
import { filterWeights } from "./minimal-filtering.ts";
import type { OnnxNode } from "./onnx-graph.ts";
import { PlanError } from "./plan-error.ts";
import type { ProgramBuilder } from "./program-builder.ts";
import type { Weights } from "./steps.ts";
import { elementCount, type Tensor } from "./tensor.ts";
import { type Buffer, denseView, reshape, transpose, type View } from "./view.ts";

type Pair = readonly [number, number];

interface Geometry {
  kernel: Pair;
  strides: Pair;
  dilations: Pair;
  /** top, left, bottom, right */
  pads: readonly [number, number, number, number];
  out: Pair;
}

/** Weights [out, in / groups, kernelHeight, kernelWidth], bias [out]. */
export function lowerConv(
  builder: ProgramBuilder,
  node: OnnxNode,
  view: View,
  [W, bias]: readonly (Tensor | undefined)[],
): View {
  if (view.shape.length !== 4 || W?.shape.length !== 4 || !(W.data instanceof Float32Array)) {
    throw new PlanError("the operator Conv is over other than two axes; the engine has those only");
  }
  const channels = view.shape[1]!;
  const [N, perGroup] = W.shape as [number, number];
  const groups = attributeNumber(node, "group", 1);
  const biases = bias ? Float32Array.from(bias.data) : new Float32Array(N);
  const geometry = geometryOf(node, view, [W.shape[2]!, W.shape[3]!]);
  const last = transpose(view, [0, 2, 3, 1]);
  if (groups === channels && N === channels && channels > 1 && perGroup === 1 && channels % 4 === 0) {
    return depthwise(builder, last, geometry, W.data, biases);
  }
  if (groups !== 1 || perGroup !== channels || biases.length !== N) {
    throw new PlanError(
      `the operator Conv has ${groups} groups of ${perGroup} channels for ${channels}; the engine has one group, or one a channel`,
    );
  }
  const result = convolution(builder, last, geometry, W, biases);
  return transpose(result, [0, 3, 1, 2]);
}

function geometryOf(node: OnnxNode, view: View, kernel: Pair): Geometry {
  const auto = node.attributes.get("auto_pad");
  if (auto !== undefined && auto !== "NOTSET") {
    throw new PlanError(
      `the operator ${node.operator} pads by "${auto}"; the engine has stated paddings only`,
    );
  }
  const strides = (attributeNumbers(node, "strides") ?? [1, 1]) as unknown as Pair;
  const dilations = (attributeNumbers(node, "dilations") ?? [1, 1]) as unknown as Pair;
  const pads = (attributeNumbers(node, "pads") ?? [0, 0, 0, 0]) as unknown as Geometry["pads"];
  if (![...strides, ...dilations, ...kernel].every((n) => n >= 1) || !pads.every((p) => p >= 0)) {
    throw new PlanError(
      `the operator ${node.operator} has strides ${strides}, dilations ${dilations}, paddings ${pads}`,
    );
  }
  const out = [0, 1].map((i) => {
    const reach = (kernel[i]! - 1) * dilations[i]! + 1;
    return Math.floor((view.shape[2 + i]! + pads[i]! + pads[2 + i]! - reach) / strides[i]!) + 1;
  }) as unknown as Pair;
  if (!out.every((n) => n >= 1)) {
    throw new PlanError(
      `the operator ${node.operator} has a kernel of ${kernel.join("×")} for ${view.shape.join("×")}`,
    );
  }
  return { kernel, strides, dilations, pads, out };
}

function convolution(
  builder: ProgramBuilder,
  view: View,
  geometry: Geometry,
  W: Tensor,
  bias: Float32Array,
): View {
  const { kernel, strides, pads } = geometry;
  const channels = view.shape[3]!;
  const unitStride = strides.every((stride) => stride === 1);
  if (unitStride && kernel.join() === "1,1" && pads.every((pad) => pad === 0)) {
    return floatLinear(builder, builder.rows(view), view.shape, convolutionWeights(W, geometry, bias));
  }
  const filtered =
    unitStride && kernel.join() === "3,3" && channels >= 8 && channels % 4 === 0 && W.shape[0]! % 4 === 0;
  return (filtered ? minimalFiltering : direct)(builder, view, geometry, W, bias);
}

/** To `[N][segments][segment]`: with dilation 1 a row of the kernel is one segment, otherwise each of its columns. */
function convolutionWeights(W: Tensor, geometry: Geometry, bias: Float32Array): Weights {
  const [N, channels, kh, kw] = W.shape as [number, number, number, number];
  const row = kh * kw * channels;
  const data = new Float32Array(N * row);
  for (let n = 0; n < N; n++) {
    for (let c = 0; c < channels; c++) {
      for (let k = 0; k < kh * kw; k++) {
        data[n * row + k * channels + c] = W.data[(n * channels + c) * kh * kw + k]!;
      }
    }
  }
  const joined = geometry.dilations[1] === 1;
  return { N, segments: joined ? kh : kh * kw, segmentLength: joined ? kw * channels : channels, data, bias };
}

/** The image with a border of 0, or with one that is wider at the bottom and at the right. */
function pad(
  builder: ProgramBuilder,
  view: View,
  [top, left, bottom, right]: Geometry["pads"],
): { padded: Buffer; line: number } {
  const [, height, width, channels] = view.shape as [number, number, number, number];
  const line = (width + left + right) * channels;
  const padded = builder.buffer((height + top + bottom) * line);
  builder.steps.push({
    kind: "padImage",
    source: builder.rows(view),
    height,
    width,
    top,
    left,
    bottom,
    right,
    output: padded,
  });
  return { padded, line };
}

function direct(
  builder: ProgramBuilder,
  view: View,
  geometry: Geometry,
  W: Tensor,
  bias: Float32Array,
): View {
  const { kernel, strides, dilations, pads, out } = geometry;
  const channels = view.shape[3]!;
  const { padded, line } = pad(builder, view, pads);
  const weights = convolutionWeights(W, geometry, bias);
  const columns = dilations[1] === 1 ? 1 : kernel[1];
  const segments = Array.from({ length: kernel[0] * columns }, (_, s) => {
    const [i, j] = [Math.floor(s / columns), s % columns];
    return i * dilations[0] * line + j * dilations[1] * channels;
  });
  const output = builder.buffer(out[0] * out[1] * weights.N);
  builder.steps.push({
    kind: "product",
    input: padded,
    inputStart: 0,
    lines: out[0],
    width: out[1],
    lineStep: strides[0] * line,
    pixelStep: strides[1] * channels,
    segments,
    weights,
    output,
    activation: "none",
  });
  return denseView(output, [1, out[0], out[1], weights.N]);
}

/** Tiles of 4×4 results read 6×6 samples, beyond the image too: the border grows to whole tiles. */
function minimalFiltering(
  builder: ProgramBuilder,
  view: View,
  geometry: Geometry,
  W: Tensor,
  bias: Float32Array,
): View {
  const { dilations, pads, out } = geometry;
  const [, height, width, channels] = view.shape as [number, number, number, number];
  const N = W.shape[0]!;
  const reach = (axis: 0 | 1) =>
    dilations[axis] * (4 * Math.ceil(Math.ceil(out[axis] / dilations[axis]) / 4) + 2);
  const bottom = Math.max(pads[2], reach(0) - pads[0] - height);
  const right = Math.max(pads[3], reach(1) - pads[1] - width);
  const { padded, line } = pad(builder, view, [pads[0], pads[1], bottom, right]);
  const output = builder.buffer(out[0] * out[1] * N);
  const padding = new Float32Array((N + 7) & ~7);
  padding.set(bias);
  builder.steps.push({
    kind: "winograd",
    input: padded,
    lineStep: line,
    channels,
    N,
    weights: filterWeights(W),
    bias: padding,
    height: out[0],
    width: out[1],
    dilations,
    output,
    activation: "none",
  });
  return denseView(output, [1, out[0], out[1], N]);
}

function depthwise(
  builder: ProgramBuilder,
  view: View,
  { kernel, strides, dilations, pads, out }: Geometry,
  W: Float32Array,
  bias: Float32Array,
): View {
  const [, height, width, channels] = view.shape as [number, number, number, number];
  const taps = kernel[0] * kernel[1];
  const weights = new Float32Array(taps * channels);
  for (let c = 0; c < channels; c++)
    for (let k = 0; k < taps; k++) weights[k * channels + c] = W[c * taps + k]!;
  const output = builder.buffer(out[0] * out[1] * channels);
  builder.steps.push({
    kind: "depthwise",
    source: builder.rows(view),
    height,
    width,
    outHeight: out[0],
    outWidth: out[1],
    kernel,
    strides,
    dilations,
    top: pads[0],
    left: pads[1],
    weights,
    bias,
    output,
    activation: "none",
  });
  return transpose(denseView(output, [1, out[0], out[1], channels]), [0, 3, 1, 2]);
}

/** Only where the kernel is the stride: then each pixel becomes a block of pixels by a linear. Weights [in, out, s, s]. */
export function lowerConvTranspose(
  builder: ProgramBuilder,
  node: OnnxNode,
  view: View,
  [W, bias]: readonly (Tensor | undefined)[],
): View {
  const strides = attributeNumbers(node, "strides") ?? [1, 1];
  const plain =
    W?.shape.length === 4 &&
    W.data instanceof Float32Array &&
    W.shape.slice(2).join() === strides.join() &&
    attributeNumber(node, "group", 1) === 1 &&
    [...(attributeNumbers(node, "pads") ?? []), ...(attributeNumbers(node, "output_padding") ?? [])].every(
      (p) => p === 0,
    );
  if (!plain || view.shape[1] !== W.shape[0]) {
    throw new PlanError(
      "the engine has the operator ConvTranspose only where the kernel is the stride, without padding",
    );
  }
  const [channels, K, kh, kw] = W.shape as [number, number, number, number];
  const [, , height, width] = view.shape as [number, number, number, number];
  const N = kh * kw * K;
  const data = new Float32Array(N * channels);
  for (let c = 0; c < channels; c++) {
    for (let k = 0; k < K; k++) {
      for (let tap = 0; tap < kh * kw; tap++) {
        data[(tap * K + k) * channels + c] = W.data[(c * K + k) * kh * kw + tap]!;
      }
    }
  }
  const biases = Float32Array.from({ length: N }, (_, n) => bias?.data[n % K] ?? 0);
  const weights: Weights = { N, segments: 1, segmentLength: channels, data, bias: biases };
  const last = transpose(view, [0, 2, 3, 1]);
  const result = floatLinear(builder, builder.rows(last), last.shape, weights);
  const blocks = transpose(reshape(result, [height, width, kh, kw, K]), [4, 0, 2, 1, 3]);
  return reshape(blocks, [1, K, height * kh, width * kw]);
}

export function lowerMaxPool(builder: ProgramBuilder, node: OnnxNode, view: View): View {
  const kernel = attributeNumbers(node, "kernel_shape");
  if (view.shape.length !== 4 || kernel?.length !== 2 || node.outputs.length > 1) {
    throw new PlanError("the operator MaxPool is over other than two axes; the engine has those only");
  }
  const geometry = geometryOf(node, view, kernel as unknown as Pair);
  if (attributeNumber(node, "ceil_mode", 0) !== 0 || geometry.dilations.some((d) => d !== 1)) {
    throw new PlanError("the operator MaxPool rounds up or is dilated, which the engine does not have");
  }
  const [, channels, height, width] = view.shape as [number, number, number, number];
  const source = builder.dense(transpose(view, [0, 2, 3, 1]));
  const output = builder.buffer(elementCount(geometry.out) * channels);
  const [outHeight, outWidth] = geometry.out;
  const { strides, pads } = geometry;
  builder.steps.push({
    kind: "maxPool",
    source,
    height,
    width,
    channels,
    outHeight,
    outWidth,
    kernel: geometry.kernel,
    strides,
    top: pads[0],
    left: pads[1],
    output,
  });
  return transpose(denseView(output, [1, outHeight, outWidth, channels]), [0, 3, 1, 2]);
}
