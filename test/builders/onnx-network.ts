import { ELEMENT, type Node, wrapGraph } from "../../src/inference/graph/onnx-file.ts";

/** IR version 8, opset 17, an empty graph named "g". */
const EMPTY = Uint8Array.of(0x08, 0x08, 0x42, 0x02, 0x10, 0x11, 0x3a, 0x03, 0x12, 0x01, 0x67);

export interface Network {
  window: readonly number[];
  channels: number;
  scores: number;
  /** Samples along each axis that a score depends on, odd; default 1. */
  kernel?: number;
  /** `[scores, channels, ...kernel]`, row-major. */
  weights: readonly number[];
  biases: readonly number[];
  /** Applied to the scores, such as "Sqrt" for scores that may be NaN. */
  last?: string;
  opset?: number;
  element?: number;
  /** Prefix of the names of inner tensors. */
  prefix?: string;
}

/** A real ONNX graph: one convolution from "pixels" to "logits", by default 1×1(×1), without a receptive field. */
export function onnxNetwork(network: Network): Uint8Array {
  const { window, channels, scores, weights, biases, last, opset = 17, element, prefix = "" } = network;
  const { kernel = 1 } = network;
  const sides = window.map(() => kernel);
  const pads = [...sides, ...sides].map(() => (kernel - 1) / 2);
  const constant = (name: string, values: readonly number[], shape: readonly number[]): Node => ({
    operator: "Constant",
    inputs: [],
    outputs: [name],
    attributes: { value: { data: Float32Array.from(values), shape } },
  });
  const nodes: Node[] = [
    constant(`${prefix}w`, weights, [scores, channels, ...sides]),
    constant(`${prefix}b`, biases, [scores]),
    {
      operator: "Conv",
      inputs: ["pixels", `${prefix}w`, `${prefix}b`],
      outputs: [`${prefix}scores`],
      attributes: { kernel_shape: sides, pads },
    },
    { operator: last ?? "Identity", inputs: [`${prefix}scores`], outputs: ["logits"] },
  ];
  const tensor = (name: string, depth: number) => ({
    name,
    element: element ?? ELEMENT.float,
    shape: ["N", depth, ...window],
  });
  const empty = EMPTY.slice();
  empty[5] = opset;
  return wrapGraph(empty, {
    before: nodes,
    after: [],
    inputs: [tensor("pixels", channels)],
    outputs: [tensor("logits", scores)],
  });
}
