import { foldConstant } from "./fold-constants.ts";
import { changeScores, lowerAttention, matchScores } from "./lower-attention.ts";
import { lowerConv, lowerConvTranspose, lowerMaxPool } from "./lower-convolution.ts";
import { lowerLayout } from "./lower-layout.ts";
import { lowerDynamicQuantizeMatMul, lowerLayerNorm, lowerMatMul, lowerMatMulNBits } from "./lower-linear.ts";
import type { OnnxGraph, OnnxNode } from "./onnx-graph.ts";
import { PlanError } from "./plan-error.ts";
import { ProgramBuilder } from "./program-builder.ts";
import type { Nonlinearity, Step } from "./steps.ts";
import { elementCount, type Tensor } from "./tensor.ts";
import { type Value, viewOf } from "./value.ts";
import { type Buffer, denseView, transpose, type View } from "./view.ts";

export interface Program {
  steps: Step[];
  input: Buffer;
  /** Scores, the classes of each sample side by side. */
  output: Buffer;
  /** As the graph states it: `[1, K, ...window]`. */
  outputShape: readonly number[];
}

/** A bound on the constants that folding may make, in values. */
const MAX_FOLDED = 1 << 27;
const ACTIVATIONS: Record<string, Nonlinearity | undefined> = { Relu: "relu", Gelu: "gelu" };

/**
 * An ONNX graph as steps. Batch 1; an image's channels are last in memory, also in the input.
 * @param shape of the input as the graph states it: `[1, C, ...window]`
 * @throws {PlanError} for an operator or a form of it that the engine does not have
 */
export function lowerGraph(
  graph: OnnxGraph,
  input: string,
  output: string,
  shape: readonly number[],
): Program {
  return new Lowering(graph).run(input, output, shape);
}

class Lowering {
  readonly #builder = new ProgramBuilder();
  readonly #graph: OnnxGraph;
  readonly #values = new Map<string, Value>();
  #folded = 0;

  constructor(graph: OnnxGraph) {
    this.#graph = graph;
    for (const [name, constant] of graph.initializers) this.#values.set(name, { constant });
  }

  run(input: string, output: string, shape: readonly number[]): Program {
    if (this.#graph.inputs.join() !== input) {
      throw new PlanError(`the graph has the inputs ${this.#graph.inputs}, expected ${input}`);
    }
    const buffer = this.#builder.buffer(elementCount(shape));
    this.#values.set(input, { view: channelsLast(buffer, shape) });
    for (const node of this.#graph.nodes) this.#lowerNode(node);
    const result = this.#values.get(output);
    if (!result || !("view" in result))
      throw new PlanError(`the graph does not compute the output ${output}`);
    const { view } = result;
    if (view.shape.length < 2 || view.shape[0] !== 1) {
      throw new PlanError(`the output ${output} has the shape ${view.shape.join("×")}, expected one window`);
    }
    const axes = view.shape.map((_, axis) => axis);
    const scores = this.#builder.dense(transpose(view, [0, ...axes.slice(2), 1]));
    return { steps: this.#builder.steps, input: buffer, output: scores, outputShape: view.shape };
  }

  #lowerNode(node: OnnxNode): void {
    const inputs = node.inputs.map((name) => {
      if (name === "") return undefined;
      const value = this.#values.get(name);
      if (!value)
        throw new PlanError(`the operator ${node.operator} reads ${name}, which nothing before it computes`);
      return value;
    });
    const results = this.#fold(node, inputs) ?? this.#lower(node, inputs);
    if (results.length < node.outputs.filter((name) => name !== "").length) {
      throw new PlanError(`the operator ${node.operator} has ${node.outputs.length} outputs`);
    }
    for (const [i, name] of node.outputs.entries()) if (name !== "") this.#values.set(name, results[i]!);
  }

  #fold(node: OnnxNode, inputs: readonly (Value | undefined)[]): Value[] | undefined {
    const constants: (Tensor | undefined)[] = [];
    for (const value of inputs) {
      if (value && !("constant" in value)) return undefined;
      constants.push(value?.constant);
    }
    const folded = foldConstant(node, constants);
    this.#folded += folded?.reduce((sum, { data }) => sum + data.length, 0) ?? 0;
    if (this.#folded > MAX_FOLDED)
      throw new PlanError(`the graph's constants have more than ${MAX_FOLDED} values`);
    return folded?.map((constant) => ({ constant }));
  }

  #lower(node: OnnxNode, inputs: readonly (Value | undefined)[]): Value[] {
    const [first] = inputs;
    if (!first) throw new PlanError(`the operator ${node.operator} lacks its first input`);
    const second = inputs[1];
    if ("scores" in first && node.operator === "MatMul") {
      return [{ view: lowerAttention(this.#builder, first.scores, viewOf(second, node)) }];
    }
    if (inputs.some((value) => value && "scores" in value)) return [{ scores: changeScores(node, inputs) }];
    const layout = lowerLayout(this.#builder, node, inputs);
    if (layout) return layout;
    switch (node.operator) {
      case "Conv":
        return [{ view: lowerConv(this.#builder, node, viewOf(first, node), constantsOf(node, inputs)) }];
      case "ConvTranspose":
        return [
          { view: lowerConvTranspose(this.#builder, node, viewOf(first, node), constantsOf(node, inputs)) },
        ];
      case "MaxPool":
        return [{ view: lowerMaxPool(this.#builder, node, viewOf(first, node)) }];
      case "com.microsoft.DynamicQuantizeMatMul":
        return [
          {
            view: lowerDynamicQuantizeMatMul(
              this.#builder,
              node,
              viewOf(first, node),
              constantsOf(node, inputs),
            ),
          },
        ];
      case "com.microsoft.MatMulNBits":
        return [
          { view: lowerMatMulNBits(this.#builder, node, viewOf(first, node), constantsOf(node, inputs)) },
        ];
      case "MatMul": {
        if (second && "constant" in second)
          return [{ view: lowerMatMul(this.#builder, viewOf(first, node), second.constant) }];
        return [{ scores: matchScores(viewOf(first, node), viewOf(second, node)) }];
      }
      case "LayerNormalization":
        return [
          { view: lowerLayerNorm(this.#builder, node, viewOf(first, node), constantsOf(node, inputs)) },
        ];
      case "Relu":
      case "Gelu":
        return [{ view: this.#activate(node, viewOf(first, node)) }];
      case "Add":
      case "Mul":
        return [{ view: this.#combine(node, inputs) }];
      default:
        throw new PlanError(`the engine does not have the operator ${node.operator}`);
    }
  }

  #activate(node: OnnxNode, view: View): View {
    if (node.attributes.get("approximate") === "tanh") {
      throw new PlanError("the engine has the operator Gelu only in its exact form");
    }
    const { buffer, place } = this.#builder.inPlace(view);
    const output = this.#builder.buffer(buffer.elements);
    const activation = ACTIVATIONS[node.operator]!;
    this.#builder.steps.push({
      kind: "elementwise",
      operation: "copy",
      a: buffer,
      factor: 1,
      activation,
      output,
    });
    return place(output);
  }

  #combine(node: OnnxNode, inputs: readonly (Value | undefined)[]): View {
    const operation = node.operator === "Add" ? "add" : "multiply";
    const [a, b] = inputs as [Value, Value];
    if (!a || !b) throw new PlanError(`the operator ${node.operator} lacks an input`);
    if ("constant" in a || "constant" in b) {
      const view = viewOf("constant" in a ? b : a, node);
      return this.#withConstant(
        operation,
        view,
        ("constant" in a ? a : (b as { constant: Tensor })).constant,
        node,
      );
    }
    const [x, y] = [viewOf(a, node), viewOf(b, node)];
    if (x.shape.join() !== y.shape.join()) {
      throw new PlanError(
        `the operator ${node.operator} has operands of ${x.shape.join("×")} and ${y.shape.join("×")}; the engine broadcasts constants only`,
      );
    }
    const first = this.#builder.inPlace(x);
    const second = this.#builder.inOrder(y, first.order);
    const output = this.#builder.buffer(first.buffer.elements);
    this.#builder.steps.push({
      kind: "elementwise",
      operation,
      a: first.buffer,
      b: second,
      factor: 1,
      activation: "none",
      output,
    });
    return first.place(output);
  }

  #withConstant(operation: "add" | "multiply", view: View, constant: Tensor, node: OnnxNode): View {
    if (operation === "multiply" && constant.data.length === 1) {
      return { ...view, factor: view.factor * constant.data[0]! };
    }
    const channels = view.shape.at(-1)!;
    const repeats = constant.data.length === channels && constant.shape.at(-1) === channels;
    if (!repeats && constant.data.length !== 1) {
      throw new PlanError(
        `the operator ${node.operator} has a constant of ${constant.shape.join("×")} for ${view.shape.join("×")}; the engine has one of the last axis only`,
      );
    }
    const a = this.#builder.dense(view);
    const output = this.#builder.buffer(a.elements);
    const b = repeats ? Float32Array.from(constant.data) : new Float32Array(channels).fill(constant.data[0]!);
    this.#builder.steps.push({ kind: "elementwise", operation, a, b, factor: 1, activation: "none", output });
    return denseView(output, view.shape);
  }
}

/** `[1, C, ...]` over a buffer with the channels last. */
function channelsLast(buffer: Buffer, shape: readonly number[]): View {
  const [batch, channels, ...spatial] = shape as [number, number, ...number[]];
  const last = denseView(buffer, [batch, ...spatial, channels]);
  const rank = shape.length;
  return transpose(last, [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, i) => i + 1)]);
}

/** The constants after the first input. */
function constantsOf(node: OnnxNode, inputs: readonly (Value | undefined)[]): (Tensor | undefined)[] {
  return inputs.slice(1).map((value) => {
    if (value && !("constant" in value)) {
      throw new PlanError(`the operator ${node.operator} has weights that are computed`);
    }
    return value?.constant;
  });
}
