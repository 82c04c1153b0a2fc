import {
  attributeNumber,
  attributeNumbers,
  axesOf,
  axisOf,
  permutationOf,
  resolveShape,
  slicesOf,
  squeezeShape,
  unsqueezeShape,
} from "./fold-constants.ts";

import type { OnnxNode } from "./onnx-graph.ts";
import { PlanError } from "./plan-error.ts";
import type { ProgramBuilder } from "./program-builder.ts";
import { elementCount, numbers, type Tensor } from "./tensor.ts";
import type { Value } from "./value.ts";
import {
  type Buffer,
  concatViews,
  denseAxes,
  denseView,
  memoryOrder,
  offsets,
  reshape,
  slice,
  transpose,
  type View,
} from "./view.ts";

type Lower = (
  builder: ProgramBuilder,
  node: OnnxNode,
  view: View,
  constants: readonly (Tensor | undefined)[],
) => View | View[];

const LAYOUT: Record<string, Lower | undefined> = {
  Identity: (_, __, view) => view,
  Cast: (_, node, view) => {
    const to = attributeNumber(node, "to", 1);
    if (to === 1) return view;
    throw new PlanError(`the operator Cast has the type number ${to}; the engine computes in float32`);
  },
  Transpose: (_, node, view) => transpose(view, permutationOf(node, view.shape.length)),
  Reshape: (_, node, view, [, shape]) => reshape(view, resolveShape(view.shape, constant(shape, node), node)),
  Unsqueeze: (_, node, view, [, axes]) => reshape(view, unsqueezeShape(view.shape, axesOf(node, axes))),
  Squeeze: (_, node, view, [, axes]) => reshape(view, squeezeShape(view.shape, axesOf(node, axes))),
  Flatten: (_, node, view) => {
    const axis = attributeNumber(node, "axis", 1);
    return reshape(view, [elementCount(view.shape.slice(0, axis)), elementCount(view.shape.slice(axis))]);
  },
  Slice: (_, node, view, constants) => {
    let result = view;
    const shape: Tensor = { shape: view.shape, data: new Int32Array(0) };
    for (const { axis, start, count, step } of slicesOf(node, view.shape, [shape, ...constants.slice(1)])) {
      result = slice(result, axis, start, count, step);
    }
    return result;
  },
  Split: (_, node, view, [, sizes]) => split(node, view, sizes),
  DepthToSpace: (_, node, view) => depthToSpace(node, view),
};

/** Operators that only arrange values; undefined for others. */
export function lowerLayout(
  builder: ProgramBuilder,
  node: OnnxNode,
  inputs: readonly (Value | undefined)[],
): Value[] | undefined {
  if (node.operator === "Concat") return [{ view: concat(builder, node, inputs) }];
  const lower = LAYOUT[node.operator];
  if (!lower) return undefined;
  const [first] = inputs;
  if (!first || !("view" in first))
    throw new PlanError(`the operator ${node.operator} has a form that the engine does not have`);
  const constants = inputs.map((value) => (value && "constant" in value ? value.constant : undefined));
  const result = lower(builder, node, first.view, constants);
  return (Array.isArray(result) ? result : [result]).map((view) => ({ view }));
}

function constant(tensor: Tensor | undefined, node: OnnxNode): number[] {
  if (!tensor) throw new PlanError(`the operator ${node.operator} has a shape that is computed`);
  return numbers(tensor);
}

function split(node: OnnxNode, view: View, given: Tensor | undefined): View[] {
  const axis = axisOf(node, view.shape.length, 0);
  const size = view.shape[axis]!;
  const parts = node.outputs.length;
  const each = Math.ceil(size / parts);
  const sizes =
    (given ? numbers(given) : attributeNumbers(node, "split")) ??
    Array.from({ length: parts }, (_, i) => Math.min(each, size - i * each));
  if (sizes.some((n) => !(n > 0)) || sizes.reduce((sum, n) => sum + n, 0) !== size) {
    throw new PlanError(`the operator Split cuts ${size} into ${sizes}`);
  }
  let start = 0;
  return sizes.map((count) => {
    const part = slice(view, axis, start, count);
    start += count;
    return part;
  });
}

function depthToSpace(node: OnnxNode, view: View): View {
  const block = attributeNumber(node, "blocksize", 1);
  const [batch, channels, height, width] = view.shape as [number, number, number, number];
  const left = channels / (block * block);
  if (view.shape.length !== 4 || !Number.isInteger(left)) {
    throw new PlanError(`the operator DepthToSpace has blocks of ${block} for ${view.shape.join("×")}`);
  }
  const byColumn = node.attributes.get("mode") === "CRD";
  const parts = byColumn
    ? reshape(view, [batch, left, block, block, height, width])
    : reshape(view, [batch, block, block, left, height, width]);
  const turned = transpose(parts, byColumn ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2]);
  return reshape(turned, [batch, left, height * block, width * block]);
}

/** Parts of one tensor stay a view (a roll); others are copied side by side, in the order of the first part's memory. */
function concat(builder: ProgramBuilder, node: OnnxNode, inputs: readonly (Value | undefined)[]): View {
  const views = inputs.map((value) => {
    if (!value || !("view" in value)) throw new PlanError("the operator Concat has parts that are constants");
    return value.view;
  });
  const shape = views[0]!.shape;
  const axis = axisOf(node, shape.length, 0);
  for (const view of views) {
    if (view.shape.length !== shape.length || view.shape.some((size, i) => i !== axis && size !== shape[i])) {
      throw new PlanError(`the operator Concat joins ${views.map((v) => v.shape.join("×")).join(" and ")}`);
    }
  }
  const joined = concatViews(views, axis);
  if (joined) return joined;
  const order = memoryOrder(views[0]!);
  const whole = shape.with(
    axis,
    views.reduce((sum, view) => sum + view.shape[axis]!, 0),
  );
  const sizes = order.map((i) => whole[i]!);
  const output = builder.buffer(elementCount(whole));
  const place = order.indexOf(axis);
  let start = 0;
  for (const view of views) {
    copyInto(builder, transpose(view, order), output, sizes, place, start);
    start += view.shape[axis]!;
  }
  return transpose(
    denseView(output, sizes),
    order.map((_, i) => order.indexOf(i)),
  );
}

function copyInto(
  builder: ProgramBuilder,
  view: View,
  output: Buffer,
  sizes: readonly number[],
  axis: number,
  start: number,
): void {
  const plain = view.factor === 1 ? view : denseView(builder.dense(view), view.shape);
  const target = slice(denseView(output, sizes), axis, start, view.shape[axis]!);
  const outer = view.shape.length - Math.min(denseAxes(plain), denseAxes(target));
  builder.steps.push({
    kind: "copy",
    source: plain.buffer,
    from: offsets(plain, outer),
    run: elementCount(view.shape.slice(outer)),
    output,
    to: offsets(target, outer),
  });
}
