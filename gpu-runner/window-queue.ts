import type { DType, SampleArray } from "../src/tiling/grid/raster.ts";
import type { IntensityNormalization } from "../src/tiling/pixels/normalize.ts";
import type { MaskRecord, Precision } from "../src/tiling/wire/mask-record.ts";

/** A request, as far as its windows are concerned. */
export interface Job {
  /** Windows that were not handed over yet. */
  left: number;
  /** Done, failed or aborted: nothing is owed to it any more. */
  over: boolean;
  onWindow(n: number, data: MaskRecord["data"]): void;
  /** Ends it; a second time changes nothing. */
  settle(error: unknown): void;
}

/** What windows must have in common to be run together. */
export interface WindowKind {
  dtype: DType;
  /** `[...window, C]` */
  shape: readonly number[];
  scaling: IntensityNormalization;
  precision: Precision;
  /** Equal where all of the above is. */
  key: string;
}

export function kindOf({ dtype, shape, scaling, precision }: Omit<WindowKind, "key">): WindowKind {
  const { low, high, clip, scale, offset } = scaling;
  const key = [dtype, shape.join("×"), precision, low, high, clip?.join("…"), scale, offset].join(" ");
  return { dtype, shape, scaling, precision, key };
}

export interface QueuedWindow {
  job: Job;
  /** Number in its request. */
  n: number;
  /** Grows with every window that arrives. */
  order: number;
  data: SampleArray;
  kind: WindowKind;
  /** `performance.now()` of its arrival. */
  since: number;
  /** Not to be run with windows of other requests: a run with those failed. */
  alone: boolean;
}

export interface Next {
  kind: WindowKind;
  /** Full or overdue: worth a place in line. */
  ready: boolean;
  /** Arrival of its oldest window. */
  oldest: number;
}

/** Windows that wait for a run: a line for each kind, first come, first out. */
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

  /** Windows of a kind that were taken before, to where they were. */
  putBack(windows: readonly QueuedWindow[]): void {
    if (windows.length === 0) return;
    const line = this.#line(windows[0]!.kind);
    line.push(...windows);
    line.sort((a, b) => a.order - b.order);
    this.#length += windows.length;
  }

  drop(job: Job): void {
    for (const [key, line] of this.#lines) {
      const kept = line.windows.filter((w) => w.job !== job);
      this.#length -= line.windows.length - kept.length;
      line.windows = kept;
      if (kept.length === 0) this.#lines.delete(key);
    }
  }

  /**
   * What to run next: of the kinds that are overdue, else full, else of all, the one whose oldest window waits longest.
   * @param limit windows that make a batch full
   * @param overdueSince windows that arrived then or before are overdue
   */
  next(limit: number, overdueSince: number): Next | undefined {
    let best: (Next & { rank: number }) | undefined;
    for (const { kind, windows } of this.#lines.values()) {
      const { since, alone } = windows[0]!;
      const rank = since <= overdueSince ? 2 : alone || windows.length >= limit ? 1 : 0;
      if (!best || rank > best.rank || (rank === best.rank && since < best.oldest)) {
        best = { kind, ready: rank > 0, oldest: since, rank };
      }
    }
    return best;
  }

  /** Takes at most `limit` windows of a kind off the queue. */
  take({ kind }: Next, limit: number): QueuedWindow[] {
    const { windows } = this.#lines.get(kind.key)!;
    const first = windows[0]!;
    const fits = (w: QueuedWindow) => (first.alone ? w.job === first.job : !w.alone);
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
