import type { DType, SampleArray } from "../src/tiling/grid/raster.ts";
import type { IntensityNormalization } from "../src/tiling/pixels/normalize.ts";
import type { MaskRecord, Precision } from "../src/tiling/wire/mask-record.ts";

/** A request whose windows are queued or running. */
export interface PendingRequest {
  /** Windows without a result. */
  windowsLeft: number;
  /** Done, failed or aborted. */
  settled: boolean;
  onWindow(n: number, data: MaskRecord["data"]): void;
  /** Ends the request; further calls have no effect. @param error undefined on success */
  settle(error: unknown): void;
}

/** Windows of the same kind can share a run. */
export interface WindowKind {
  dtype: DType;
  /** `[...window, C]` */
  shape: readonly number[];
  scaling: IntensityNormalization;
  precision: Precision;
  /** Equal if and only if all of the above are. */
  key: string;
}

export function createWindowKind({ dtype, shape, scaling, precision }: Omit<WindowKind, "key">): WindowKind {
  const { low, high, clip, scale, offset } = scaling;
  const key = [dtype, shape.join("×"), precision, low, high, clip?.join("…"), scale, offset].join(" ");
  return { dtype, shape, scaling, precision, key };
}

export interface QueuedWindow {
  request: PendingRequest;
  /** Number in its request. */
  n: number;
  /** Grows with every window that arrives. */
  order: number;
  data: SampleArray;
  kind: WindowKind;
  /** `performance.now()` of its arrival. */
  since: number;
  /** Runs only with windows of its own request, after a shared run failed. */
  isolated: boolean;
}

export interface NextBatch {
  kind: WindowKind;
  /** Full or overdue: may wait behind the current run of a session. */
  ready: boolean;
  /** Arrival of the oldest window. */
  oldest: number;
}

/** Windows that wait for a run: a first-in, first-out line for each kind. */
export class WindowQueue {
  readonly #lines = new Map<string, { kind: WindowKind; windows: QueuedWindow[] }>();
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(window: QueuedWindow): void {
    this.#line(window.kind).push(window);
    this.#length++;
  }

  /** Puts windows of one kind, taken before, back in their order. */
  requeue(windows: readonly QueuedWindow[]): void {
    if (windows.length === 0) return;
    const line = this.#line(windows[0]!.kind);
    line.push(...windows);
    line.sort((a, b) => a.order - b.order);
    this.#length += windows.length;
  }

  /** Removes the windows of a request. */
  drop(request: PendingRequest): void {
    for (const [key, line] of this.#lines) {
      const kept = line.windows.filter((w) => w.request !== request);
      this.#length -= line.windows.length - kept.length;
      line.windows = kept;
      if (kept.length === 0) this.#lines.delete(key);
    }
  }

  /**
   * The kind to run next: overdue kinds first, then full ones, then all; among those the one with the oldest window.
   * @param limit windows that make a batch full
   * @param overdueSince windows that arrived then or before are overdue
   */
  next(limit: number, overdueSince: number): NextBatch | undefined {
    let best: (NextBatch & { rank: number }) | undefined;
    for (const { kind, windows } of this.#lines.values()) {
      const { since, isolated } = windows[0]!;
      const rank = since <= overdueSince ? 2 : isolated || windows.length >= limit ? 1 : 0;
      if (!best || rank > best.rank || (rank === best.rank && since < best.oldest)) {
        best = { kind, ready: rank > 0, oldest: since, rank };
      }
    }
    return best;
  }

  /** Removes and returns at most `limit` windows of a kind. */
  take({ kind }: NextBatch, limit: number): QueuedWindow[] {
    const { windows } = this.#lines.get(kind.key)!;
    const first = windows[0]!;
    const fits = (w: QueuedWindow) => (first.isolated ? w.request === first.request : !w.isolated);
    let count = 1;
    while (count < limit && count < windows.length && fits(windows[count]!)) count++;
    this.#length -= count;
    if (count === windows.length) this.#lines.delete(kind.key);
    return windows.splice(0, count);
  }

  #line(kind: WindowKind): QueuedWindow[] {
    let line = this.#lines.get(kind.key);
    if (!line) {
      line = { kind, windows: [] };
      this.#lines.set(kind.key, line);
    }
    return line.windows;
  }
}
