import { copyBox, intersect, relativeTo, rowOffsets } from "../grid/box.ts";
import {
  buildCellGrid,
  type CellGrid,
  cellIntervals,
  cellRect,
  cellsOfWindow,
  cellsTouching,
  type Interval,
  windowsOfCell,
} from "../grid/cell-grid.ts";
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
import { decodeForMerging, type MaskRecord, PRECISION_UNIT, type Precision } from "../wire/mask-record.ts";
import { argmaxBytes } from "./argmax.ts";
import {
  argmax,
  type CellWindow,
  type MergeContext,
  mergeByAgreement,
  normalizeSums,
  sumWindows,
  type Values,
} from "./merge-kernels.ts";

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
  /** Chunks to produce, by number in raster order. Default all. */
  wanted?: (chunk: number) => boolean;
  /** Called when the merger no longer refers to a buffer: once for each record in it, and for its own copies. */
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

/** A record that unfinished cells still need. */
interface PendingRecord {
  /** Undefined after the needed part was copied. */
  record: MaskRecord | undefined;
  /** The part of the window that is kept, and its values `[K, ...rect.size]`. */
  rect: Rect;
  values: Values;
  /** The class of the largest value `[...rect.size]`, for `mergeByAgreement`. */
  labels: Uint8Array | undefined;
  /** Origin of the window. */
  origin: readonly number[];
  /** Unfinished cells. */
  cells: Set<number>;
  /** `#compact` runs once no more than this many cells are left. */
  compactBelow: number;
}

/** A record is compacted when this share of its cells is left. */
const COMPACT_SHARE = 1 / 3;
/** Label arrays kept for reuse. */
const MAX_SPARE_LABELS = 4;
/** Cached row offsets: a few kilobytes each for a window of a volume. */
const MAX_CACHED_ROWS = 512;

/**
 * Merges mask records into chunks: weighted sum over the windows of a sample in raster order of the windows,
 * divided by the weight sum, then argmax. A cell (see cell-grid.ts) is summed when its last window arrives, so records
 * may arrive in any order and give the same bytes. Memory holds the frontier, not the image: the records between
 * finished and missing windows, one byte a class and sample at precision u8, and the chunks they touch.
 */
export class Merger {
  readonly chunks: ChunkGrid;
  readonly #options: Required<Omit<MergerOptions, "wanted" | "onReleased">>;
  readonly #onReleased: ((memory: ArrayBufferLike) => void) | undefined;
  readonly #cells: CellGrid;
  /** By cell: kept windows that cover it and are still missing. */
  readonly #missing: Uint16Array;
  /** By window. */
  readonly #pending = new Map<number, PendingRecord>();
  readonly #open = new Map<number, OpenChunk>();
  /** A bit for each window. */
  readonly #seen: Uint8Array;
  readonly #wanted: Uint8Array;
  readonly #wantsAll: boolean;
  readonly #windowSize: number;
  readonly #context: MergeContext;
  /** Labels of one cell, which is no larger than a window. */
  readonly #cellLabels: Uint8Array;
  readonly #cachedRows = new Map<string, Int32Array>();
  readonly #spareLabels: Uint8Array[] = [];
  #openCells = 0;
  #windows = 0;
  #covered = 0;

  constructor(options: MergerOptions) {
    const { grid, kept, importance, classes, wanted } = options;
    this.#onReleased = options.onReleased;
    this.#options = { output: "labels", ...options };
    this.#windowSize = product(grid.window);
    this.#context = { importance, classes, sums: new Float32Array(classes), compared: 0, disagreed: 0 };
    this.#cellLabels = new Uint8Array(this.#windowSize);
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
    const cells = product(this.#cells.counts);
    this.#missing = new Uint16Array(cells);
    for (let cell = 0; cell < cells; cell++) {
      const intervals = cellIntervals(this.#cells, cell);
      const touchesWanted = chunksTouching(this.chunks, cellRect(intervals)).some((c) => this.#wanted[c]);
      if (touchesWanted) this.#missing[cell] = this.#keptWindows(intervals).length;
      if (this.#missing[cell]) this.#openCells++;
    }
    this.#seen = new Uint8Array(kept.bits.length);
  }

  /** Adds one record; returns the chunks it completed. A window seen before changes nothing. */
  add(record: MaskRecord): MergedChunk[] {
    const { grid, kept, classes, precision } = this.#options;
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
    const cells = cellsOfWindow(this.#cells, position).filter((cell) => this.#missing[cell]! > 0);
    if (cells.length === 0) {
      this.#releaseRecord(record);
      return [];
    }
    const byAgreement = this.#options.output === "labels" && values instanceof Uint8Array;
    const labels = byAgreement ? (record.labels ?? this.#labelRecord(values)) : undefined;
    this.#pending.set(window, {
      record,
      rect: { origin, size: grid.window },
      values,
      labels,
      origin,
      cells: new Set(cells),
      compactBelow: cells.length * COMPACT_SHARE,
    });
    const touched = new Set<number>();
    const done: MergedChunk[] = [];
    for (const cell of cells) {
      this.#missing[cell]!--;
      if (this.#missing[cell]! > 0) continue;
      const intervals = cellIntervals(this.#cells, cell);
      const rect = cellRect(intervals);
      const windows = this.#keptWindows(intervals);
      const records = windows.map((w) => this.#pending.get(w)!);
      for (const part of this.#wantedParts(rect))
        done.push(...this.#emit(part, this.#mergeCell(part, records, byAgreement)));
      this.#openCells--;
      windows.forEach((w, turn) => {
        records[turn]!.cells.delete(cell);
        touched.add(w);
      });
    }
    for (const w of touched) this.#releaseUnneeded(w);
    return done;
  }

  /** Samples in overlaps at which a window was compared with those before it, and how often its class differed. */
  get comparison(): { compared: number; disagreed: number } {
    const { compared, disagreed } = this.#context;
    return { compared, disagreed };
  }

  /** Checks that no cell is open. Call it after the last record. @throws {Error} */
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

  /** Frees the record of a window, or the part of it that no cell needs. */
  #releaseUnneeded(window: number): void {
    const pending = this.#pending.get(window)!;
    if (pending.cells.size === 0) {
      this.#pending.delete(window);
      this.#release(pending);
    } else if (pending.cells.size <= pending.compactBelow) this.#compact(pending);
  }

  /** Copies the box around a record's unfinished cells, if that is at most half of what is kept. */
  #compact(pending: PendingRecord): void {
    pending.compactBelow = pending.cells.size * COMPACT_SHARE;
    const { rect } = pending;
    const low = rect.origin.map(() => Number.POSITIVE_INFINITY);
    const high = rect.origin.map(() => Number.NEGATIVE_INFINITY);
    for (const cell of pending.cells) {
      cellIntervals(this.#cells, cell).forEach(({ start, end }, axis) => {
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
    const values = part(pending.values, this.#options.classes);
    const labels = pending.labels && part(pending.labels, 1);
    this.#release(pending);
    Object.assign(pending, { record: undefined, rect: left, values, labels });
  }

  /** Returns the buffers to their owner; the merger's own label arrays are reused. */
  #release({ record, values, labels }: PendingRecord): void {
    if (record) {
      this.#releaseRecord(record);
      if (labels && !record.labels && this.#spareLabels.length < MAX_SPARE_LABELS)
        this.#spareLabels.push(labels);
      return;
    }
    this.#onReleased?.(values.buffer);
    if (labels) this.#onReleased?.(labels.buffer);
  }

  #releaseRecord({ data, labels }: MaskRecord): void {
    this.#onReleased?.(data.buffer);
    if (labels) this.#onReleased?.(labels.buffer);
  }

  /** The class of the largest value at each sample of a record; the first of equal ones. */
  #labelRecord(values: Uint8Array): Uint8Array {
    const labels = this.#spareLabels.pop() ?? new Uint8Array(this.#windowSize);
    argmaxBytes(values, labels, this.#options.classes);
    return labels;
  }

  /** Labels or probabilities of a cell or a part of it. Labels by agreement are valid until the next cell. */
  #mergeCell(rect: Rect, records: readonly PendingRecord[], byAgreement: boolean): Values {
    const { classes, output, precision } = this.#options;
    const windows = records.map((record) => this.#toCellWindow(rect, record));
    const size = product(rect.size);
    const width = rect.size.at(-1)!;
    if (byAgreement) {
      const labels = this.#cellLabels.subarray(0, size);
      mergeByAgreement(windows, width, labels, this.#context);
      return labels;
    }
    const { sums, weights } = sumWindows(windows, width, size, this.#context);
    if (output === "labels") return argmax(sums, size, classes);
    normalizeSums(sums, weights, classes, PRECISION_UNIT[precision]);
    return sums;
  }

  #toCellWindow(rect: Rect, { values, labels, origin, rect: kept }: PendingRecord): CellWindow {
    return {
      values,
      labels,
      planeLength: product(kept.size),
      rowLength: kept.size.at(-1)!,
      rows: this.#rowOffsets(relativeTo(rect, kept.origin), kept.size),
      weightRows: () => this.#rowOffsets(relativeTo(rect, origin), this.#options.grid.window),
    };
  }

  /** `rowOffsets`, cached: many cells share the same offsets. */
  #rowOffsets(box: Rect, shape: readonly number[]): Int32Array {
    const key = [...box.origin, ...box.size, ...shape].join();
    let rows = this.#cachedRows.get(key);
    if (rows) return rows;
    if (this.#cachedRows.size >= MAX_CACHED_ROWS) this.#cachedRows.clear();
    rows = rowOffsets(box, shape);
    this.#cachedRows.set(key, rows);
    return rows;
  }

  /** The parts of a cell in wanted chunks; the cell itself if all of its chunks are wanted. */
  #wantedParts(rect: Rect): Rect[] {
    if (this.#wantsAll) return [rect];
    const touched = chunksTouching(this.chunks, rect);
    const wanted = touched.filter((c) => this.#wanted[c]);
    if (wanted.length === touched.length) return [rect];
    return wanted.map((c) => intersect(rect, chunkRect(this.chunks, chunkIndex(this.chunks, c)))!);
  }

  /** Copies a finished cell into the wanted chunks it lies in; returns those it completed. */
  #emit(rect: Rect, values: Uint8Array | Float32Array): MergedChunk[] {
    const planes = this.#options.output === "probabilities" ? this.#options.classes : 1;
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
    for (const cell of cellsTouching(this.#cells, rect)) {
      const intervals = cellIntervals(this.#cells, cell);
      if (this.#keptWindows(intervals).length === 0) continue;
      remaining += product(intersect(cellRect(intervals), rect)!.size);
    }
    const data =
      this.#options.output === "probabilities" ? new Float32Array(planes * size) : new Uint8Array(size);
    const chunk = { data, rect, remaining };
    this.#open.set(number, chunk);
    return chunk;
  }

  #keptWindows(intervals: readonly Interval[]): number[] {
    const { grid, kept } = this.#options;
    return windowsOfCell(grid, intervals).filter((window) => kept.has(window));
  }
}
