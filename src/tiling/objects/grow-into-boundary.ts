import { stripHeight } from "../grid/strip-height.ts";
import type { ComponentSink } from "./component-sink.ts";

const UNREACHED = -1;
const QUEUED = -2;

/** A reusable list of integers, to avoid garbage for each row. */
class IntegerList {
  values = new Int32Array(64);
  length = 0;

  push(value: number): void {
    if (this.length === this.values.length) this.values = doubled(this.values);
    this.values[this.length++] = value;
  }
}

/** The runs of one row. */
interface RowRuns {
  /** `x0, x1, id` flat. */
  interior: IntegerList;
  /** `x0, x1` flat. */
  boundary: IntegerList;
}

/**
 * Assigns boundary pixels to the nearest kept object, by at most `maxGrow` 4-neighbour steps inside the boundary. Ties go
 * to the neighbour above, then left, right, below: the result depends neither on ids nor on the batching of rows. A
 * pixel depends only on rows at most `maxGrow` away.
 *
 * Dropped objects do not grow. A component below `minArea` pixels spans fewer than `minArea` rows, so each row waits for
 * `minArea` more rows: by then it is known which components are too small.
 */
export class GrowthWindow {
  readonly #maxGrow: number;
  readonly #wait: number;
  readonly #sink: Pick<ComponentSink, "grown" | "rowsDone" | "keeps">;
  /** Row length with one guard column on each side. */
  readonly #stride: number;
  readonly #height: number;
  /** Rows grown at a time; the halo of `maxGrow` rows on both sides is grown again for the next strip. */
  readonly #bandRows: number;
  /** `[height + 2, stride]` with guard rows: 0 for nothing, id + 1 of a run, or `UNREACHED`. */
  readonly #plane: Int32Array;
  /** The runs of each filled row of the window. */
  readonly #runs: (RowRuns | undefined)[];
  readonly #spare: RowRuns[] = [];
  /** Filled rows of the window; the first `maxGrow` are the halo above the strip. */
  #filled: number;
  /** Image row of the first row of the strip. */
  #y = 0;
  #boundaryRuns = 0;
  #assigned: Int32Array = new Int32Array(1024);

  #labels = new Int32Array(1024);
  readonly #waiting: RowRuns[] = [];
  #row: RowRuns = { interior: new IntegerList(), boundary: new IntegerList() };

  constructor(
    width: number,
    rule: { maxGrow: number; minArea: number },
    sink: Pick<ComponentSink, "grown" | "rowsDone" | "keeps">,
  ) {
    const { maxGrow, minArea } = rule;
    this.#maxGrow = maxGrow;
    this.#wait = Math.max(0, Math.ceil(minArea) - 1);
    this.#sink = sink;
    this.#stride = width + 2;
    this.#bandRows = stripHeight(width);
    this.#height = this.#bandRows + 2 * maxGrow;
    this.#plane = new Int32Array((this.#height + 2) * this.#stride);
    this.#runs = new Array<RowRuns | undefined>(this.#height).fill(undefined);
    this.#filled = maxGrow;
  }

  interior(x0: number, x1: number, id: number): void {
    const { interior } = this.#row;
    interior.push(x0);
    interior.push(x1);
    interior.push(id);
  }

  boundary(x0: number, x1: number): void {
    const { boundary } = this.#row;
    boundary.push(x0);
    boundary.push(x1);
  }

  endRow(): void {
    this.#waiting.push(this.#row);
    this.#row = this.#spare.pop() ?? { interior: new IntegerList(), boundary: new IntegerList() };
    this.#row.interior.length = 0;
    this.#row.boundary.length = 0;
    if (this.#waiting.length > this.#wait) this.#paint(this.#waiting.shift()!);
  }

  finish(): void {
    for (const row of this.#waiting) this.#paint(row);
    this.#waiting.length = 0;
    this.#growBand(this.#filled);
  }

  #paint(runs: RowRuns): void {
    const row = this.#filled;
    const at = (row + 1) * this.#stride + 1;
    const plane = this.#plane;
    const interior = runs.interior.values;
    const boundary = runs.boundary.values;
    for (let r = 0; r < runs.interior.length; r += 3) {
      const id = interior[r + 2]!;
      if (this.#sink.keeps(id)) plane.fill(id + 1, at + interior[r]!, at + interior[r + 1]!);
    }
    for (let r = 0; r < runs.boundary.length; r += 2) {
      plane.fill(UNREACHED, at + boundary[r]!, at + boundary[r + 1]!);
    }
    this.#runs[row] = runs;
    this.#boundaryRuns += runs.boundary.length / 2;
    if (++this.#filled < this.#height) return;
    this.#growBand(this.#maxGrow + this.#bandRows);
    this.#shift();
  }

  /** Grows in the whole window, reports the strip (up to window row `end`), and resets grown pixels. */
  #growBand(end: number): void {
    if (this.#boundaryRuns > 0) {
      const count = this.#grow();
      const plane = this.#plane;
      for (let row = this.#maxGrow; row < end; row++) this.#tell(row);
      for (let i = 0; i < count; i++) plane[this.#assigned[i]!] = UNREACHED;
    }
    this.#y += end - this.#maxGrow;
    this.#sink.rowsDone(this.#y);
  }

  /** Breadth-first, all pixels of a step at once. @returns the number of assigned pixels */
  #grow(): number {
    const plane = this.#plane;
    const stride = this.#stride;
    let count = 0;
    for (let row = 0; row < this.#filled; row++) {
      const boundary = this.#runs[row]?.boundary;
      if (boundary === undefined) continue;
      const at = (row + 1) * stride + 1;
      for (let r = 0; r < boundary.length; r += 2) {
        const last = at + boundary.values[r + 1]!;
        for (let p = at + boundary.values[r]!; p < last; p++) {
          if (plane[p - stride]! > 0 || plane[p - 1]! > 0 || plane[p + 1]! > 0 || plane[p + stride]! > 0) {
            if (count === this.#assigned.length) this.#assigned = doubled(this.#assigned);
            this.#assigned[count++] = p;
          }
        }
      }
    }
    const sides = [-stride, -1, 1, stride];
    let from = 0;
    for (let step = 1; ; step++) {
      // All labels are chosen before any is written, so that only pixels of earlier steps count.
      const assigned = this.#assigned;
      if (this.#labels.length < count - from) this.#labels = new Int32Array(2 * (count - from));
      const labels = this.#labels;
      for (let i = from; i < count; i++) {
        const p = assigned[i]!;
        let label = plane[p - stride]!;
        if (label <= 0) label = plane[p - 1]!;
        if (label <= 0) label = plane[p + 1]!;
        if (label <= 0) label = plane[p + stride]!;
        labels[i - from] = label;
      }
      for (let i = from; i < count; i++) plane[assigned[i]!] = labels[i - from]!;
      if (step === this.#maxGrow || from === count) return count;
      const until = count;
      for (let i = from; i < until; i++) {
        const p = this.#assigned[i]!;
        if (count + 4 > this.#assigned.length) this.#assigned = doubled(this.#assigned);
        for (let side = 0; side < 4; side++) {
          const q = p + sides[side]!;
          if (plane[q] !== UNREACHED) continue;
          plane[q] = QUEUED;
          this.#assigned[count++] = q;
        }
      }
      from = until;
    }
  }

  #tell(row: number): void {
    const plane = this.#plane;
    const boundary = this.#runs[row]?.boundary;
    if (boundary === undefined) return;
    const at = (row + 1) * this.#stride + 1;
    const y = this.#y + row - this.#maxGrow;
    for (let r = 0; r < boundary.length; r += 2) {
      const x1 = boundary.values[r + 1]!;
      for (let x = boundary.values[r]!; x < x1; ) {
        const label = plane[at + x]!;
        const x0 = x++;
        while (x < x1 && plane[at + x] === label) x++;
        if (label > 0) this.#sink.grown(label - 1, y, x0, x);
      }
    }
  }

  /** Moves the last `2 * maxGrow` rows (halo and unreported rows) to the top of the window. */
  #shift(): void {
    const stride = this.#stride;
    const keep = 2 * this.#maxGrow;
    for (let row = 0; row < this.#height; row++) {
      const at = (row + 1) * stride;
      const old = this.#runs[row];
      const source = row + this.#bandRows;
      const moved = row < keep ? this.#runs[source] : undefined;
      if (moved !== undefined && !isEmpty(moved)) {
        this.#plane.copyWithin(at, (source + 1) * stride, (source + 2) * stride);
      } else if (old !== undefined && !isEmpty(old)) this.#plane.fill(0, at, at + stride);
      if (old !== undefined && row < this.#bandRows) {
        this.#boundaryRuns -= old.boundary.length / 2;
        this.#spare.push(old);
      }
      this.#runs[row] = moved;
    }
    this.#filled = keep;
  }
}

function isEmpty({ interior, boundary }: RowRuns): boolean {
  return interior.length === 0 && boundary.length === 0;
}

function doubled(list: Int32Array): Int32Array<ArrayBuffer> {
  const out = new Int32Array(list.length * 2);
  out.set(list);
  return out;
}
