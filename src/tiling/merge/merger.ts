import { copyBox, intersect, relativeTo, rowOffsets } from "../grid/box.ts";
import { buildCellGrid, type CellGrid, type Interval } from "../grid/cell-grid.ts";
import {
  type ChunkGrid,
  chunkCount,
  chunkGrid,
  chunkIndex,
  chunkRect,
  chunksTouching,
} from "../grid/chunk-grid.ts";
import { product, type Raster, type Rect } from "../grid/raster.ts";
import { type WindowGrid, windowPosition } from "../grid/window-grid.ts";
import type { WindowSet } from "../grid/window-set.ts";
import { byteWords } from "../pixels/byte-words.ts";
import { decodeForMerging, type MaskRecord, PRECISION_UNIT, type Precision } from "../wire/mask-record.ts";
import { argmaxBytes, argmaxInto } from "./argmax.ts";

/** In a label map, where no class has this number: up to 255 classes are numbered 0 to 254. */
const UNDECIDED = 255;

export interface MergerOptions {
  grid: WindowGrid;
  kept: WindowSet;
  /** Blending weights, `[...window]`. */
  importance: Float32Array;
  classes: number;
  precision: Precision;
  /** Size of the chunks handed out, per axis. */
  chunk: readonly number[];
  /** `labels`: uint8 `[...size]`, the class of the largest sum. `probabilities`: float32 `[K, ...size]`. */
  output?: "labels" | "probabilities";
  /** Chunks to make, by number in raster order; the others are left out. Default all. */
  wanted?: (chunk: number) => boolean;
  /** Told of memory that is not looked at any more: once for each record in it, and of what the merger copied. */
  onReleased?: (memory: ArrayBufferLike) => void;
}

export interface MergedChunk {
  index: readonly number[];
  number: number;
  raster: Raster<Uint8Array | Float32Array>;
}

export interface MergeSummary {
  windows: number;
  /** Samples whose weight sum is above 0; with `uncovered` they make up the wanted chunks. */
  covered: number;
  /** Samples that no kept window covers (outside the tissue mask): background. */
  uncovered: number;
}

interface OpenChunk {
  data: Uint8Array | Float32Array;
  rect: Rect;
  remaining: number;
}

type Values = Uint8Array | Float32Array;

/** A record that cells still wait with. */
interface Held {
  /** Undefined once what is left of it was copied. */
  record: MaskRecord | undefined;
  /** What is left of the window, and its values `[K, ...rect.size]`. */
  rect: Rect;
  values: Values;
  /** The class of the largest value `[...rect.size]`, where that decides: see `#vote`. */
  labels: Uint8Array | undefined;
  /** Of the window. */
  origin: readonly number[];
  /** Cells that are not finished, and how many there may be when it is looked at again whether less can be kept. */
  cells: Set<number>;
  shrinksAt: number;
}

/** A record is cut down when its unfinished cells are this share of those at the last look, or fewer. */
const SHRINK = 1 / 3;
/** Label arrays that are kept for the next records. */
const SPARE = 4;
/** Row offsets that are kept: of a window in a volume a few kilobytes each. */
const ROWS_KEPT = 512;

/**
 * Merges mask records into chunks: weighted sum over the windows of a sample in raster order of the windows,
 * divided by the weight sum, then argmax. A cell (see cell-grid.ts) is summed when its last window is in, so records
 * may arrive in any order and give the same bytes. What is held is the records between finished and missing windows, a
 * byte a class and sample at precision u8, and the chunks they lie in: the frontier, not the image.
 */
export class Merger {
  readonly chunks: ChunkGrid;
  readonly #o: Required<Omit<MergerOptions, "wanted" | "onReleased">>;
  readonly #onReleased: ((memory: ArrayBufferLike) => void) | undefined;
  readonly #cells: CellGrid;
  readonly #cellCounts: readonly number[];
  /** Kept windows that cover a cell and are still missing; 0 from the start: never touched. */
  readonly #missing: Uint16Array;
  /** By window. */
  readonly #held = new Map<number, Held>();
  readonly #open = new Map<number, OpenChunk>();
  readonly #seen: Uint8Array;
  readonly #wanted: Uint8Array;
  readonly #wantsAll: boolean;
  readonly #windowSize: number;
  /** Of one sample. */
  readonly #sums: Float32Array;
  /** Labels of one cell, which is no larger than a window. */
  readonly #cell: Uint8Array;
  readonly #rows = new Map<string, Int32Array>();
  /** Label arrays of records that are done with. */
  readonly #spareLabels: Uint8Array[] = [];
  #openCells = 0;
  #windows = 0;
  #covered = 0;
  #compared = 0;
  #disagreed = 0;

  constructor(options: MergerOptions) {
    const { grid, kept, importance, classes, wanted } = options;
    this.#onReleased = options.onReleased;
    this.#o = { output: "labels", ...options };
    this.#windowSize = product(grid.window);
    this.#sums = new Float32Array(classes);
    this.#cell = new Uint8Array(this.#windowSize);
    if (importance.length !== this.#windowSize) {
      throw new RangeError(`importance map has ${importance.length} weights, the window ${this.#windowSize}`);
    }
    if (classes < 1 || classes > 255)
      throw new RangeError(`${classes} classes: from 1 to 255 fit a label map`);
    for (const w of importance) if (!(w > 0)) throw new RangeError(`importance weight ${w}: must be above 0`);
    this.#cells = buildCellGrid(grid);
    this.chunks = chunkGrid(grid.shape, options.chunk);
    this.#wanted = new Uint8Array(chunkCount(this.chunks));
    for (let i = 0; i < this.#wanted.length; i++) this.#wanted[i] = wanted && !wanted(i) ? 0 : 1;
    this.#wantsAll = !this.#wanted.includes(0);
    this.#cellCounts = this.#cells.intervals.map((list) => list.length);
    const cells = product(this.#cellCounts);
    this.#missing = new Uint16Array(cells);
    for (let cell = 0; cell < cells; cell++) {
      const intervals = this.#intervalsOf(cell);
      const touchesWanted = chunksTouching(this.chunks, cellRect(intervals)).some((c) => this.#wanted[c]);
      if (touchesWanted) this.#missing[cell] = this.#keptWindowsOf(intervals).length;
      if (this.#missing[cell]) this.#openCells++;
    }
    this.#seen = new Uint8Array(kept.bits.length);
  }

  /** Adds one record; returns the chunks it completed. A window seen before changes nothing. */
  add(record: MaskRecord): MergedChunk[] {
    const { grid, kept, classes, precision } = this.#o;
    const { window } = record;
    if (!Number.isInteger(window) || window < 0 || window >= kept.length || !kept.has(window)) {
      throw new RangeError(`window ${window} is not in the plan`);
    }
    if (record.precision !== precision) {
      throw new RangeError(`record of window ${window} is ${record.precision}, the job ${precision}`);
    }
    if (record.data.length !== classes * this.#windowSize) {
      throw new RangeError(
        `record of window ${window} has ${record.data.length} values, expected ${classes} × ${this.#windowSize}`,
      );
    }
    if (this.#seen[window >> 3]! & (1 << (window & 7))) {
      this.#releaseRecord(record);
      return [];
    }
    this.#seen[window >> 3]! |= 1 << (window & 7);
    this.#windows++;

    const values = decodeForMerging(record);
    const position = windowPosition(grid, window);
    const origin = position.map((p, axis) => grid.starts[axis]![p]!);
    const cells = this.#cellsOf(position).filter((cell) => this.#missing[cell]! > 0);
    if (cells.length === 0) {
      this.#releaseRecord(record);
      return [];
    }
    const votes = this.#o.output === "labels" && values instanceof Uint8Array;
    const labels = votes ? (record.labels ?? this.#labelsOf(values)) : undefined;
    this.#held.set(window, {
      record,
      rect: { origin, size: grid.window },
      values,
      labels,
      origin,
      cells: new Set(cells),
      shrinksAt: cells.length * SHRINK,
    });
    const touched = new Set<number>();
    const done: MergedChunk[] = [];
    for (const cell of cells) {
      this.#missing[cell]!--;
      if (this.#missing[cell]! > 0) continue;
      const intervals = this.#intervalsOf(cell);
      const rect = cellRect(intervals);
      const windows = this.#keptWindowsOf(intervals);
      const held = windows.map((w) => this.#held.get(w)!);
      for (const part of this.#wantedParts(rect))
        done.push(...this.#emit(part, votes ? this.#vote(part, held) : this.#blend(part, held)));
      this.#openCells--;
      windows.forEach((w, turn) => {
        held[turn]!.cells.delete(cell);
        touched.add(w);
      });
    }
    for (const w of touched) {
      const held = this.#held.get(w)!;
      if (held.cells.size === 0) {
        this.#held.delete(w);
        this.#letGo(held);
      } else if (held.cells.size <= held.shrinksAt) this.#shrink(held);
    }
    return done;
  }

  /** Samples in overlaps at which two windows were compared so far, and how often their classes differed. */
  get comparison(): { compared: number; disagreed: number } {
    return { compared: this.#compared, disagreed: this.#disagreed };
  }

  /** Proves that nothing is missing; call it after the last record. */
  finish(): MergeSummary {
    if (this.#openCells > 0) {
      throw new Error(
        `merged ${this.#windows} windows, but ${this.#openCells} parts of the plan are still open`,
      );
    }
    let total = 0;
    for (let i = 0; i < this.#wanted.length; i++) {
      if (this.#wanted[i]) total += product(chunkRect(this.chunks, chunkIndex(this.chunks, i)).size);
    }
    return {
      windows: this.#windows,
      covered: this.#covered,
      uncovered: total - this.#covered,
    };
  }

  /** Keeps of a record the box around its unfinished cells, where that is half of it or less. */
  #shrink(held: Held): void {
    held.shrinksAt = held.cells.size * SHRINK;
    const { rect } = held;
    const low = rect.origin.map(() => Number.POSITIVE_INFINITY);
    const high = rect.origin.map(() => Number.NEGATIVE_INFINITY);
    for (const cell of held.cells) {
      this.#intervalsOf(cell).forEach(({ start, end }, axis) => {
        low[axis] = Math.min(low[axis]!, start);
        high[axis] = Math.max(high[axis]!, end);
      });
    }
    const left = { origin: low, size: high.map((h, axis) => h - low[axis]!) };
    if (product(left.size) * 2 > product(rect.size)) return;
    const { origin } = relativeTo(left, rect.origin);
    const part = <T extends Values>(data: T, planes: number): T => {
      const size = [planes, ...left.size];
      const out =
        data instanceof Uint8Array ? new Uint8Array(product(size)) : new Float32Array(product(size));
      const from = { data, shape: [planes, ...rect.size], origin: [0, ...origin] };
      copyBox(from, { data: out, shape: size, origin: size.map(() => 0) }, size);
      return out as T;
    };
    const values = part(held.values, this.#o.classes);
    const labels = held.labels && part(held.labels, 1);
    this.#letGo(held);
    Object.assign(held, { record: undefined, rect: left, values, labels });
  }

  /** What is not looked at any more goes back to its owner; labels of whole records are used again. */
  #letGo({ record, values, labels }: Held): void {
    if (record) {
      this.#releaseRecord(record);
      if (labels && !record.labels && this.#spareLabels.length < SPARE) this.#spareLabels.push(labels);
      return;
    }
    this.#onReleased?.(values.buffer);
    if (labels) this.#onReleased?.(labels.buffer);
  }

  #releaseRecord({ data, labels }: MaskRecord): void {
    this.#onReleased?.(data.buffer);
    if (labels) this.#onReleased?.(labels.buffer);
  }

  /** The class of the largest value at each sample of a record, the first of equal ones. */
  #labelsOf(values: Uint8Array): Uint8Array {
    const size = this.#windowSize;
    const labels = this.#spareLabels.pop() ?? new Uint8Array(size);
    argmaxBytes(values, labels, this.#o.classes);
    return labels;
  }

  /**
   * Labels of a cell from bytes, without summing where all windows name the same class: the weighted sum of vectors whose
   * largest value is at the same place has it there too. Each largest value is larger by a 255th at least, which no
   * rounding of float32 takes away, so the labels are those of `#blend`. Valid until the next cell.
   */
  #vote(rect: Rect, held: readonly Held[]): Uint8Array {
    const width = rect.size.at(-1)!;
    const out = this.#cell.subarray(0, product(rect.size));
    const rows = held.map((h) => this.#rowsOf(relativeTo(rect, h.rect.origin), h.rect.size));
    const voices = held.map(({ labels, rect: { size } }, t) => voiceOf(labels!, rows[t]!, size.at(-1)!));
    const target = { labels: out, words: byteWords(out, width) };
    const [first, ...others] = voices as [Voice, ...Voice[]];
    let weightRows: Int32Array[] | undefined;
    for (let row = 0, at = 0; row < rows[0]!.length; row++, at += width) {
      copyRow(first, rows[0]![row]!, target, at, width);
      let agreed = true;
      for (let t = 0; t < others.length; t++) {
        if (!compareRow(others[t]!, rows[t + 1]![row]!, target, at, width)) agreed = false;
      }
      for (let x = 0; x < width && !agreed; x++) {
        if (out[at + x] === UNDECIDED) {
          weightRows ??= held.map((h) => this.#rowsOf(relativeTo(rect, h.origin), this.#o.grid.window));
          out[at + x] = this.#decide(held, rows, weightRows, row, x);
        }
      }
    }
    this.#compared += out.length * others.length;
    return out;
  }

  /** The class of one sample at which windows differ, by its weighted sums; counts who differs from those before it. */
  #decide(
    held: readonly Held[],
    rows: readonly Int32Array[],
    weightRows: readonly Int32Array[],
    row: number,
    x: number,
  ): number {
    const { importance, classes } = this.#o;
    const sums = this.#sums.fill(0);
    for (let t = 0; t < held.length; t++) {
      const { values, labels } = held[t]!;
      const at = rows[t]![row]! + x;
      const stride = labels!.length;
      if (t > 0 && largest(sums, classes) !== labels![at]) this.#disagreed++;
      const weight = importance[weightRows[t]![row]! + x]!;
      for (let k = 0, v = at; k < classes; k++, v += stride) sums[k]! += weight * values[v]!;
    }
    return largest(sums, classes);
  }

  /** Weighted sum over the windows of a cell in raster order, and what follows from it. */
  #blend(rect: Rect, held: readonly Held[]): Uint8Array | Float32Array {
    const { grid, classes, importance, output } = this.#o;
    const size = product(rect.size);
    const width = rect.size.at(-1)!;
    const sums = new Float32Array(classes * size);
    const weights = new Float32Array(size);
    held.forEach(({ values, origin, rect: left }, turn) => {
      const rows = this.#rowsOf(relativeTo(rect, left.origin), left.size);
      const weightRows = this.#rowsOf(relativeTo(rect, origin), grid.window);
      const stride = product(left.size);
      if (turn > 0) this.#compare(sums, values, rows, width, stride);
      for (let row = 0; row < rows.length; row++) {
        const w = weightRows[row]!;
        const at = row * width;
        for (let k = 0; k < classes; k++) {
          const plane = k * size + at;
          const from = k * stride + rows[row]!;
          for (let x = 0; x < width; x++) sums[plane + x]! += importance[w + x]! * values[from + x]!;
        }
        for (let x = 0; x < width; x++) weights[at + x]! += importance[w + x]!;
      }
    });
    if (output === "labels") return argmax(sums, size, classes);
    const unit = PRECISION_UNIT[this.#o.precision];
    for (let k = 0; k < classes; k++) {
      for (let i = 0; i < size; i++) sums[k * size + i] = sums[k * size + i]! / weights[i]! / unit;
    }
    return sums;
  }

  /** Counts where a window names another class than the windows before it: the seam a blend has to hide. */
  #compare(sums: Float32Array, values: Values, rows: Int32Array, width: number, stride: number): void {
    const { classes } = this.#o;
    const size = rows.length * width;
    let disagreed = 0;
    for (let row = 0, i = 0; row < rows.length; row++) {
      for (let x = 0; x < width; x++, i++) {
        let from = rows[row]! + x;
        let bestSum = sums[i]!;
        let bestValue = values[from]!;
        let a = 0;
        let b = 0;
        for (let k = 1, at = i + size; k < classes; k++, at += size) {
          from += stride;
          if (sums[at]! > bestSum) {
            bestSum = sums[at]!;
            a = k;
          }
          if (values[from]! > bestValue) {
            bestValue = values[from]!;
            b = k;
          }
        }
        if (a !== b) disagreed++;
      }
    }
    this.#compared += size;
    this.#disagreed += disagreed;
  }

  /** `rowOffsets`, of which there are few different ones and as many as cells. */
  #rowsOf(box: Rect, shape: readonly number[]): Int32Array {
    const key = [...box.origin, ...box.size, ...shape].join();
    let rows = this.#rows.get(key);
    if (rows) return rows;
    if (this.#rows.size >= ROWS_KEPT) this.#rows.clear();
    rows = rowOffsets(box, shape);
    this.#rows.set(key, rows);
    return rows;
  }

  /** A cell, or what of it lies in wanted chunks: the rest is somebody else's to make, and to compare. */
  #wantedParts(rect: Rect): Rect[] {
    if (this.#wantsAll) return [rect];
    const touched = chunksTouching(this.chunks, rect);
    const wanted = touched.filter((c) => this.#wanted[c]);
    if (wanted.length === touched.length) return [rect];
    return wanted.map((c) => intersect(rect, chunkRect(this.chunks, chunkIndex(this.chunks, c)))!);
  }

  /** Copies a finished cell into the wanted chunks it lies in; returns those it completed. */
  #emit(rect: Rect, values: Uint8Array | Float32Array): MergedChunk[] {
    const planes = this.#o.output === "probabilities" ? this.#o.classes : 1;
    const done: MergedChunk[] = [];
    for (const number of chunksTouching(this.chunks, rect)) {
      if (!this.#wanted[number]) continue;
      const chunk = this.#open.get(number) ?? this.#openChunk(number, planes);
      const part = intersect(rect, chunk.rect)!;
      const from = relativeTo(part, rect.origin).origin;
      const to = relativeTo(part, chunk.rect.origin).origin;
      copyBox(
        { data: values, shape: [planes, ...rect.size], origin: [0, ...from] },
        { data: chunk.data, shape: [planes, ...chunk.rect.size], origin: [0, ...to] },
        [planes, ...part.size],
      );
      const samples = product(part.size);
      chunk.remaining -= samples;
      this.#covered += samples;
      if (chunk.remaining === 0) {
        this.#open.delete(number);
        const shape = planes === 1 ? chunk.rect.size : [planes, ...chunk.rect.size];
        done.push({ index: chunkIndex(this.chunks, number), number, raster: { data: chunk.data, shape } });
      }
    }
    return done;
  }

  #openChunk(number: number, planes: number): OpenChunk {
    const rect = chunkRect(this.chunks, chunkIndex(this.chunks, number));
    const size = product(rect.size);
    let remaining = 0;
    for (const cell of this.#cellsTouching(rect)) {
      const intervals = this.#intervalsOf(cell);
      if (this.#keptWindowsOf(intervals).length === 0) continue;
      remaining += product(intersect(cellRect(intervals), rect)!.size);
    }
    const data = this.#o.output === "probabilities" ? new Float32Array(planes * size) : new Uint8Array(size);
    const chunk = { data, rect, remaining };
    this.#open.set(number, chunk);
    return chunk;
  }

  #intervalsOf(cell: number): Interval[] {
    const intervals = new Array<Interval>(this.#cellCounts.length);
    for (let axis = this.#cellCounts.length - 1; axis >= 0; axis--) {
      const n = this.#cellCounts[axis]!;
      intervals[axis] = this.#cells.intervals[axis]![cell % n]!;
      cell = Math.floor(cell / n);
    }
    return intervals;
  }

  /** Kept windows that cover a cell, in raster order. */
  #keptWindowsOf(intervals: readonly Interval[]): number[] {
    const { grid, kept } = this.#o;
    let windows = [0];
    for (let axis = 0; axis < intervals.length; axis++) {
      const { first, last } = intervals[axis]!;
      const n = grid.starts[axis]!.length;
      const next: number[] = [];
      for (const w of windows) for (let i = first; i <= last; i++) next.push(w * n + i);
      windows = next;
    }
    return windows.filter((w) => kept.has(w));
  }

  #cellsOf(position: readonly number[]): number[] {
    return this.#cellProduct(position.map((p, axis) => this.#cells.covered[axis]![p]!));
  }

  #cellsTouching(rect: Rect): number[] {
    return this.#cellProduct(
      rect.origin.map((start, axis) => {
        const list = this.#cells.intervals[axis]!;
        const end = start + rect.size[axis]!;
        return {
          first: list.findIndex((i) => i.end > start),
          end: list.findLastIndex((i) => i.start < end) + 1,
        };
      }),
    );
  }

  #cellProduct(ranges: readonly { first: number; end: number }[]): number[] {
    let cells = [0];
    for (let axis = 0; axis < ranges.length; axis++) {
      const { first, end } = ranges[axis]!;
      const next: number[] = [];
      for (const c of cells) for (let i = first; i < end; i++) next.push(c * this.#cellCounts[axis]! + i);
      cells = next;
    }
    return cells;
  }
}

function cellRect(intervals: readonly Interval[]): Rect {
  return { origin: intervals.map((i) => i.start), size: intervals.map((i) => i.end - i.start) };
}

/** Labels, and four at a time where every row of them begins with a word. */
interface Voice {
  labels: Uint8Array;
  words: Uint32Array | undefined;
}

function voiceOf(labels: Uint8Array, rows: Int32Array, rowLength: number): Voice {
  return { labels, words: rows[0]! % 4 === 0 ? byteWords(labels, rowLength) : undefined };
}

function copyRow(from: Voice, start: number, to: Voice, at: number, width: number): void {
  if (from.words && to.words) {
    const shift = (start - at) >> 2;
    const end = (at + width) >> 2;
    for (let i = at >> 2; i < end; i++) to.words[i] = from.words[i + shift]!;
  } else for (let x = 0; x < width; x++) to.labels[at + x] = from.labels[start + x]!;
}

/** Whether a window names the classes that `to` has; `UNDECIDED` is written where not, which is no class. */
function compareRow(from: Voice, start: number, to: Voice, at: number, width: number): boolean {
  let same = true;
  const compare = (x: number, end: number) => {
    for (; x < end; x++) {
      if (from.labels[start + x] === to.labels[at + x]) continue;
      to.labels[at + x] = UNDECIDED;
      same = false;
    }
  };
  if (!from.words || !to.words) {
    compare(0, width);
    return same;
  }
  const f = start >> 2;
  const t = at >> 2;
  for (let i = 0; i < width >> 2; i++) {
    if (from.words[f + i] !== to.words[t + i]) compare(4 * i, 4 * i + 4);
  }
  return same;
}

/** Class of the largest of `[K, size]` values; the first of equal ones. */
function argmax(values: Values, size: number, classes: number): Uint8Array {
  const labels = new Uint8Array(size);
  argmaxInto(values, values.slice(0, size), labels, classes);
  return labels;
}

/** Place of the largest of `count` values; the first of equal ones. */
function largest(values: Float32Array, count: number): number {
  let place = 0;
  for (let k = 1; k < count; k++) if (values[k]! > values[place]!) place = k;
  return place;
}
