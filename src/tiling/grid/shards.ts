import type { Rect } from "./raster.ts";
import { type WindowGrid, windowIndex, windowRect } from "./window-grid.ts";
import type { WindowSet } from "./window-set.ts";

/** A block of neighbouring windows: the unit of dispatch, retry and resume. */
export interface Shard {
  /** Number in raster order of the blocks. */
  id: number;
  /** Kept windows of the block in raster order: the same on every backend. */
  windows: readonly number[];
  /** Box around the kept windows, in region coordinates; may reach beyond the region. */
  rect: Rect;
}

/** Divides the grid into blocks of `block` windows per axis, without blocks that have no kept window. */
export function* planShards(grid: WindowGrid, kept: WindowSet, block: readonly number[]): Generator<Shard> {
  const total = shardCounts(grid, block).reduce((p, n) => p * n, 1);
  for (let id = 0; id < total; id++) {
    const shard = shardAt(grid, kept, block, id);
    if (shard) yield shard;
  }
}

/** One of the shards of `planShards`; undefined if the block does not exist or has no kept window. */
export function shardAt(
  grid: WindowGrid,
  kept: WindowSet,
  block: readonly number[],
  id: number,
): Shard | undefined {
  const counts = shardCounts(grid, block);
  if (!(Number.isInteger(id) && id >= 0 && id < counts.reduce((p, n) => p * n, 1))) return undefined;
  const first: number[] = [];
  for (let axis = counts.length - 1, rest = id; axis >= 0; axis--) {
    first[axis] = (rest % counts[axis]!) * block[axis]!;
    rest = Math.floor(rest / counts[axis]!);
  }
  let windows = [first];
  for (let axis = 0; axis < counts.length; axis++) {
    const end = Math.min(first[axis]! + block[axis]!, grid.starts[axis]!.length);
    windows = windows.flatMap((p) =>
      Array.from({ length: end - first[axis]! }, (_, i) => p.with(axis, first[axis]! + i)),
    );
  }
  const indices = windows.map((p) => windowIndex(grid, p)).filter((w) => kept.has(w));
  indices.sort((a, b) => a - b);
  return indices.length > 0 ? { id, windows: indices, rect: boundingRect(grid, indices) } : undefined;
}

/** Numbers of the blocks with a window that covers a sample of `rect`, in raster order. */
export function shardsTouching(grid: WindowGrid, block: readonly number[], rect: Rect): number[] {
  const counts = shardCounts(grid, block);
  let ids = [0];
  for (let axis = 0; axis < counts.length; axis++) {
    const starts = grid.starts[axis]!;
    const end = rect.origin[axis]! + rect.size[axis]!;
    const over = (start: number) => start < end && start + grid.window[axis]! > rect.origin[axis]!;
    const from = starts.findIndex(over);
    const to = starts.findLastIndex(over);
    if (from < 0) return [];
    const next: number[] = [];
    for (const id of ids) {
      for (let b = Math.floor(from / block[axis]!); b <= Math.floor(to / block[axis]!); b++) {
        next.push(id * counts[axis]! + b);
      }
    }
    ids = next;
  }
  return ids;
}

function shardCounts(grid: WindowGrid, block: readonly number[]): number[] {
  return grid.starts.map((s, axis) => Math.ceil(s.length / block[axis]!));
}

function boundingRect(grid: WindowGrid, windows: readonly number[]): Rect {
  const low = grid.shape.map(() => Number.POSITIVE_INFINITY);
  const high = grid.shape.map(() => Number.NEGATIVE_INFINITY);
  for (const w of windows) {
    const { origin, size } = windowRect(grid, w);
    for (let axis = 0; axis < low.length; axis++) {
      low[axis] = Math.min(low[axis]!, origin[axis]!);
      high[axis] = Math.max(high[axis]!, origin[axis]! + size[axis]!);
    }
  }
  return { origin: low, size: high.map((h, axis) => h - low[axis]!) };
}
