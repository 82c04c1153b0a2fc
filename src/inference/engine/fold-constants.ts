import type { OnnxNode } from "./onnx-graph.ts";
import { PlanError } from "./plan-error.ts";
import { denseStrides, elementCount, numbers, type Tensor } from "./tensor.ts";

/** The result of an operator whose inputs are constants; undefined if it is none of those that are folded. */
export function foldConstant(node: OnnxNode, inputs: readonly (Tensor | undefined)[]): Tensor[] | undefined {
  const [a, b, c] = inputs;
  switch (node.operator) {
    case "Constant":
      return [constantOf(node)];
    case "Cast":
      return [castTensor(a!, attributeNumber(node, "to", 1))];
    case "Identity":
      return [a!];
    case "Reshape":
      return [{ shape: resolveShape(a!.shape, numbers(b!), node), data: a!.data }];
    case "Unsqueeze":
      return [{ shape: unsqueezeShape(a!.shape, axesOf(node, b)), data: a!.data }];
    case "Squeeze":
      return [{ shape: squeezeShape(a!.shape, axesOf(node, b)), data: a!.data }];
    case "Transpose":
      return [transposeTensor(a!, permutationOf(node, a!.shape.length))];
    case "Gather":
      return [gather(a!, b!, axisOf(node, a!.shape.length, 0))];
    case "Slice":
      return [sliceTensor(node, inputs)];
    case "Concat":
      return [concatTensors(inputs as Tensor[], axisOf(node, a!.shape.length, 0))];
    case "Add":
      return [broadcast([a!, b!], (x, y) => x + y)];
    case "Sub":
      return [broadcast([a!, b!], (x, y) => x - y)];
    case "Mul":
      return [broadcast([a!, b!], (x, y) => x * y)];
    case "Div":
      return [divide(a!, b!)];
    case "Equal":
      return [{ ...broadcast([a!, b!], (x, y) => (x === y ? 1 : 0), true) }];
    case "Where":
      return [broadcast([a!, b!, c!], (x, y, z) => (x ? y : z))];
    default:
      return undefined;
  }
}

function constantOf(node: OnnxNode): Tensor {
  const value = node.attributes.get("value");
  if (value && typeof value === "object" && !Array.isArray(value)) return value;
  for (const [name, float] of [
    ["value_float", true],
    ["value_floats", true],
    ["value_int", false],
    ["value_ints", false],
  ] as const) {
    const given = node.attributes.get(name);
    if (given === undefined || typeof given === "string" || (typeof given === "object" && "data" in given))
      continue;
    const list = typeof given === "number" ? [given] : given;
    const shape = typeof given === "number" ? [] : [list.length];
    return { shape, data: float ? Float32Array.from(list) : Int32Array.from(list) };
  }
  throw new PlanError("the operator Constant has a value of a kind that the engine does not have");
}

/** Of the types of ONNX: 1 float32, 10 float16 (kept as float32), 3 int8, 6 int32, 7 int64, 9 bool. */
function castTensor(tensor: Tensor, to: number): Tensor {
  const { shape, data } = tensor;
  if (to === 1 || to === 10)
    return { shape, data: data instanceof Float32Array ? data : Float32Array.from(data) };
  if (to === 3) return { shape, data: data instanceof Int8Array ? data : Int8Array.from(data) };
  if (to === 6 || to === 7) return { shape, data: Int32Array.from(data, Math.trunc) };
  if (to === 9) return { shape, data: Int32Array.from(data, (x) => (x === 0 ? 0 : 1)) };
  throw new PlanError(`the operator Cast has the type number ${to}, which the engine does not have`);
}

export function attributeNumber(node: OnnxNode, name: string, otherwise: number): number {
  const value = node.attributes.get(name);
  return typeof value === "number" ? value : otherwise;
}

export function attributeNumbers(node: OnnxNode, name: string): number[] | undefined {
  const value = node.attributes.get(name);
  return Array.isArray(value) ? value : undefined;
}

export function axisOf(node: OnnxNode, rank: number, otherwise: number): number {
  return checkAxis(attributeNumber(node, "axis", otherwise), rank, node);
}

function checkAxis(axis: number, rank: number, node: OnnxNode): number {
  const positive = axis < 0 ? axis + rank : axis;
  if (!(positive >= 0 && positive < rank)) {
    throw new PlanError(`the operator ${node.operator} has axis ${axis} of ${rank}`);
  }
  return positive;
}

export function permutationOf(node: OnnxNode, rank: number): number[] {
  const given = attributeNumbers(node, "perm") ?? Array.from({ length: rank }, (_, i) => rank - 1 - i);
  if (given.length !== rank || given.toSorted((a, b) => a - b).some((axis, i) => axis !== i)) {
    throw new PlanError(`the operator Transpose has the permutation ${given} of ${rank} axes`);
  }
  return given;
}

export function axesOf(node: OnnxNode, input: Tensor | undefined): number[] {
  return attributeNumbers(node, "axes") ?? (input ? numbers(input) : []);
}

/** A shape as Reshape states it: 0 keeps a size, -1 is what is left. */
export function resolveShape(from: readonly number[], given: readonly number[], node: OnnxNode): number[] {
  const zero = attributeNumber(node, "allowzero", 0) === 0;
  const shape = given.map((size, i) => (size === 0 && zero ? (from[i] ?? -2) : size));
  const total = elementCount(from);
  const known = shape.reduce((n, size) => (size === -1 ? n : n * size), 1);
  const open = shape.indexOf(-1);
  if (open >= 0) shape[open] = known > 0 ? total / known : -2;
  if (
    shape.some((size) => !Number.isInteger(size) || size < 0) ||
    shape.reduce((n, size) => n * size, 1) !== total
  ) {
    throw new PlanError(`a tensor of ${from.join("×")} cannot become ${given.join("×")}`);
  }
  return shape;
}

export function unsqueezeShape(shape: readonly number[], axes: readonly number[]): number[] {
  const rank = shape.length + axes.length;
  const at = new Set(axes.map((axis) => (axis < 0 ? axis + rank : axis)));
  let next = 0;
  return Array.from({ length: rank }, (_, axis) => (at.has(axis) ? 1 : shape[next++]!));
}

export function squeezeShape(shape: readonly number[], axes: readonly number[]): number[] {
  const at = new Set(axes.map((axis) => (axis < 0 ? axis + shape.length : axis)));
  return shape.filter((size, axis) => !(at.has(axis) || (axes.length === 0 && size === 1)));
}

function transposeTensor({ shape, data }: Tensor, permutation: readonly number[]): Tensor {
  const strides = denseStrides(shape);
  const sizes = permutation.map((axis) => shape[axis]!);
  const places = placesOver(
    sizes,
    permutation.map((axis) => strides[axis]!),
  );
  const turned = emptyLike(data, places.length);
  for (let i = 0; i < turned.length; i++) turned[i] = data[places[i]!]!;
  return { shape: sizes, data: turned };
}

function gather(a: Tensor, indices: Tensor, axis: number): Tensor {
  const size = a.shape[axis]!;
  const inner = elementCount(a.shape.slice(axis + 1));
  const outer = elementCount(a.shape.slice(0, axis));
  const shape = [...a.shape.slice(0, axis), ...indices.shape, ...a.shape.slice(axis + 1)];
  const data = emptyLike(a.data, elementCount(shape));
  let to = 0;
  for (let o = 0; o < outer; o++) {
    for (const index of indices.data) {
      const i = index < 0 ? index + size : index;
      if (i < 0 || i >= size) throw new PlanError(`the operator Gather takes ${index} of ${size}`);
      const from = (o * size + i) * inner;
      data.set(a.data.subarray(from, from + inner), to);
      to += inner;
    }
  }
  return { shape, data };
}

export interface Range {
  axis: number;
  start: number;
  count: number;
  step: number;
}

/** What a Slice takes along each axis that it names. */
export function slicesOf(
  node: OnnxNode,
  shape: readonly number[],
  inputs: readonly (Tensor | undefined)[],
): Range[] {
  const [, starts, ends, axes, steps] = inputs;
  if (!starts || !ends) throw new PlanError("the operator Slice has limits that are computed");
  const first = numbers(starts);
  return first.map((given, i) => {
    const axis = checkAxis(axes ? numbers(axes)[i]! : i, shape.length, node);
    const step = steps ? numbers(steps)[i]! : 1;
    const size = shape[axis]!;
    if (!(step > 0)) throw new PlanError(`the operator Slice has the step ${step}`);
    const clamp = (x: number) => Math.max(0, Math.min(size, x < 0 ? x + size : x));
    const start = clamp(given);
    const end = clamp(numbers(ends)[i]!);
    if (!(end > start)) throw new PlanError(`the operator Slice takes nothing of ${size}`);
    return { axis, start, count: Math.ceil((end - start) / step), step };
  });
}

function sliceTensor(node: OnnxNode, inputs: readonly (Tensor | undefined)[]): Tensor {
  let tensor = inputs[0]!;
  for (const { axis, start, count, step } of slicesOf(node, tensor.shape, inputs)) {
    const indices = Int32Array.from({ length: count }, (_, i) => start + i * step);
    tensor = gather(tensor, { shape: [count], data: indices }, axis);
  }
  return tensor;
}

function concatTensors(parts: readonly Tensor[], axis: number): Tensor {
  const shape = parts[0]!.shape.with(
    axis,
    parts.reduce((n, part) => n + part.shape[axis]!, 0),
  );
  const data = emptyLike(parts[0]!.data, elementCount(shape));
  const outer = elementCount(shape.slice(0, axis));
  let to = 0;
  for (let o = 0; o < outer; o++) {
    for (const part of parts) {
      const size = part.data.length / outer;
      if (to + size > data.length) throw new PlanError("the operator Concat has parts of different shapes");
      data.set(part.data.subarray(o * size, (o + 1) * size), to);
      to += size;
    }
  }
  return { shape, data };
}

export function broadcastShape(shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, i) => {
    const sizes = shapes.map((shape) => shape[i - rank + shape.length] ?? 1);
    const size = sizes.find((s) => s !== 1) ?? 1;
    if (sizes.some((s) => s !== 1 && s !== size)) {
      throw new PlanError(`tensors of ${shapes.map((s) => s.join("×")).join(" and ")} do not fit each other`);
    }
    return size;
  });
}

/** Distances of a tensor's elements along the axes of the shape it is broadcast to. */
export function broadcastStrides(shape: readonly number[], target: readonly number[]): number[] {
  const strides = denseStrides(shape);
  return target.map((_, i) => {
    const axis = i - target.length + shape.length;
    return axis < 0 || shape[axis] === 1 ? 0 : strides[axis]!;
  });
}

type Combine = (x: number, y: number, z: number) => number;

function broadcast(inputs: readonly Tensor[], combine: Combine, truth = false): Tensor {
  const shape = broadcastShape(inputs.map((input) => input.shape));
  const data = emptyLike(truth ? INTEGERS : inputs[inputs.length - 1]!.data, elementCount(shape));
  const [whole, each] = inputs as [Tensor, Tensor];
  const run = inputs.length === 2 ? repeats(whole, each, shape) : undefined;
  if (run !== undefined) {
    // Weights times a scale per output channel: most of the folding of a quantized network.
    for (let at = 0, n = 0; at < data.length; n++) {
      const y = each.data[n]!;
      for (const end = at + run; at < end; at++) data[at] = combine(whole.data[at]!, y, y);
    }
    return { shape, data };
  }
  const [a, b, c = b] = inputs.map((input) => ({
    data: input.data,
    at: placesOver(shape, broadcastStrides(input.shape, shape)),
  })) as [Operand, Operand, Operand?];
  for (let i = 0; i < data.length; i++) {
    data[i] = combine(a.data[a.at[i]!]!, b.data[b.at[i]!]!, c!.data[c!.at[i]!]!);
  }
  return { shape, data };
}

/** If one tensor has the shape and the other a value for each of its leading places: how long each value holds. */
function repeats(whole: Tensor, each: Tensor, shape: readonly number[]): number | undefined {
  const isWhole = whole.shape.length === shape.length && whole.shape.every((n, i) => n === shape[i]);
  if (!isWhole || each.shape.length !== shape.length) return undefined;
  const axis = each.shape.findIndex((n, i) => n !== shape[i]);
  if (axis < 0 || each.shape.slice(axis).some((n) => n !== 1)) return undefined;
  return elementCount(shape.slice(axis));
}

interface Operand {
  data: Tensor["data"];
  at: Int32Array;
}

const INTEGERS = new Int32Array(0);

function divide(a: Tensor, b: Tensor): Tensor {
  const whole = !(a.data instanceof Float32Array);
  return broadcast([a, b], (x, y) => (whole ? Math.trunc(x / y) : x / y));
}

/** Where each element of a tensor of `shape` lies, with these distances along its axes. */
function placesOver(shape: readonly number[], strides: readonly number[]): Int32Array {
  const places = new Int32Array(elementCount(shape));
  const fill = (at: number, axis: number, from: number): number => {
    if (axis === shape.length) {
      places[at] = from;
      return at + 1;
    }
    let next = at;
    const stride = strides[axis]!;
    if (axis === shape.length - 1) {
      for (let i = 0; i < shape[axis]!; i++) places[next++] = from + i * stride;
      return next;
    }
    for (let i = 0; i < shape[axis]!; i++) next = fill(next, axis + 1, from + i * stride);
    return next;
  };
  if (places.length > 0) fill(0, 0, 0);
  return places;
}

function emptyLike(data: Tensor["data"], length: number): Tensor["data"] {
  if (data instanceof Float32Array) return new Float32Array(length);
  return data instanceof Int8Array ? new Int8Array(length) : new Int32Array(length);
}
