import type { OnnxNode } from "./onnx-graph.ts";
import { PlanError } from "./plan-error.ts";
import type { Tensor } from "./tensor.ts";
import type { View } from "./view.ts";

/** A constant, a tensor that is computed, or the scores of an attention, which exist only inside its kernel. */
export type Value = { constant: Tensor } | { view: View } | { scores: Scores };

/** Q·Kᵀ, with what was added to it since; `shape` is the present one, its last two axes are queries and keys. */
export interface Scores {
  queries: View;
  keys: View;
  shape: readonly number[];
  added: readonly { constant: Tensor; shape: readonly number[] }[];
  /** After the softmax. */
  probabilities: boolean;
}

export function viewOf(value: Value | undefined, node: OnnxNode): View {
  if (value && "view" in value) return value.view;
  throw new PlanError(`the operator ${node.operator} has an operand of a kind that the engine does not have`);
}
