import { byteWords } from "../pixels/byte-words.ts";
import { argmaxInto } from "./argmax.ts";

// Kernels of the merger: plain loops over the samples of one cell. A cell is a box that the same windows cover.

/** Marks samples at which windows differ: classes are numbered 0 to 254. */
const UNDECIDED = 255;

export type Values = Uint8Array | Float32Array;

/** What one window contributes to a cell. Offsets point to the first sample of each row of the cell. */
export interface CellWindow {
  /** Class values `[K, ...size]`, unnormalized. */
  values: Values;
  /** Class of the largest value `[...size]`; needed by `mergeByAgreement`. */
  labels: Uint8Array | undefined;
  /** Samples of one class in `values`. */
  planeLength: number;
  /** Length of the last axis of `size`. */
  rowLength: number;
  /** Offsets into one class of `values`, and into `labels`. */
  rows: Int32Array;
  /** Offsets into the importance map, computed when first needed. */
  weightRows: () => Int32Array;
}

/** Blending weights, and what all cells of a merger share. */
export interface MergeContext {
  /** Importance map `[...window]`. */
  importance: Float32Array;
  classes: number;
  /** Scratch: one sum a class. */
  sums: Float32Array;
  /** Samples at which a window was compared with those before it, so far. */
  compared: number;
  /** Samples among `compared` at which its class differed. */
  disagreed: number;
}

/**
 * Labels of a cell from bytes. Where all windows agree on the class, it is taken without summing: a weighted sum of
 * vectors with the largest value at the same place has it there too. Each largest value exceeds the others by 1/255 at
 * least, more than float32 rounding removes, so the labels equal those of `sumWindows` and `argmax`.
 * @param windows in raster order
 * @param out `[rows × width]`
 */
export function mergeByAgreement(
  windows: readonly CellWindow[],
  width: number,
  out: Uint8Array,
  context: MergeContext,
): void {
  const target: LabelRows = { labels: out, words: byteWords(out, width) };
  const [first, ...others] = windows.map(toLabelRows) as [LabelRows, ...LabelRows[]];
  const rows = windows.map((window) => window.rows);
  let weightRows: Int32Array[] | undefined;
  for (let row = 0, at = 0; row < rows[0]!.length; row++, at += width) {
    copyRow(first, rows[0]![row]!, target, at, width);
    let agreed = true;
    for (let t = 0; t < others.length; t++) {
      if (!compareRow(others[t]!, rows[t + 1]![row]!, target, at, width)) agreed = false;
    }
    for (let x = 0; x < width && !agreed; x++) {
      if (out[at + x] === UNDECIDED) {
        weightRows ??= windows.map((window) => window.weightRows());
        out[at + x] = decideSample(windows, weightRows, row, x, context);
      }
    }
  }
  context.compared += out.length * others.length;
}

/** Class of the largest weighted sum at one sample; counts the windows that differ from those before them. */
function decideSample(
  windows: readonly CellWindow[],
  weightRows: readonly Int32Array[],
  row: number,
  x: number,
  context: MergeContext,
): number {
  const { importance, classes } = context;
  const sums = context.sums.fill(0);
  for (let t = 0; t < windows.length; t++) {
    const { values, labels, rows, planeLength } = windows[t]!;
    const at = rows[row]! + x;
    if (t > 0 && indexOfLargest(sums, classes) !== labels![at]) context.disagreed++;
    const weight = importance[weightRows[t]![row]! + x]!;
    for (let k = 0, v = at; k < classes; k++, v += planeLength) sums[k]! += weight * values[v]!;
  }
  return indexOfLargest(sums, classes);
}

/**
 * Weighted sums over the windows of a cell.
 * @param windows in raster order, which fixes the order of the float32 additions
 * @returns sums `[K, size]` and the sum of the weights `[size]`
 */
export function sumWindows(
  windows: readonly CellWindow[],
  width: number,
  size: number,
  context: MergeContext,
): { sums: Float32Array; weights: Float32Array } {
  const { classes, importance } = context;
  const sums = new Float32Array(classes * size);
  const weights = new Float32Array(size);
  windows.forEach((window, turn) => {
    const { values, rows, planeLength } = window;
    const weightRows = window.weightRows();
    if (turn > 0) countDisagreements(sums, window, width, context);
    for (let row = 0; row < rows.length; row++) {
      const w = weightRows[row]!;
      const at = row * width;
      for (let k = 0; k < classes; k++) {
        const plane = k * size + at;
        const from = k * planeLength + rows[row]!;
        for (let x = 0; x < width; x++) sums[plane + x]! += importance[w + x]! * values[from + x]!;
      }
      for (let x = 0; x < width; x++) weights[at + x]! += importance[w + x]!;
    }
  });
  return { sums, weights };
}

/** Counts the samples at which a window's class differs from the class of the sums before it. */
function countDisagreements(
  sums: Float32Array,
  { values, rows, planeLength }: CellWindow,
  width: number,
  context: MergeContext,
): void {
  const { classes } = context;
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
        from += planeLength;
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
  context.compared += size;
  context.disagreed += disagreed;
}

/** Turns sums `[K, size]` into probabilities, in place. @param unit value of probability 1 */
export function normalizeSums(
  sums: Float32Array,
  weights: Float32Array,
  classes: number,
  unit: number,
): void {
  const size = weights.length;
  for (let k = 0; k < classes; k++) {
    for (let i = 0; i < size; i++) sums[k * size + i] = sums[k * size + i]! / weights[i]! / unit;
  }
}

/** Class of the largest of `[K, size]` values; the first of equal ones. */
export function argmax(values: Values, size: number, classes: number): Uint8Array {
  const labels = new Uint8Array(size);
  argmaxInto(values, values.slice(0, size), labels, classes);
  return labels;
}

/** Labels, also as words of four where every row begins at a word. */
interface LabelRows {
  labels: Uint8Array;
  words: Uint32Array | undefined;
}

function toLabelRows({ labels, rows, rowLength }: CellWindow): LabelRows {
  return { labels: labels!, words: rows[0]! % 4 === 0 ? byteWords(labels!, rowLength) : undefined };
}

function copyRow(from: LabelRows, start: number, to: LabelRows, at: number, width: number): void {
  if (from.words && to.words) {
    const shift = (start - at) >> 2;
    const end = (at + width) >> 2;
    for (let i = at >> 2; i < end; i++) to.words[i] = from.words[i + shift]!;
  } else for (let x = 0; x < width; x++) to.labels[at + x] = from.labels[start + x]!;
}

/** Writes `UNDECIDED` to `to` where the labels differ. @returns whether none differs */
function compareRow(from: LabelRows, start: number, to: LabelRows, at: number, width: number): boolean {
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

/** Index of the largest of the first `count` values; the first of equal ones. */
function indexOfLargest(values: Float32Array, count: number): number {
  let index = 0;
  for (let k = 1; k < count; k++) if (values[k]! > values[index]!) index = k;
  return index;
}
