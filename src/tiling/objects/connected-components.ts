import type { ComponentSink } from "./component-sink.ts";
import { GrowthWindow } from "./grow-into-boundary.ts";

/** In `ObjectRule.kinds`: pixels that separate objects and are assigned to the nearest one. */
export const BOUNDARY = 255;

/** Rule that turns class indices into objects. */
export interface ObjectRule {
  /** By class index (256 entries): 0 none, 1..254 kind of the object, 255 boundary. */
  kinds: Uint8Array;
  /** Pixels of a kind are connected by edges (4), or also by corners (8). */
  connectivity: 4 | 8;
  /** Maximum 4-neighbour steps that an object grows into the boundary. 0: boundary pixels belong to no object. */
  maxGrow: number;
  /** Components with fewer interior pixels are dropped before growth. */
  minArea: number;
}

/** Rule for models with classes for interior and boundary, which separate touching objects. Kind 1. */
export function interiorRule(options: {
  interior: readonly number[];
  boundary: readonly number[];
  connectivity: 4 | 8;
  maxGrow?: number;
  minArea?: number;
}): ObjectRule {
  const kinds = new Uint8Array(256);
  for (const c of options.boundary) kinds[c] = BOUNDARY;
  for (const c of options.interior) kinds[c] = 1;
  return {
    kinds,
    connectivity: options.connectivity,
    maxGrow: options.boundary.length > 0 ? (options.maxGrow ?? 8) : 0,
    minArea: options.minArea ?? 0,
  };
}

/** Rule that makes each connected region of a class an object; its kind is the class index. */
export function regionRule(classCount: number, connectivity: 4 | 8 = 4, minArea = 0): ObjectRule {
  if (classCount > BOUNDARY)
    throw new RangeError(`at most ${BOUNDARY - 1} classes can be regions, not ${classCount - 1}`);
  const kinds = new Uint8Array(256);
  for (let c = 1; c < classCount; c++) kinds[c] = c;
  return { kinds, connectivity, maxGrow: 0, minArea };
}

/** Consecutive rows of a label map: class indices `[height, width]`, packed. */
export interface ClassRows {
  data: Uint8Array;
  height: number;
  /** Column intervals `[from, to)` outside of which everything is 0: ascending, not touching. Default: all columns. */
  occupied?: readonly (readonly [number, number])[];
}

interface Runs {
  x0: Int32Array;
  x1: Int32Array;
  kind: Uint8Array;
  id: Int32Array;
  count: number;
}

/**
 * Finds connected components in one pass over the rows of a label map, in batches of any size: each run is joined with
 * the runs above it, so components continue across chunk borders (Rosenfeld and Pfaltz 1966, on runs). `GrowthWindow`
 * assigns boundary pixels to the nearest interior. Memory holds a strip of rows.
 */
export class ObjectScanner {
  readonly #width: number;
  readonly #rule: ObjectRule;
  readonly #sink: ComponentSink;
  readonly #growth: GrowthWindow | undefined;
  #above: Runs;
  #row: Runs;
  #y = 0;

  constructor(width: number, rule: ObjectRule, sink: ComponentSink) {
    if (rule.kinds.length !== 256)
      throw new RangeError(`kinds has ${rule.kinds.length} entries when 256 were expected`);
    this.#width = width;
    this.#rule = rule;
    this.#sink = sink;
    this.#growth = rule.maxGrow > 0 ? new GrowthWindow(width, rule, sink) : undefined;
    this.#above = emptyRuns(64);
    this.#row = emptyRuns(64);
  }

  push(rows: ClassRows): void {
    const width = this.#width;
    if (rows.data.length < rows.height * width) {
      throw new RangeError(
        `${rows.height} rows of ${width} need ${rows.height * width} samples, got ${rows.data.length}`,
      );
    }
    const occupied = rows.occupied ?? [[0, width] as const];
    for (let r = 0; r < rows.height; r++) {
      for (const [from, to] of occupied) this.#scan(rows.data, r * width, from, to);
      this.#endRow();
    }
  }

  /** Closes all components after the last row. */
  finish(): void {
    this.#growth?.finish();
    this.#sink.interiorRowDone(this.#y);
    this.#sink.rowsDone(Number.POSITIVE_INFINITY);
  }

  #scan(data: Uint8Array, offset: number, from: number, to: number): void {
    const kinds = this.#rule.kinds;
    let x = from;
    while (x < to) {
      const kind = kinds[data[offset + x]!]!;
      if (kind === 0) {
        x++;
        continue;
      }
      const x0 = x++;
      while (x < to && kinds[data[offset + x]!] === kind) x++;
      if (kind === BOUNDARY) this.#growth?.boundary(x0, x);
      else addRun(this.#row, x0, x, kind);
    }
  }

  #endRow(): void {
    const row = this.#row;
    const above = this.#above;
    const sink = this.#sink;
    const growth = this.#growth;
    const y = this.#y;
    const reach = this.#rule.connectivity === 8 ? 1 : 0;
    let first = 0;
    for (let i = 0; i < row.count; i++) {
      const x0 = row.x0[i]!;
      const x1 = row.x1[i]!;
      const kind = row.kind[i]!;
      while (first < above.count && above.x1[first]! + reach <= x0) first++;
      let id = -1;
      for (let j = first; j < above.count && above.x0[j]! < x1 + reach; j++) {
        if (above.kind[j] !== kind) continue;
        if (id < 0) id = above.id[j]!;
        else sink.join(id, above.id[j]!);
      }
      if (id < 0) id = sink.begin(kind);
      row.id[i] = id;
      sink.interior(id, y, x0, x1);
      growth?.interior(x0, x1, id);
    }
    sink.interiorRowDone(y);
    if (growth === undefined) sink.rowsDone(y + 1);
    else growth.endRow();
    above.count = 0;
    this.#above = row;
    this.#row = above;
    this.#y++;
  }
}

function emptyRuns(capacity: number): Runs {
  return {
    x0: new Int32Array(capacity),
    x1: new Int32Array(capacity),
    kind: new Uint8Array(capacity),
    id: new Int32Array(capacity),
    count: 0,
  };
}

function addRun(runs: Runs, x0: number, x1: number, kind: number): void {
  if (runs.count === runs.x0.length) {
    const bigger = emptyRuns(runs.count * 2);
    bigger.x0.set(runs.x0);
    bigger.x1.set(runs.x1);
    bigger.kind.set(runs.kind);
    Object.assign(runs, { ...bigger, count: runs.count });
  }
  const i = runs.count++;
  runs.x0[i] = x0;
  runs.x1[i] = x1;
  runs.kind[i] = kind;
}
