import { inputsOf, outputsOf, type Step } from "./steps.ts";
import type { Buffer } from "./view.ts";

export interface MemoryPlan {
  /** Byte offset of each buffer by its id. */
  offsets: ReadonlyMap<number, number>;
  byteLength: number;
}

const ALIGNMENT = 64;

interface Span {
  buffer: Buffer;
  bytes: number;
  first: number;
  last: number;
  offset: number;
}

/**
 * Places buffers so that two share memory only if no step needs both: the largest first, each at the lowest place that is
 * free while it lives.
 * @param kept buffers that live from the start (input) or to the end (output)
 */
export function planMemory(steps: readonly Step[], kept: { input: Buffer; output: Buffer }): MemoryPlan {
  const spans = new Map<number, Span>();
  const touch = (buffer: Buffer, at: number) => {
    const bytes = Math.ceil((buffer.elements * buffer.elementBytes) / ALIGNMENT) * ALIGNMENT;
    const span = spans.get(buffer.id) ?? { buffer, bytes, first: at, last: at, offset: 0 };
    span.first = Math.min(span.first, at);
    span.last = Math.max(span.last, at);
    spans.set(buffer.id, span);
  };
  touch(kept.input, -1);
  for (const [i, step] of steps.entries()) {
    for (const buffer of [...inputsOf(step), ...outputsOf(step)]) touch(buffer, i);
  }
  touch(kept.output, steps.length);
  const placed: Span[] = [];
  let byteLength = 0;
  for (const span of [...spans.values()].sort((a, b) => b.bytes - a.bytes || a.first - b.first)) {
    const beside = placed
      .filter((other) => other.first <= span.last && span.first <= other.last)
      .sort((a, b) => a.offset - b.offset);
    let offset = 0;
    for (const other of beside) {
      if (other.offset - offset >= span.bytes) break;
      offset = Math.max(offset, other.offset + other.bytes);
    }
    span.offset = offset;
    placed.push(span);
    byteLength = Math.max(byteLength, offset + span.bytes);
  }
  return { offsets: new Map(placed.map(({ buffer, offset }) => [buffer.id, offset])), byteLength };
}
