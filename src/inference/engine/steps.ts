import type { Buffer } from "./view.ts";

// What the engine does for a window, one kernel call a step. Offsets and distances are in elements of the buffer.

export type Nonlinearity = "none" | "relu" | "gelu";

/** Rows of K neighbouring values: row m starts at `table[m]`, or at `start + m·step`. */
export interface RowSource {
  buffer: Buffer;
  rows: number;
  K: number;
  start: number;
  step: number;
  table?: Int32Array;
}

export interface Norm {
  gamma: Float32Array;
  beta: Float32Array;
  epsilon: number;
}

/** Rows to 7 bits, each over its own range, after a layer norm or GELU if stated. */
export interface QuantizeRows {
  kind: "quantizeRows";
  source: RowSource;
  norm?: Norm;
  gelu?: boolean;
  output: Buffer;
  /** Bytes of a row of the output: K up to a multiple of 4. */
  outputStep: number;
  /** (scale, low) of each row. */
  ranges: Buffer;
}

/** An image (pixels as rows, channels last) with a border of 0. */
export interface PadImage {
  kind: "padImage";
  source: RowSource;
  height: number;
  width: number;
  top: number;
  left: number;
  bottom: number;
  right: number;
  output: Buffer;
}

/** A 3×3 convolution of stride 1 over a padded image, by minimal filtering. */
export interface Winograd {
  kind: "winograd";
  input: Buffer;
  lineStep: number;
  channels: number;
  N: number;
  /** `[36][ceil(N/8)][channels][8]` */
  weights: Float32Array;
  /** Padded to a multiple of 8. */
  bias: Float32Array;
  height: number;
  width: number;
  dilations: readonly [number, number];
  output: Buffer;
  activation: Nonlinearity;
}

/** Weights `[N][segments][segmentLength]`, rows by output channel. */
export interface Weights {
  N: number;
  segments: number;
  segmentLength: number;
  /** int8 with `scales`, or float32. */
  data: Int8Array | Float32Array;
  /** A weight's worth for each output channel. */
  scales?: Float32Array;
  bias: Float32Array;
}

/** Rows times weights: a linear, or a convolution whose rows are the segments of a padded image. */
export interface Product {
  kind: "product";
  input: Buffer;
  inputStart: number;
  lines: number;
  width: number;
  lineStep: number;
  pixelStep: number;
  /** Offset of each segment. */
  segments: readonly number[];
  weights: Weights;
  /** (scale, low) of each row of the quantized input. */
  ranges?: Buffer;
  /** Where each row of the input starts; only float32. */
  inputTable?: Int32Array;
  output: Buffer;
  /** Where each row of the output starts; default: one after the other. */
  outputRows?: Int32Array;
  /** Where each block of 8 columns starts in its row; default: one after the other. */
  outputColumns?: Int32Array;
  /** Added before the activation; laid out as the output. */
  residual?: Buffer;
  activation: Nonlinearity;
}

export interface Depthwise {
  kind: "depthwise";
  source: RowSource;
  height: number;
  width: number;
  outHeight: number;
  outWidth: number;
  kernel: readonly [number, number];
  strides: readonly [number, number];
  dilations: readonly [number, number];
  top: number;
  left: number;
  /** `[kernelHeight][kernelWidth][channels]` */
  weights: Float32Array;
  bias: Float32Array;
  output: Buffer;
  residual?: Buffer;
  activation: Nonlinearity;
}

/** softmax(scale·Q·Kᵀ + matrices)·V for each batch (attention window and head). */
export interface Attention {
  kind: "attention";
  batches: number;
  queries: number;
  keys: number;
  depth: number;
  valueDepth: number;
  operands: readonly { buffer: Buffer; offsets: Int32Array; step: number }[];
  scale: number;
  /** Matrices `[queries][round8(keys)]`; each batch adds one or two of them, by index. */
  matrices: readonly Float32Array[];
  added: readonly (readonly number[])[];
  output: Buffer;
  outputOffsets: Int32Array;
  outputStep: number;
}

export interface LayerNorm {
  kind: "layerNorm";
  source: RowSource;
  norm: Norm;
  output: Buffer;
}

/** a + b, a·b or a, value by value, then the activation. `b` may be a constant that repeats. */
export interface Elementwise {
  kind: "elementwise";
  operation: "add" | "multiply" | "copy";
  a: Buffer;
  b?: Buffer | Float32Array;
  factor: number;
  activation: Nonlinearity;
  output: Buffer;
}

/** Runs of neighbouring values to other places. */
export interface Copy {
  kind: "copy";
  source: Buffer;
  from: Int32Array;
  run: number;
  output: Buffer;
  to: Int32Array;
}

export interface MaxPool {
  kind: "maxPool";
  source: Buffer;
  height: number;
  width: number;
  channels: number;
  outHeight: number;
  outWidth: number;
  kernel: readonly [number, number];
  strides: readonly [number, number];
  top: number;
  left: number;
  output: Buffer;
}

export type Step =
  | QuantizeRows
  | PadImage
  | Winograd
  | Product
  | Depthwise
  | Attention
  | LayerNorm
  | Elementwise
  | Copy
  | MaxPool;

/** Buffers that a step reads. */
export function inputsOf(step: Step): Buffer[] {
  switch (step.kind) {
    case "product":
      return [step.input, step.ranges, step.residual].filter((b) => b !== undefined);
    case "depthwise":
      return [step.source.buffer, step.residual].filter((b) => b !== undefined);
    case "winograd":
      return [step.input];
    case "attention":
      return step.operands.map(({ buffer }) => buffer);
    case "elementwise":
      return step.b && !(step.b instanceof Float32Array) ? [step.a, step.b] : [step.a];
    case "copy":
    case "maxPool":
      return [step.source];
    default:
      return [step.source.buffer];
  }
}

/** Buffers that a step writes. */
export function outputsOf(step: Step): Buffer[] {
  return step.kind === "quantizeRows" ? [step.output, step.ranges] : [step.output];
}
