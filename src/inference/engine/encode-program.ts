import type { Program } from "./lower-graph.ts";
import { planMemory } from "./memory-plan.ts";
import { packWeights } from "./pack-weights.ts";
import type {
  Attention,
  Depthwise,
  Elementwise,
  Nonlinearity,
  PadImage,
  Product,
  RowSource,
  Step,
  Winograd,
} from "./steps.ts";
import type { Buffer } from "./view.ts";

/** Names of the kernels' exports. */
export type Kernel =
  | "attention"
  | "copyRuns"
  | "depthwise"
  | "elementwise"
  | "layerNorm"
  | "maxPool"
  | "padImage"
  | "productF32"
  | "productI4"
  | "productI8"
  | "quantizeRows"
  | "winograd";

/** A program as the linear memory that it runs in. */
export interface EncodedProgram {
  /** Each kernel with the address of its parameters. */
  calls: readonly { kernel: Kernel; parameters: number; macs: number }[];
  /** Constants, at `constantsAt`. */
  constants: Uint8Array;
  constantsAt: number;
  byteLength: number;
  inputAt: number;
  outputAt: number;
}

/** The first bytes hold the constants of the kernels, and no address is 0. */
const START = 4096;
const ALIGNMENT = 16;
const ACTIVATIONS: Record<Nonlinearity, number> = { none: 0, relu: 1, gelu: 2 };

export function encodeProgram({ steps, input, output }: Program): EncodedProgram {
  const memory = planMemory(steps, { input, output });
  const scratchAt = START + memory.byteLength;
  const scratchBytes = Math.max(0, ...steps.map(scratchOf));
  const constantsAt = align(scratchAt + scratchBytes, 64);
  const encoder = new Encoder(memory.offsets, scratchAt, constantsAt);
  const calls = steps.map((step) => {
    const { kernel, fields } = encoder.step(step);
    return { kernel, parameters: encoder.constant(Int32Array.from(fields)), macs: macsOf(step) };
  });
  const constants = encoder.finish();
  return {
    calls,
    constants,
    constantsAt,
    byteLength: constantsAt + constants.byteLength,
    inputAt: encoder.address(input),
    outputAt: encoder.address(output),
  };
}

const align = (n: number, to: number) => Math.ceil(n / to) * to;

/** Multiply-accumulates of a step, without padding. */
export function macsOf(step: Step): number {
  if (step.kind === "product") {
    const { N, segments, segmentLength } = step.weights;
    return step.lines * step.width * N * segments * segmentLength;
  }
  if (step.kind === "depthwise") {
    return step.outHeight * step.outWidth * step.weights.length;
  }
  if (step.kind === "winograd") return 9 * step.height * step.width * step.channels * step.N;
  if (step.kind === "attention") {
    return step.batches * step.queries * step.keys * (step.depth + step.valueDepth);
  }
  return 0;
}

function scratchOf(step: Step): number {
  if (step.kind === "quantizeRows") return align(4 * step.source.K, ALIGNMENT);
  if (step.kind === "winograd") {
    const across = Math.ceil(Math.ceil(step.width / step.dilations[1]) / 4);
    return 4 * 36 * (across * step.dilations[1] * (step.channels + align(step.N, 8)) + 4);
  }
  if (step.kind !== "attention") return 0;
  const keys = align(step.keys, 8);
  return 4 * (step.depth * keys + step.keys * align(step.valueDepth, 8) + 4 * keys + 8);
}

class Encoder {
  readonly #offsets: ReadonlyMap<number, number>;
  readonly #scratch: number;
  readonly #base: number;
  readonly #parts: { bytes: Uint8Array; at: number }[] = [];
  readonly #known = new Map<object, number>();
  #end = 0;

  constructor(offsets: ReadonlyMap<number, number>, scratch: number, base: number) {
    this.#offsets = offsets;
    this.#scratch = scratch;
    this.#base = base;
  }

  address(buffer: Buffer): number {
    return START + this.#offsets.get(buffer.id)!;
  }

  /** Address of a copy of `data`; the same array is stored once. */
  constant(data: Int32Array | Int8Array | Float32Array): number {
    const known = this.#known.get(data);
    if (known !== undefined) return known;
    const at = this.#end;
    this.#parts.push({ bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at });
    this.#end = align(at + data.byteLength, ALIGNMENT);
    this.#known.set(data, this.#base + at);
    return this.#base + at;
  }

  finish(): Uint8Array {
    const bytes = new Uint8Array(this.#end);
    for (const part of this.#parts) bytes.set(part.bytes, part.at);
    return bytes;
  }

  step(step: Step): { kernel: Kernel; fields: number[] } {
    switch (step.kind) {
      case "product":
        return this.#product(step);
      case "quantizeRows": {
        const { norm } = step;
        return {
          kernel: "quantizeRows",
          fields: [
            ...this.#rows(step.source),
            this.address(step.output),
            step.outputStep,
            this.address(step.ranges),
            ...this.#norm(norm),
            norm ? 1 : step.gelu ? 2 : 0,
            this.#scratch,
          ],
        };
      }
      case "layerNorm":
        return {
          kernel: "layerNorm",
          fields: [
            ...this.#rows(step.source),
            this.address(step.output),
            4 * step.source.K,
            0,
            ...this.#norm(step.norm),
          ],
        };
      case "padImage":
        return { kernel: "padImage", fields: this.#image(step) };
      case "winograd":
        return { kernel: "winograd", fields: this.#winograd(step) };
      case "depthwise":
        return { kernel: "depthwise", fields: this.#depthwise(step) };
      case "attention":
        return { kernel: "attention", fields: this.#attention(step) };
      case "elementwise":
        return { kernel: "elementwise", fields: this.#elementwise(step) };
      case "copy":
        return {
          kernel: "copyRuns",
          fields: [
            this.address(step.source),
            this.#bytes(step.from),
            this.address(step.output),
            this.#bytes(step.to),
            0,
            step.from.length,
            4 * step.run,
          ],
        };
      case "maxPool":
        return {
          kernel: "maxPool",
          fields: [
            this.address(step.source),
            step.height,
            step.width,
            step.channels,
            this.address(step.output),
            step.outHeight,
            step.outWidth,
            ...step.kernel,
            ...step.strides,
            step.top,
            step.left,
          ],
        };
    }
  }

  /** A table of elements as one of bytes. */
  #bytes(table: Int32Array): number {
    const known = this.#known.get(table);
    if (known !== undefined) return known;
    const at = this.constant(table.map((offset) => 4 * offset));
    this.#known.set(table, at);
    return at;
  }

  #rows({
    buffer,
    start,
    step,
    table,
    rows,
    K,
  }: RowSource): [address: number, table: number, distance: number, rows: number, K: number] {
    return [this.address(buffer) + 4 * start, table ? this.#bytes(table) : 0, 4 * step, rows, K];
  }

  #norm(norm: { gamma: Float32Array; beta: Float32Array; epsilon: number } | undefined): number[] {
    if (!norm) return [0, 0, 0];
    return [this.constant(norm.gamma), this.constant(norm.beta), floatBits(norm.epsilon)];
  }

  #product(step: Product): { kernel: Kernel; fields: number[] } {
    const { weights, input } = step;
    const unit = input.elementBytes;
    const bytes = Int32Array.from(step.segments, (offset) => offset * unit);
    const packed = packWeights(weights);
    const chunk = step.ranges ? chunkOf(packed.largest) : 0;
    const kernel = !step.ranges ? "productF32" : chunk >= MIN_CHUNK ? "productI4" : "productI8";
    const fields = [
      this.address(input) + step.inputStart * unit,
      step.lineStep * unit,
      step.pixelStep * unit,
      step.lines,
      step.width,
      this.constant(bytes),
      weights.segments,
      weights.segmentLength * unit,
      this.constant(packed.data),
      weights.N,
      packed.scales ? this.constant(packed.scales) : 0,
      packed.sums ? this.constant(packed.sums) : 0,
      this.constant(packed.bias),
      step.ranges ? this.address(step.ranges) : 0,
      8,
      this.address(step.output),
      step.outputRows ? this.#bytes(step.outputRows) : 0,
      4 * weights.N,
      step.outputColumns ? this.#bytes(step.outputColumns) : 0,
      step.residual ? this.address(step.residual) : 0,
      ACTIVATIONS[step.activation],
      step.inputTable ? this.#bytes(step.inputTable) : 0,
      chunk,
    ];
    return { kernel, fields };
  }

  #image(step: PadImage): number[] {
    const [address, table, distance, , K] = this.#rows(step.source);
    return [
      address,
      table,
      distance,
      step.height,
      step.width,
      K,
      this.address(step.output),
      step.top,
      step.left,
      step.bottom,
      step.right,
    ];
  }

  #winograd(step: Winograd): number[] {
    return [
      this.address(step.input),
      4 * step.lineStep,
      step.channels,
      step.N,
      this.constant(step.weights),
      this.constant(step.bias),
      this.address(step.output),
      step.height,
      step.width,
      ...step.dilations,
      ACTIVATIONS[step.activation],
      this.#scratch,
    ];
  }

  #depthwise(step: Depthwise): number[] {
    const [address, table, distance, , K] = this.#rows(step.source);
    return [
      address,
      table,
      distance,
      step.height,
      step.width,
      K,
      this.address(step.output),
      step.outHeight,
      step.outWidth,
      this.constant(step.weights),
      this.constant(step.bias),
      ...step.kernel,
      ...step.strides,
      ...step.dilations,
      step.top,
      step.left,
      step.residual ? this.address(step.residual) : 0,
      ACTIVATIONS[step.activation],
    ];
  }

  #attention(step: Attention): number[] {
    const matrices = step.matrices.map((matrix) => this.constant(matrix));
    const added = new Int32Array(2 * step.batches);
    for (const [b, list] of step.added.entries()) {
      for (const [i, index] of list.entries()) added[2 * b + i] = matrices[index]!;
    }
    const { operands } = step;
    return [
      step.batches,
      step.queries,
      step.keys,
      step.depth,
      step.valueDepth,
      ...operands.map(({ offsets }) => this.#bytes(offsets)),
      ...operands.map(({ buffer }) => this.address(buffer)),
      ...operands.map((operand) => 4 * operand.step),
      floatBits(step.scale),
      this.constant(added),
      this.address(step.output),
      this.#bytes(step.outputOffsets),
      4 * step.outputStep,
      this.#scratch,
    ];
  }

  #elementwise(step: Elementwise): number[] {
    const { b } = step;
    const repeats = b instanceof Float32Array;
    return [
      { add: 0, multiply: 1, copy: 2 }[step.operation],
      step.output.elements,
      this.address(step.a),
      b === undefined ? 0 : repeats ? this.constant(b) : this.address(b),
      this.address(step.output),
      ACTIVATIONS[step.activation],
      repeats ? b.length : 0,
      floatBits(step.factor),
    ];
  }
}

/** Bytes of a row from which sums in 16 bits pay. */
const MIN_CHUNK = 16;

/** How many bytes of a row may be multiplied with such int8 weights until a sum of pairs leaves 16 bits: a multiple of 4. */
const chunkOf = (largest: number) => 4 * Math.floor(32767 / (2 * 127 * largest));

function floatBits(value: number): number {
  return new Int32Array(Float32Array.of(value).buffer)[0]!;
}
