import { axisOf, broadcastStrides, resolveShape } from "./fold-constants.ts";
import type { OnnxNode } from "./onnx-graph.ts";
import { PlanError } from "./plan-error.ts";
import type { ProgramBuilder } from "./program-builder.ts";
import { elementCount, numbers } from "./tensor.ts";
import type { Scores, Value } from "./value.ts";
import { denseAxes, denseView, offsets, stridedView, strideOf, transpose, type View } from "./view.ts";

/** A product of two computed tensors: the engine has it as the scores of an attention only. */
export function matchScores(queries: View, keys: View): Scores {
  const [a, b] = [queries.shape, keys.shape];
  const rank = a.length;
  const fits = rank >= 2 && b.length === rank && a.at(-1) === b.at(-2);
  if (!fits || a.slice(0, -2).join() !== b.slice(0, -2).join()) {
    throw new PlanError(`the operator MatMul multiplies ${a.join("×")} and ${b.join("×")}`);
  }
  return { queries, keys, shape: [...a.slice(0, -1), b.at(-1)!], added: [], probabilities: false };
}

/** What may happen to scores between the two products of an attention. */
export function changeScores(node: OnnxNode, inputs: readonly (Value | undefined)[]): Scores {
  const at = inputs.findIndex((value) => value && "scores" in value);
  const { scores } = inputs[at] as { scores: Scores };
  const other = inputs[1 - at];
  const rank = scores.shape.length;
  if (node.operator === "Cast") return scores;
  if (node.operator === "Softmax" && !scores.probabilities && axisOf(node, rank, -1) === rank - 1) {
    return { ...scores, probabilities: true };
  }
  if (node.operator === "Reshape" && other && "constant" in other) {
    const shape = resolveShape(scores.shape, numbers(other.constant), node);
    if (shape.slice(-2).join() === scores.shape.slice(-2).join()) return { ...scores, shape };
  }
  if (node.operator === "Add" && other && "constant" in other && !scores.probabilities) {
    const { constant } = other;
    return { ...scores, added: [...scores.added, { constant, shape: scores.shape }] };
  }
  throw new PlanError(
    `the operator ${node.operator} stands inside an attention, where the engine has Add of a constant, Reshape of the batch and Softmax over the keys`,
  );
}

/** Probabilities times values: the whole attention as one step. */
export function lowerAttention(builder: ProgramBuilder, scores: Scores, values: View): View {
  if (!scores.probabilities) throw new PlanError("the operator MatMul multiplies scores without a Softmax");
  const batchShape = scores.queries.shape.slice(0, -2);
  const batches = elementCount(batchShape);
  const [queries, depth] = scores.queries.shape.slice(-2) as [number, number];
  const [keys, valueDepth] = values.shape.slice(-2) as [number, number];
  if (
    values.shape.slice(0, -2).join() !== scores.shape.slice(0, -2).join() ||
    elementCount(values.shape.slice(0, -2)) !== batches ||
    keys !== scores.shape.at(-1)
  ) {
    throw new PlanError(
      `the operator MatMul multiplies ${scores.shape.join("×")} and ${values.shape.join("×")}`,
    );
  }
  const rank = scores.keys.shape.length;
  const turned = transpose(scores.keys, [...Array(rank - 2).keys(), rank - 1, rank - 2]);
  const factor = scores.queries.factor * scores.keys.factor;
  const operands = [
    operand(builder, { ...scores.queries, factor: 1 }),
    operand(builder, { ...turned, factor: 1 }),
    operand(builder, values),
  ];
  // The heads of a token side by side, as the linear behind the attention reads them.
  const output = builder.buffer(batches * queries * valueDepth);
  const heads = batchShape.length > 1 ? batchShape.at(-1)! : 1;
  const step = heads * valueDepth;
  const view = stridedView(
    output,
    [...batchShape, queries, valueDepth],
    outputStrides(batchShape, queries, valueDepth),
  );
  const outputOffsets = offsets(view, batchShape.length);
  const { matrices, added } = addedMatrices(scores, batches, queries, keys);
  builder.steps.push({
    kind: "attention",
    batches,
    queries,
    keys,
    depth,
    valueDepth,
    operands,
    scale: factor,
    matrices,
    added,
    output,
    outputOffsets,
    outputStep: step,
  });
  return { ...view, shape: [...values.shape.slice(0, -2), queries, valueDepth] };
}

/** Of `[..., heads, queries, depth]` in memory as `[..., queries, heads, depth]`. */
function outputStrides(batch: readonly number[], queries: number, depth: number): number[] {
  const heads = batch.length > 1 ? batch.at(-1)! : 1;
  const strides = [heads * depth, 1];
  if (batch.length > 1) strides.unshift(depth);
  let step = heads * queries * depth;
  for (let axis = batch.length - (batch.length > 1 ? 2 : 1); axis >= 0; axis--) {
    strides.unshift(step);
    step *= batch[axis]!;
  }
  return strides;
}

function operand(builder: ProgramBuilder, view: View) {
  const rank = view.shape.length;
  const step = strideOf(view, rank - 2);
  const direct = view.factor === 1 && step !== undefined && denseAxes(view) >= 1;
  const plain = direct ? view : denseView(builder.dense(view), view.shape);
  return {
    buffer: plain.buffer,
    offsets: offsets(plain, rank - 2),
    step: strideOf(plain, rank - 2)!,
  };
}

/** The constants that were added, cut into one matrix a batch, each different one once, none that is 0. */
function addedMatrices(scores: Scores, batches: number, queries: number, keys: number) {
  const matrices: Float32Array[] = [];
  const known = new Map<number, number>();
  const added: number[][] = Array.from({ length: batches }, () => []);
  for (const { constant, shape } of scores.added) {
    const strides = broadcastStrides(constant.shape, shape);
    const rank = shape.length;
    const made = new Map<number, number>();
    const starts = startsOf(shape.slice(0, -2), strides);
    if (starts.length !== batches) throw new PlanError("an attention has a mask of another shape");
    for (const [batch, start] of starts.entries()) {
      let index = made.get(start);
      if (index === undefined) {
        const matrix = cutMatrix(constant.data, start, queries, keys, strides[rank - 2]!, strides[rank - 1]!);
        index = isZero(matrix) ? -1 : keep(matrix, matrices, known);
        made.set(start, index);
      }
      if (index >= 0) added[batch]!.push(index);
    }
  }
  const joined = added.map((list) => joinBeyondTwo(list, matrices, known));
  if (joined.some((list) => list.length === 0)) {
    const blank = keep(blankMatrix(queries, keys), matrices, known);
    return { matrices, added: joined.map((list) => (list.length === 0 ? [blank] : list)) };
  }
  return { matrices, added: joined };
}

/** In the columns beyond the keys: their probability is 0. */
const BEYOND = -1e30;

const roundedKeys = (keys: number) => (keys + 7) & ~7;

function blankMatrix(queries: number, keys: number): Float32Array {
  const row = roundedKeys(keys);
  const matrix = new Float32Array(queries * row);
  if (keys < row) for (let t = 0; t < queries; t++) matrix.fill(BEYOND, t * row + keys, (t + 1) * row);
  return matrix;
}

function startsOf(shape: readonly number[], strides: readonly number[]): number[] {
  let starts = [0];
  for (const [axis, size] of shape.entries()) {
    starts = starts.flatMap((start) => Array.from({ length: size }, (_, i) => start + i * strides[axis]!));
  }
  return starts;
}

function cutMatrix(
  data: ArrayLike<number>,
  start: number,
  queries: number,
  keys: number,
  queryStride: number,
  keyStride: number,
): Float32Array {
  const row = roundedKeys(keys);
  const matrix = blankMatrix(queries, keys);
  for (let t = 0; t < queries; t++) {
    for (let s = 0; s < keys; s++) matrix[t * row + s] = data[start + t * queryStride + s * keyStride]!;
  }
  return matrix;
}

function keep(matrix: Float32Array, matrices: Float32Array[], known: Map<number, number>): number {
  const bits = new Int32Array(matrix.buffer);
  let key = 0;
  for (let i = 0; i < bits.length; i++) key = (Math.imul(key, 31) + bits[i]!) | 0;
  const index = known.get(key);
  if (index !== undefined && isSame(matrices[index]!, matrix)) return index;
  known.set(key, matrices.length);
  matrices.push(matrix);
  return matrices.length - 1;
}

function isSame(a: Float32Array, b: Float32Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function isZero(matrix: Float32Array): boolean {
  for (let i = 0; i < matrix.length; i++) if (matrix[i] !== 0 && matrix[i] !== BEYOND) return false;
  return true;
}

/** The kernel adds two matrices; more are added up here. */
function joinBeyondTwo(
  list: readonly number[],
  matrices: Float32Array[],
  known: Map<number, number>,
): number[] {
  if (list.length <= 2) return [...list];
  const sum = matrices[list[1]!]!.slice();
  for (const index of list.slice(2)) {
    for (const [i, x] of matrices[index]!.entries()) sum[i]! += x;
  }
  return [list[0]!, keep(sum, matrices, known)];
}
