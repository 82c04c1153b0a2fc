import { Engine, type Kernels, planProgram } from "../../src/inference/engine/engine.ts";
import { fuseSteps } from "../../src/inference/engine/fuse-steps.ts";
import { lowerGraph } from "../../src/inference/engine/lower-graph.ts";
import type { Attribute, OnnxGraph } from "../../src/inference/engine/onnx-graph.ts";
import type { Tensor } from "../../src/inference/engine/tensor.ts";
import { loadKernels } from "../../src/inference/node/engine-kernels.ts";

/** Both builds: laws hold for each. */
export const KERNELS: readonly Kernels[] = await loadKernels();

/** A graph of operators in a row: each reads the result of the one before, and constants. */
export function chain(
  ...operators: {
    operator: string;
    constants?: (Tensor | undefined)[];
    attributes?: Record<string, Attribute>;
  }[]
): OnnxGraph {
  const initializers = new Map<string, Tensor>();
  const nodes = operators.map(({ operator, constants = [], attributes = {} }, i) => {
    const names = constants.map((constant, k) => {
      if (!constant) return "";
      initializers.set(`c${i}_${k}`, constant);
      return `c${i}_${k}`;
    });
    return {
      operator,
      inputs: [i === 0 ? "x" : `y${i - 1}`, ...names],
      outputs: [i === operators.length - 1 ? "y" : `y${i}`],
      attributes: new Map(Object.entries(attributes)),
    };
  });
  return { nodes, initializers, inputs: ["x"], outputs: ["y"] };
}

/**
 * Runs `graph` from x to y. `input` is as the graph states it: `[1, C, ...]`, or without channels `[1, n]`.
 * @returns y as the graph states it
 */
export async function runGraph(
  graph: OnnxGraph,
  shape: readonly number[],
  input: ArrayLike<number>,
  kernels: Kernels,
  options: { fused?: boolean } = {},
): Promise<{ data: Float32Array; shape: readonly number[] }> {
  const program = lowerGraph(graph, "x", "y", shape);
  const plan = planProgram(options.fused === false ? program : fuseSteps(program));
  const engine = await Engine.create(plan, kernels);
  const channels = shape[1]!;
  const pixels = input.length / channels;
  const target = engine.input;
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < pixels; i++) target[i * channels + c] = input[c * pixels + i]!;
  }
  engine.run();
  return { data: engine.scores(), shape: plan.outputShape };
}

/** Values in [-1, 1) from a seed: enough for arithmetic, and the same everywhere. */
export function noise(length: number, seed: number): Float32Array {
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  return Float32Array.from({ length }, () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 31 - 1;
  });
}

export function floats(shape: readonly number[], seed: number, factor = 1): Tensor {
  const length = shape.reduce((n, size) => n * size, 1);
  return { shape, data: noise(length, seed).map((x) => x * factor) };
}

export function integers(...values: number[]): Tensor {
  return { shape: [values.length], data: Int32Array.from(values) };
}
