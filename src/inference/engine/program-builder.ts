import { outputsOf, type RowSource, type Step } from "./steps.ts";
import { elementCount } from "./tensor.ts";
import {
  type Buffer,
  denseAxes,
  denseView,
  isWhole,
  memoryOrder,
  offsets,
  transpose,
  type View,
} from "./view.ts";

/** The steps of a program, as they are lowered. */
export class ProgramBuilder {
  readonly steps: Step[] = [];
  #buffers = 0;

  buffer(elements: number, elementBytes: 1 | 4 = 4): Buffer {
    return { id: this.#buffers++, elements, elementBytes };
  }

  /** The last step that writes `buffer`. */
  writerOf(buffer: Buffer): Step | undefined {
    return this.steps.findLast((step) => outputsOf(step).includes(buffer));
  }

  /**
   * The view's values in a buffer that holds nothing else, in any order of the axes: the buffer, the order, and the same
   * view of another buffer.
   */
  inPlace(view: View): { buffer: Buffer; order: readonly number[]; place: (buffer: Buffer) => View } {
    const byMemory = memoryOrder(view);
    const whole = isWhole(transpose({ ...view, factor: 1 }, byMemory));
    const order = whole ? byMemory : view.shape.map((_, axis) => axis);
    const back = order.map((_, axis) => order.indexOf(axis));
    const buffer = this.inOrder(view, order);
    const shape = order.map((axis) => view.shape[axis]!);
    return { buffer, order, place: (other) => transpose(denseView(other, shape), back) };
  }

  inOrder(view: View, order: readonly number[]): Buffer {
    return this.dense(transpose(view, order));
  }

  /** The buffer of the view, if it is all of it in order, or a copy. */
  dense(view: View): Buffer {
    if (isWhole(view)) return view.buffer;
    const axes = denseAxes(view);
    const outer = view.shape.length - axes;
    const run = elementCount(view.shape.slice(outer));
    const output = this.buffer(elementCount(view.shape));
    const from = offsets(view, outer);
    const to = new Int32Array(from.length);
    for (let i = 0; i < to.length; i++) to[i] = i * run;
    this.steps.push({ kind: "copy", source: view.buffer, from, run, output, to });
    if (view.factor === 1) return output;
    const scaled = this.buffer(output.elements);
    const { factor } = view;
    this.steps.push({
      kind: "elementwise",
      operation: "copy",
      a: output,
      factor,
      activation: "none",
      output: scaled,
    });
    return scaled;
  }

  /** The view as rows of its last axis; copied if those are not dense. */
  rows(view: View): RowSource {
    const K = view.shape.at(-1) ?? 1;
    const rank = view.shape.length;
    const rows = elementCount(view.shape) / K;
    if (view.factor !== 1 || (denseAxes(view) < 1 && K > 1)) {
      return { buffer: this.dense(view), rows, K, start: 0, step: K };
    }
    const table = offsets(view, rank - 1);
    const step = rows > 1 ? table[1]! - table[0]! : K;
    const uniform = table.every((offset, m) => offset === table[0]! + m * step);
    return {
      buffer: view.buffer,
      rows,
      K,
      start: uniform ? table[0]! : 0,
      step,
      table: uniform ? undefined : table,
    };
  }
}
