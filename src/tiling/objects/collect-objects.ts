import type { ComponentSink } from "./component-sink.ts";
import type { ObjectRule } from "./connected-components.ts";

/** A finished object: all of its pixels as runs. */
export interface ObjectRuns {
  /** 1, 2, 3… in the order in which objects are finished: by the last row of their interior, then left to right. */
  number: number;
  kind: number;
  /**
   * `[n, 3]`: row, first column, column after the last; in raster order, runs of a row not touching.
   * The buffer is reused for the next object: copy it to keep it.
   */
  runs: Int32Array;
  /** Number of pixels, grown ones included. */
  area: number;
}

const NONE = -1;

/**
 * Collects components into objects and emits each one as soon as no pixel can join it. Memory holds the runs of open
 * objects; slots and runs are reused.
 */
export class ObjectCollector implements ComponentSink {
  readonly #maxGrow: number;
  readonly #minArea: number;
  readonly #onObject: (object: ObjectRuns) => void;

  // Union-find by slot (a component when first seen): parents, and for each root lists of its members and runs.
  #parent = new Int32Array(256);
  #kind = new Uint8Array(256);
  #serial = new Int32Array(256);
  #lastRow = new Int32Array(256);
  #interiorArea = new Float64Array(256);
  #headRun = new Int32Array(256);
  #tailRun = new Int32Array(256);
  #nextMember = new Int32Array(256);
  #tailMember = new Int32Array(256);
  #slotCount = 0;
  #freeSlot = NONE;

  #runY = new Int32Array(1024);
  #runX0 = new Int32Array(1024);
  #runX1 = new Int32Array(1024);
  #nextRun = new Int32Array(1024);
  #runCount = 0;
  #freeRun = NONE;

  /** Slots in the row above and in the current row. */
  #activeAbove = new Int32Array(256);
  #activeAboveCount = 0;
  #active = new Int32Array(256);
  #activeCount = 0;
  /** Roots whose interior has ended, by last row. */
  #ended: number[] = [];
  #endedHead = 0;

  #serials = 0;
  #objects = 0;
  #numberOfSerial: Uint32Array | undefined;
  #counts = new Int32Array(256);
  #filled = new Int32Array(256);
  #gathered = new Int32Array(768);

  constructor(options: {
    rule: Pick<ObjectRule, "maxGrow" | "minArea">;
    onObject: (object: ObjectRuns) => void;
    /** Keep the number of every component seen, for `ObjectPainter`: 4 bytes each. */
    keepNumbers?: boolean;
  }) {
    this.#maxGrow = options.rule.maxGrow;
    this.#minArea = options.rule.minArea;
    this.#onObject = options.onObject;
    if (options.keepNumbers) this.#numberOfSerial = new Uint32Array(1024);
  }

  /** Number of emitted objects. */
  get objectCount(): number {
    return this.#objects;
  }

  /** Object number of each component in the order of `begin`; 0 for dropped ones. Complete after `finish`. */
  get numbers(): Uint32Array {
    if (this.#numberOfSerial === undefined)
      throw new Error("object numbers are kept only with keepNumbers: true");
    return this.#numberOfSerial.subarray(0, this.#serials);
  }

  begin(kind: number): number {
    let slot = this.#freeSlot;
    if (slot !== NONE) this.#freeSlot = this.#parent[slot]!;
    else {
      slot = this.#slotCount++;
      if (slot === this.#parent.length) this.#growSlots();
    }
    this.#parent[slot] = slot;
    this.#kind[slot] = kind;
    this.#serial[slot] = this.#serials++;
    this.#lastRow[slot] = NONE;
    this.#interiorArea[slot] = 0;
    this.#headRun[slot] = NONE;
    this.#tailRun[slot] = NONE;
    this.#nextMember[slot] = NONE;
    this.#tailMember[slot] = slot;
    return slot;
  }

  join(a: number, b: number): void {
    const root = this.#find(a);
    const other = this.#find(b);
    if (root === other) return;
    this.#parent[other] = root;
    if (this.#lastRow[other]! > this.#lastRow[root]!) this.#lastRow[root] = this.#lastRow[other]!;
    this.#interiorArea[root]! += this.#interiorArea[other]!;
    this.#nextMember[this.#tailMember[root]!] = other;
    this.#tailMember[root] = this.#tailMember[other]!;
    if (this.#headRun[other] === NONE) return;
    if (this.#headRun[root] === NONE) this.#headRun[root] = this.#headRun[other]!;
    else this.#nextRun[this.#tailRun[root]!] = this.#headRun[other]!;
    this.#tailRun[root] = this.#tailRun[other]!;
  }

  interior(id: number, y: number, x0: number, x1: number): void {
    const root = this.#find(id);
    this.#lastRow[root] = y;
    this.#interiorArea[root]! += x1 - x0;
    if (this.#activeCount === this.#active.length) this.#active = doubled(this.#active);
    this.#active[this.#activeCount++] = root;
    this.#addRun(root, y, x0, x1);
  }

  grown(id: number, y: number, x0: number, x1: number): void {
    this.#addRun(this.#find(id), y, x0, x1);
  }

  keeps(id: number): boolean {
    return this.#interiorArea[this.#find(id)]! >= this.#minArea;
  }

  interiorRowDone(y: number): void {
    for (let i = 0; i < this.#activeAboveCount; i++) {
      const root = this.#find(this.#activeAbove[i]!);
      const lastRow = this.#lastRow[root]!;
      if (lastRow >= y || lastRow < 0) continue;
      this.#ended.push(root);
      // Marked, so that its other runs in the row above do not queue it again.
      this.#lastRow[root] = -2 - lastRow;
    }
    const above = this.#activeAbove;
    this.#activeAbove = this.#active;
    this.#activeAboveCount = this.#activeCount;
    this.#active = above;
    this.#activeCount = 0;
  }

  rowsDone(yEnd: number): void {
    const ended = this.#ended;
    while (this.#endedHead < ended.length) {
      const root = ended[this.#endedHead]!;
      const lastRow = -2 - this.#lastRow[root]!;
      if (lastRow + this.#maxGrow >= yEnd) break;
      this.#endedHead++;
      this.#close(root);
    }
    if (this.#endedHead > 1024 && this.#endedHead * 2 > ended.length) {
      ended.splice(0, this.#endedHead);
      this.#endedHead = 0;
    }
  }

  #find(slot: number): number {
    const parent = this.#parent;
    let root = slot;
    while (parent[root] !== root) {
      // Path halving (Tarjan and van Leeuwen 1984).
      parent[root] = parent[parent[root]!]!;
      root = parent[root]!;
    }
    return root;
  }

  #addRun(root: number, y: number, x0: number, x1: number): void {
    let run = this.#freeRun;
    if (run !== NONE) this.#freeRun = this.#nextRun[run]!;
    else {
      run = this.#runCount++;
      if (run === this.#runY.length) this.#growRuns();
    }
    this.#runY[run] = y;
    this.#runX0[run] = x0;
    this.#runX1[run] = x1;
    this.#nextRun[run] = NONE;
    if (this.#headRun[root] === NONE) this.#headRun[root] = run;
    else this.#nextRun[this.#tailRun[root]!] = run;
    this.#tailRun[root] = run;
  }

  #close(root: number): void {
    const kind = this.#kind[root]!;
    const runs = this.#takeRuns(root);
    let area = 0;
    for (let i = 0; i < runs.length; i += 3) area += runs[i + 2]! - runs[i + 1]!;
    const kept = this.#interiorArea[root]! >= this.#minArea;
    const number = kept ? ++this.#objects : 0;
    for (let member = root; member !== NONE; ) {
      if (this.#numberOfSerial !== undefined) this.#keepNumber(this.#serial[member]!, number);
      const next = this.#nextMember[member]!;
      this.#parent[member] = this.#freeSlot;
      this.#freeSlot = member;
      member = next;
    }
    if (kept) this.#onObject({ number, kind, runs, area });
  }

  /** The runs of a root in raster order, adjacent ones merged; their slots are freed. */
  #takeRuns(root: number): Int32Array {
    let minY = Number.POSITIVE_INFINITY;
    let maxY = Number.NEGATIVE_INFINITY;
    let n = 0;
    for (let run = this.#headRun[root]!; run !== NONE; run = this.#nextRun[run]!) {
      const y = this.#runY[run]!;
      if (y < minY) minY = y;
      if (y > maxY) maxY = y;
      n++;
    }
    const rows = maxY - minY + 1;
    if (this.#counts.length <= rows) {
      this.#counts = new Int32Array(2 * rows);
      this.#filled = new Int32Array(2 * rows);
    }
    if (this.#gathered.length < 3 * n) this.#gathered = new Int32Array(6 * n);
    const counts = this.#counts.fill(0, 0, rows + 1);
    const out = this.#gathered;
    for (let run = this.#headRun[root]!; run !== NONE; run = this.#nextRun[run]!) {
      counts[this.#runY[run]! - minY + 1]!++;
    }
    for (let row = 0; row < rows; row++) counts[row + 1]! += counts[row]!;
    // Counting sort by row, keeping each row sorted by insertion: a row has few runs.
    const filled = this.#filled.fill(0, 0, rows);
    for (let run = this.#headRun[root]!; run !== NONE; ) {
      const row = this.#runY[run]! - minY;
      const x0 = this.#runX0[run]!;
      const begin = counts[row]!;
      let at = begin + filled[row]!++;
      while (at > begin && out[3 * at - 2]! > x0) {
        out[3 * at + 1] = out[3 * at - 2]!;
        out[3 * at + 2] = out[3 * at - 1]!;
        at--;
      }
      out[3 * at + 1] = x0;
      out[3 * at + 2] = this.#runX1[run]!;
      const next = this.#nextRun[run]!;
      this.#nextRun[run] = this.#freeRun;
      this.#freeRun = run;
      run = next;
    }
    let merged = 0;
    for (let row = 0; row < rows; row++) {
      for (let i = counts[row]!; i < counts[row + 1]!; i++) {
        const x0 = out[3 * i + 1]!;
        const x1 = out[3 * i + 2]!;
        if (i > counts[row]! && out[3 * merged - 1] === x0) out[3 * merged - 1] = x1;
        else {
          out[3 * merged] = minY + row;
          out[3 * merged + 1] = x0;
          out[3 * merged + 2] = x1;
          merged++;
        }
      }
    }
    return out.subarray(0, 3 * merged);
  }

  #keepNumber(serial: number, number: number): void {
    let numbers = this.#numberOfSerial!;
    if (serial >= numbers.length) {
      numbers = new Uint32Array(Math.max(serial + 1, 2 * numbers.length));
      numbers.set(this.#numberOfSerial!);
      this.#numberOfSerial = numbers;
    }
    numbers[serial] = number;
  }

  #growSlots(): void {
    const kind = new Uint8Array(2 * this.#kind.length);
    kind.set(this.#kind);
    this.#kind = kind;
    const interiorArea = new Float64Array(2 * this.#interiorArea.length);
    interiorArea.set(this.#interiorArea);
    this.#interiorArea = interiorArea;
    this.#parent = doubled(this.#parent);
    this.#serial = doubled(this.#serial);
    this.#lastRow = doubled(this.#lastRow);
    this.#headRun = doubled(this.#headRun);
    this.#tailRun = doubled(this.#tailRun);
    this.#nextMember = doubled(this.#nextMember);
    this.#tailMember = doubled(this.#tailMember);
  }

  #growRuns(): void {
    this.#runY = doubled(this.#runY);
    this.#runX0 = doubled(this.#runX0);
    this.#runX1 = doubled(this.#runX1);
    this.#nextRun = doubled(this.#nextRun);
  }
}

function doubled(list: Int32Array): Int32Array<ArrayBuffer> {
  const out = new Int32Array(list.length * 2);
  out.set(list);
  return out;
}
