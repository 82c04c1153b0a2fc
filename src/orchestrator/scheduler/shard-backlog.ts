/** A shard that was read and still has windows without a result. */
export interface OpenShard<S> {
  readonly shard: S;
  readonly windows: number;
  /** Position in the order of reading. */
  readonly order: number;
  /** Windows of all shards before this one. */
  readonly windowsBefore: number;
  /** By window: 1 once it has a result. */
  readonly done: Uint8Array;
  /** By window: requests in flight. */
  readonly inFlight: Uint8Array;
  windowsLeft: number;
}

/** Windows `from` to `to` (half-open) of an open shard. */
export interface OpenRange<S> {
  open: OpenShard<S>;
  from: number;
  to: number;
}

/** The windows of the shards in memory: which wait for a request, which are in flight, which have a result. */
export class ShardBacklog<S> {
  /** Windows that wait for a request, by shard and window. */
  readonly #pending: OpenRange<S>[] = [];
  /** Unfinished shards, oldest first. */
  readonly #open: OpenShard<S>[] = [];
  #pendingWindows = 0;
  #readWindows = 0;
  #doneWindows = 0;
  #shards = 0;
  #largestShard = 0;

  /** Windows that wait for a request. */
  get pendingWindows(): number {
    return this.#pendingWindows;
  }

  /** Windows with a result. */
  get doneWindows(): number {
    return this.#doneWindows;
  }

  /** Windows of the largest shard so far. */
  get largestShard(): number {
    return this.#largestShard;
  }

  /** Windows read since the oldest unfinished shard, that shard included. */
  get span(): number {
    return this.#readWindows - (this.#open[0]?.windowsBefore ?? this.#readWindows);
  }

  /** Whether every shard so far is finished. */
  get isFinished(): boolean {
    return this.#open.length === 0;
  }

  add(shard: S, windows: number): void {
    const open: OpenShard<S> = {
      shard,
      windows,
      order: this.#shards++,
      windowsBefore: this.#readWindows,
      done: new Uint8Array(windows),
      inFlight: new Uint8Array(windows),
      windowsLeft: windows,
    };
    this.#readWindows += windows;
    this.#largestShard = Math.max(this.#largestShard, windows);
    this.#open.push(open);
    this.#pending.push({ open, from: 0, to: windows });
    this.#pendingWindows += windows;
  }

  /** Removes the first pending windows, at most `maxWindows`, all of one shard. @returns undefined if none is pending */
  take(maxWindows: number): OpenRange<S> | undefined {
    const range = this.#pending[0];
    if (!range) return undefined;
    const { open, from } = range;
    const to = Math.min(range.to, from + maxWindows);
    range.from = to;
    if (range.from >= range.to) this.#pending.shift();
    this.#pendingWindows -= to - from;
    return { open, from, to };
  }

  /** Puts the windows of a failed request that are neither done nor in flight elsewhere back in their order. */
  requeue({ open, from, to }: OpenRange<S>): void {
    const isFree = (i: number) => open.done[i] === 0 && open.inFlight[i] === 0;
    for (let i = from; i < to; ) {
      if (!isFree(i)) {
        i++;
        continue;
      }
      let end = i;
      while (end < to && isFree(end)) end++;
      const at = this.#pending.findIndex(
        (r) => r.open.order > open.order || (r.open.order === open.order && r.from >= end),
      );
      this.#pending.splice(at < 0 ? this.#pending.length : at, 0, { open, from: i, to: end });
      this.#pendingWindows += end - i;
      i = end;
    }
  }

  /** Marks windows as done. @returns the results of those that had none before */
  complete<R>({ open, from, to }: OpenRange<S>, results: readonly R[]): R[] {
    const fresh: R[] = [];
    for (let i = from; i < to; i++) {
      if (open.done[i] !== 0) continue;
      open.done[i] = 1;
      open.windowsLeft--;
      fresh.push(results[i - from]!);
    }
    this.#doneWindows += fresh.length;
    if (open.windowsLeft === 0) {
      const at = this.#open.indexOf(open);
      if (at >= 0) this.#open.splice(at, 1);
    }
    return fresh;
  }
}

/** Counts a request in flight (`change` 1) or no longer in flight (-1). */
export function countInFlight<S>({ open, from, to }: OpenRange<S>, change: 1 | -1): void {
  for (let i = from; i < to; i++) open.inFlight[i]! += change;
}

export function isDone<S>({ open, from, to }: OpenRange<S>): boolean {
  for (let i = from; i < to; i++) if (open.done[i] === 0) return false;
  return true;
}
