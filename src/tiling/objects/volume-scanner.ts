import { chordWeights } from "./crofton.ts";

/** Measurements of one class of a label volume, in voxels except for the surface. Axes are `[z, y, x]`. */
export interface StructureMeasure {
  /** Class index. */
  label: number;
  voxels: number;
  /** Mean of voxel indices. */
  centroid: [number, number, number];
  /** First and last voxel index along each axis. */
  first: [number, number, number];
  last: [number, number, number];
  /** Number of 26-connected components. */
  components: number;
  /** In the square of the spacing's unit; includes faces at the border of the volume. */
  surface: number;
}

/** Runs of equal class of one slice, in raster order; `rows[y]` is the first of row y. */
class SliceRuns {
  readonly rows: Int32Array;
  label = new Uint8Array(256);
  start = new Int32Array(256);
  end = new Int32Array(256);
  /** Component of each run. */
  component = new Int32Array(256);
  count = 0;

  constructor(height: number) {
    this.rows = new Int32Array(height + 1);
  }

  push(label: number, start: number, end: number, component: number): void {
    if (this.count === this.start.length) this.#grow();
    const at = this.count++;
    this.label[at] = label;
    this.start[at] = start;
    this.end[at] = end;
    this.component[at] = component;
  }

  clear(): void {
    this.count = 0;
    this.rows.fill(0);
  }

  #grow(): void {
    const wider = <T extends Uint8Array | Int32Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    const length = 2 * this.start.length;
    this.label = wider(this.label, new Uint8Array(length));
    this.start = wider(this.start, new Int32Array(length));
    this.end = wider(this.end, new Int32Array(length));
    this.component = wider(this.component, new Int32Array(length));
  }
}

/** `DIRECTIONS` grouped by the compared row: the same row, the row above, rows of the previous slice. */
const SAME_ROW = 0;
const ROW_ABOVE = 1;
const SLICE_BEFORE = 4;

/**
 * Measures every class of a label volume slice by slice, in order. Memory holds the runs of two slices; components are
 * found by union-find over them and counted when they end.
 */
export class VolumeScanner {
  readonly #height: number;
  readonly #width: number;
  readonly #weights: number[];
  #before: SliceRuns;
  #current: SliceRuns;
  /** Union-find over the components that reach the previous slice and the runs of the current one. */
  #parent = new Int32Array(256);
  /** Components that reach the previous slice, and the class of each. */
  #open = 0;
  #openLabel = new Uint8Array(256);
  #z = 0;

  readonly #voxels = new Float64Array(256);
  readonly #sums = new Float64Array(3 * 256);
  readonly #first = new Float64Array(3 * 256).fill(Number.POSITIVE_INFINITY);
  readonly #last = new Float64Array(3 * 256).fill(Number.NEGATIVE_INFINITY);
  readonly #components = new Float64Array(256);
  /** Number of neighbour pairs of one class, by direction. */
  readonly #pairs = new Float64Array(13 * 256);

  /**
   * @param shape shape of a slice, `[y, x]`
   * @param spacing sample spacing, `[z, y, x]`
   */
  constructor([height, width]: readonly [number, number], spacing: readonly number[]) {
    this.#height = height;
    this.#width = width;
    this.#weights = chordWeights(spacing);
    this.#before = new SliceRuns(height);
    this.#current = new SliceRuns(height);
  }

  /**
   * Adds the next slice: class indices `[y, x]`, or undefined if all background.
   * @returns its classes without background, ascending
   */
  push(slice: Uint8Array | undefined): number[] {
    const present = new Uint8Array(256);
    this.#current.clear();
    if (slice !== undefined) this.#findRuns(slice, present);
    const runs = this.#current;
    for (let y = 0; y < this.#height; y++) {
      if (runs.rows[y] === runs.rows[y + 1]) continue;
      if (y > 0) this.#compare(y, runs, y - 1, ROW_ABOVE);
      for (let dy = -1; dy <= 1; dy++) {
        // From the previous slice to this one: its row is at -dy.
        if (y - dy >= 0 && y - dy < this.#height)
          this.#compare(y, this.#before, y - dy, SLICE_BEFORE + 3 * (dy + 1));
      }
    }
    this.#closeComponents();
    [this.#before, this.#current] = [this.#current, this.#before];
    this.#z++;
    const labels: number[] = [];
    for (let label = 1; label < 256; label++) if (present[label]) labels.push(label);
    return labels;
  }

  /** Measurements by class, without classes that never occurred. */
  finish(): StructureMeasure[] {
    for (let i = 0; i < this.#open; i++) this.#components[this.#openLabel[i]!]!++;
    this.#open = 0;
    const measures: StructureMeasure[] = [];
    for (let label = 1; label < 256; label++) {
      const voxels = this.#voxels[label]!;
      if (voxels === 0) continue;
      const triple = (values: Float64Array): [number, number, number] => [
        values[3 * label]!,
        values[3 * label + 1]!,
        values[3 * label + 2]!,
      ];
      const [z, y, x] = triple(this.#sums);
      measures.push({
        label,
        voxels,
        centroid: [z / voxels, y / voxels, x / voxels],
        first: triple(this.#first),
        last: triple(this.#last),
        components: this.#components[label]!,
        // A chord starts at each voxel whose previous neighbour has another class.
        surface: this.#weights.reduce(
          (sum, weight, k) => sum + weight * (voxels - this.#pairs[13 * label + k]!),
          0,
        ),
      });
    }
    return measures;
  }

  #findRuns(slice: Uint8Array, present: Uint8Array): void {
    const width = this.#width;
    const runs = this.#current;
    let next = this.#open;
    for (let y = 0; y < this.#height; y++) {
      const row = y * width;
      for (let x = 0; x < width; ) {
        const label = slice[row + x]!;
        const start = x;
        do x++;
        while (x < width && slice[row + x] === label);
        if (label === 0) continue;
        present[label] = 1;
        this.#reserve(next);
        this.#parent[next] = next;
        runs.push(label, start, x, next++);
        this.#count(label, y, start, x);
      }
      runs.rows[y + 1] = runs.count;
    }
  }

  #count(label: number, y: number, start: number, end: number): void {
    const length = end - start;
    this.#voxels[label]! += length;
    const at = 3 * label;
    this.#sums[at]! += this.#z * length;
    this.#sums[at + 1]! += y * length;
    this.#sums[at + 2]! += ((start + end - 1) * length) / 2;
    this.#bound(at, this.#z, this.#z);
    this.#bound(at + 1, y, y);
    this.#bound(at + 2, start, end - 1);
    this.#pairs[13 * label + SAME_ROW]! += length - 1;
  }

  #bound(at: number, first: number, last: number): void {
    if (first < this.#first[at]!) this.#first[at] = first;
    if (last > this.#last[at]!) this.#last[at] = last;
  }

  /** Joins the runs of row y with the runs they touch in another row, and counts the pairs with a step of -1, 0 and 1 along x. */
  #compare(y: number, others: SliceRuns, otherRow: number, direction: number): void {
    const { start, end, label, component, rows } = this.#current;
    let from = others.rows[otherRow]!;
    const to = others.rows[otherRow + 1]!;
    for (let i = rows[y]!; i < rows[y + 1]!; i++) {
      const s = start[i]!;
      const e = end[i]!;
      while (from < to && others.end[from]! < s) from++;
      for (let j = from; j < to && others.start[j]! <= e; j++) {
        if (others.label[j] !== label[i]) continue;
        this.#join(component[i]!, others.component[j]!);
        for (let dx = -1; dx <= 1; dx++) {
          // A step of dx leads from the other row to this one.
          const pairs = Math.min(e, others.end[j]! + dx) - Math.max(s, others.start[j]! + dx);
          if (pairs > 0) this.#pairs[13 * label[i]! + direction + dx + 1]! += pairs;
        }
      }
    }
  }

  #reserve(index: number): void {
    if (index < this.#parent.length) return;
    const wider = new Int32Array(2 * this.#parent.length);
    wider.set(this.#parent);
    this.#parent = wider;
  }

  #root(of: number): number {
    const parent = this.#parent;
    let root = of;
    while (parent[root] !== root) root = parent[root]!;
    for (let at = of; at !== root; ) {
      const next = parent[at]!;
      parent[at] = root;
      at = next;
    }
    return root;
  }

  #join(a: number, b: number): void {
    const p = this.#root(a);
    const q = this.#root(b);
    if (p !== q) this.#parent[Math.max(p, q)] = Math.min(p, q);
  }

  /** Counts the components that do not reach this slice, and numbers those that do from 0. */
  #closeComponents(): void {
    const { label, component, count } = this.#current;
    const number = new Map<number, number>();
    const openLabel = new Uint8Array(Math.max(256, count));
    for (let i = 0; i < count; i++) {
      const root = this.#root(component[i]!);
      let at = number.get(root);
      if (at === undefined) {
        at = number.size;
        number.set(root, at);
        openLabel[at] = label[i]!;
      }
      component[i] = at;
    }
    for (let i = 0; i < this.#open; i++) {
      if (this.#root(i) === i && !number.has(i)) this.#components[this.#openLabel[i]!]!++;
    }
    this.#open = number.size;
    this.#openLabel = openLabel;
    this.#reserveAll(this.#open);
    for (let i = 0; i < this.#open; i++) this.#parent[i] = i;
  }

  #reserveAll(count: number): void {
    while (this.#parent.length < count) this.#reserve(this.#parent.length);
  }
}
