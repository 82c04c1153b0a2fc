import type { Program } from "./lower-graph.ts";
import type {
  Copy,
  Depthwise,
  Elementwise,
  LayerNorm,
  Product,
  QuantizeRows,
  RowSource,
  Step,
} from "./steps.ts";
import { inputsOf, outputsOf } from "./steps.ts";
import type { Buffer } from "./view.ts";

/**
 * Joins steps so that a value is written once, where it is needed: biases, activations, residuals and rearrangements into
 * the step that computes, norms and GELU into the rounding that follows. No rule changes a value, but for float32
 * additions in another order: a bias is then added to the scaled sum at once.
 */
export function fuseSteps(program: Program): Program {
  let steps = program.steps;
  for (const rule of [fuseGelu, fuseBias, fuseActivation, relocate, fuseResidual, fuseActivation, fuseNorm]) {
    steps = new Fusion(steps, program).apply(rule);
  }
  return { ...program, steps };
}

/** Joins the step at `at` with others: what replaces which steps; undefined if it does not apply. */
type Rule = (
  fusion: Fusion,
  step: Step,
  at: number,
) => { step: Step; replaces: Step; drops: Step } | undefined;

class Fusion {
  readonly steps: Step[];
  readonly #kept: ReadonlySet<Buffer>;
  readonly #writers = new Map<Buffer, Step[]>();
  readonly #readers = new Map<Buffer, Step[]>();

  constructor(steps: readonly Step[], { input, output }: Program) {
    this.steps = [...steps];
    this.#kept = new Set([input, output]);
    for (const step of steps) this.#add(step);
  }

  apply(rule: Rule): Step[] {
    for (const [at, step] of [...this.steps].entries()) {
      if (this.steps[at] !== step) continue;
      const result = rule(this, step, at);
      if (!result) continue;
      const dropped = this.steps.indexOf(result.drops);
      this.steps[dropped] = NOTHING;
      this.steps[this.steps.indexOf(result.replaces)] = result.step;
      this.#remove(result.drops);
      this.#remove(result.replaces);
      this.#add(result.step);
    }
    return this.steps.filter((step) => step !== NOTHING);
  }

  /** The only step that writes `buffer`, if only `reader` reads it. */
  writerFor(buffer: Buffer, reader: Step): Step | undefined {
    const writers = this.#writers.get(buffer) ?? [];
    const readers = this.#readers.get(buffer) ?? [];
    if (this.#kept.has(buffer) || writers.length !== 1 || readers.length !== 1) return undefined;
    return readers[0] === reader ? writers[0] : undefined;
  }

  /** Index of the last step that writes `buffer`; -1 if none does (the input). */
  writtenAt(buffer: Buffer): number {
    return Math.max(-1, ...(this.#writers.get(buffer) ?? []).map((step) => this.steps.indexOf(step)));
  }

  /** Whether one step alone writes `buffer`. */
  hasOneWriter(buffer: Buffer): boolean {
    return this.#writers.get(buffer)?.length === 1;
  }

  #add(step: Step): void {
    for (const buffer of new Set(inputsOf(step))) push(this.#readers, buffer, step);
    for (const buffer of outputsOf(step)) push(this.#writers, buffer, step);
  }

  #remove(step: Step): void {
    for (const buffer of inputsOf(step)) drop(this.#readers, buffer, step);
    for (const buffer of outputsOf(step)) drop(this.#writers, buffer, step);
  }
}

/** In the place of a step that was joined with another. */
const NOTHING = Object.freeze({ kind: "nothing" }) as unknown as Step;

function push(map: Map<Buffer, Step[]>, buffer: Buffer, step: Step): void {
  map.set(buffer, [...(map.get(buffer) ?? []), step]);
}

function drop(map: Map<Buffer, Step[]>, buffer: Buffer, step: Step): void {
  map.set(
    buffer,
    (map.get(buffer) ?? []).filter((other) => other !== step),
  );
}

type Computing = Product | Depthwise;

function isComputing(step: Step | undefined): step is Computing {
  return step?.kind === "product" || step?.kind === "depthwise";
}

/** Whether a step does no more than its operation: nothing was joined to its end. */
const isBare = (step: Computing) => step.activation === "none" && !step.residual;

/** GELU before rounding belongs to the rounding, which reads each row anyway. */
const fuseGelu: Rule = (fusion, step) => {
  if (step.kind !== "quantizeRows" || step.norm || step.gelu) return undefined;
  const writer = fusion.writerFor(step.source.buffer, step);
  if (writer?.kind !== "elementwise" || writer.activation !== "gelu" || !isPlainCopy(writer))
    return undefined;
  const joined: QuantizeRows = { ...step, gelu: true, source: { ...step.source, buffer: writer.a } };
  return { step: joined, replaces: step, drops: writer };
};

const isPlainCopy = (step: Elementwise) => step.operation === "copy" && step.factor === 1;

/** A constant that is added to each row belongs to the bias. */
const fuseBias: Rule = (fusion, step) => {
  if (step.kind !== "elementwise" || step.operation !== "add" || step.factor !== 1) return undefined;
  const { b } = step;
  if (!(b instanceof Float32Array)) return undefined;
  const writer = fusion.writerFor(step.a, step);
  if (writer?.kind !== "product" || !isBare(writer) || writer.weights.N !== b.length || writer.outputRows) {
    return undefined;
  }
  const bias = writer.weights.bias.map((x, n) => x + b[n]!);
  const weights = { ...writer.weights, bias };
  const joined: Product = { ...writer, weights, activation: step.activation, output: step.output };
  return { step: joined, replaces: writer, drops: step };
};

const fuseActivation: Rule = (fusion, step) => {
  if (step.kind !== "elementwise" || !isPlainCopy(step)) return undefined;
  const writer = fusion.writerFor(step.a, step);
  if (!writer || !("activation" in writer) || writer.activation !== "none") return undefined;
  if (writer.kind === "elementwise") return undefined;
  return {
    step: { ...writer, activation: step.activation, output: step.output },
    replaces: writer,
    drops: step,
  };
};

/** A copy of a product's result to other places: the product writes there itself. */
const relocate: Rule = (fusion, step) => {
  if (step.kind !== "copy") return undefined;
  const writer = fusion.writerFor(step.source, step);
  if (writer?.kind !== "product" || writer.outputRows || writer.residual) return undefined;
  const places = placesOf(step, writer);
  if (!places) return undefined;
  const { rows, columns, order } = places;
  const joined: Product = {
    ...writer,
    weights: order ? reorderColumns(writer.weights, order) : writer.weights,
    output: step.output,
    outputRows: rows,
    outputColumns: columns,
  };
  // The copy may be one of several into a buffer; the product takes its own place, which is earlier.
  return { step: joined, replaces: writer, drops: step };
};

/** Columns that the kernel writes together. */
const BLOCK = 8;

/**
 * Where a product's rows and blocks of columns go, if the copy moves each value once and its place is a sum of one of the
 * row and one of the column; with the order of columns that makes blocks neighbours.
 */
function placesOf(copy: Copy, { weights: { N }, output }: Product) {
  const places = new Int32Array(output.elements).fill(-1);
  const { from, to, run } = copy;
  if (from.length * run !== places.length) return undefined;
  for (let i = 0; i < from.length; i++) {
    for (let k = 0; k < run; k++) places[from[i]! + k] = to[i]! + k;
  }
  if (places.includes(-1)) return undefined;
  const rows = new Int32Array(places.length / N);
  for (let m = 0; m < rows.length; m++) rows[m] = places[m * N]!;
  const columns = places.slice(0, N).map((place) => place - places[0]!);
  for (let m = 0; m < rows.length; m++) {
    for (let n = 0; n < N; n++) if (places[m * N + n] !== rows[m]! + columns[n]!) return undefined;
  }
  const order = Array.from(columns.keys()).sort((a, b) => columns[a]! - columns[b]!);
  for (let n = 0; n < N; n++) {
    const first = n - (n % BLOCK);
    if (columns[order[n]!]! !== columns[order[first]!]! + n - first) return undefined;
  }
  const starts = Int32Array.from(
    { length: Math.ceil(N / BLOCK) },
    (_, block) => columns[order[block * BLOCK]!]!,
  );
  const inOrder = order.every((n, i) => n === i);
  const plain = inOrder && starts.every((start, block) => start === block * BLOCK);
  return { rows, columns: plain ? undefined : starts, order: inOrder ? undefined : order };
}

function reorderColumns(weights: Product["weights"], order: readonly number[]): Product["weights"] {
  const { N, data, scales, bias } = weights;
  const K = data.length / N;
  const moved = data.slice();
  for (const [to, from] of order.entries()) moved.set(data.subarray(from * K, (from + 1) * K), to * K);
  return {
    ...weights,
    data: moved,
    scales: scales && Float32Array.from(order, (n) => scales[n]!),
    bias: Float32Array.from(order, (n) => bias[n]!),
  };
}

/** a + b, where the later of the two is just being computed, adds as it writes. */
const fuseResidual: Rule = (fusion, step) => {
  if (step.kind !== "elementwise" || step.operation !== "add" || step.factor !== 1) return undefined;
  const { a, b } = step;
  if (!b || b instanceof Float32Array || a === b) return undefined;
  for (const [own, other] of [
    [b, a],
    [a, b],
  ] as const) {
    const writer = fusion.writerFor(own, step);
    if (!isComputing(writer) || !isBare(writer) || !fusion.hasOneWriter(own)) continue;
    if (fusion.writtenAt(other) >= fusion.steps.indexOf(writer)) continue;
    const joined = { ...writer, residual: other, activation: step.activation, output: step.output };
    return { step: joined, replaces: writer, drops: step };
  }
  return undefined;
};

/** A norm whose rows are only rounded belongs to the rounding. */
const fuseNorm: Rule = (fusion, step) => {
  if (step.kind !== "quantizeRows" || step.norm || step.gelu) return undefined;
  const writer = fusion.writerFor(step.source.buffer, step);
  if (writer?.kind !== "layerNorm" || writer.source.K !== step.source.K) return undefined;
  const source = composeRows(step.source, writer);
  return source && { step: { ...step, source, norm: writer.norm }, replaces: step, drops: writer };
};

/** Rows of a norm's output as the rows of its input that they are made of; none may be made twice. */
function composeRows(rows: RowSource, { source }: LayerNorm): RowSource | undefined {
  const { K } = source;
  if (rows.rows !== source.rows) return undefined;
  const table = new Int32Array(rows.rows);
  for (let m = 0; m < table.length; m++) {
    const at = (rows.table ? rows.table[m]! : rows.start + m * rows.step) / K;
    if (!Number.isInteger(at)) return undefined;
    table[m] = source.table ? source.table[at]! : source.start + at * source.step;
  }
  return { buffer: source.buffer, rows: rows.rows, K, start: 0, step: K, table };
}
