import type { Rect } from "./raster.ts";
import { product } from "./raster.ts";

/** A regular division of an array into storage units; the last one of an axis may be smaller. */
export interface ChunkGrid {
  readonly shape: readonly number[];
  readonly chunk: readonly number[];
  /** Chunks per axis. */
  readonly counts: readonly number[];
}

export function chunkGrid(shape: readonly number[], chunk: readonly number[]): ChunkGrid {
  return {
    shape: [...shape],
    chunk: [...chunk],
    counts: shape.map((n, axis) => Math.ceil(n / chunk[axis]!)),
  };
}

export function chunkCount(grid: ChunkGrid): number {
  return product(grid.counts);
}

/** Per-axis index of chunk `number` (raster order). */
export function chunkIndex(grid: ChunkGrid, number: number): number[] {
  const index = new Array<number>(grid.counts.length);
  for (let axis = grid.counts.length - 1; axis >= 0; axis--) {
    index[axis] = number % grid.counts[axis]!;
    number = Math.floor(number / grid.counts[axis]!);
  }
  return index;
}

/** The rect of a chunk, cut at the border of the array. */
export function chunkRect(grid: ChunkGrid, index: readonly number[]): Rect {
  const origin = index.map((i, axis) => i * grid.chunk[axis]!);
  return { origin, size: origin.map((o, axis) => Math.min(grid.chunk[axis]!, grid.shape[axis]! - o)) };
}

/** Numbers of the chunks that intersect `rect`. */
export function chunksTouching(grid: ChunkGrid, rect: Rect): number[] {
  let numbers = [0];
  for (let axis = 0; axis < grid.counts.length; axis++) {
    const from = Math.max(0, Math.floor(rect.origin[axis]! / grid.chunk[axis]!));
    const to = Math.min(
      grid.counts[axis]! - 1,
      Math.floor((rect.origin[axis]! + rect.size[axis]! - 1) / grid.chunk[axis]!),
    );
    const next: number[] = [];
    for (const n of numbers) for (let i = from; i <= to; i++) next.push(n * grid.counts[axis]! + i);
    numbers = next;
  }
  return numbers;
}
