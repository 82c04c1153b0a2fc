import type { ComponentSink } from "./component-sink.ts";

/**
 * The second pass: receives the same components in the same order as `ObjectCollector` and writes their object numbers into
 * tiles. Components need no joining here: joined ones have the same number.
 */
export class ObjectPainter implements ComponentSink {
  readonly #numbers: Uint32Array;
  readonly #tileHeight: number;
  readonly #tileWidth: number;
  /** By tile row, then by tile column; tiles without an object are absent. */
  readonly #tiles = new Map<number, Map<number, Uint32Array>>();
  #started = 0;
  #rowsDone = 0;

  /** @param numbers `ObjectCollector.numbers` for the same rows and the same rule */
  constructor(numbers: Uint32Array, tile: readonly [height: number, width: number]) {
    this.#numbers = numbers;
    [this.#tileHeight, this.#tileWidth] = tile;
  }

  /** Number of rows whose pixels are final. */
  get rowsComplete(): number {
    return this.#rowsDone;
  }

  /** Emits whole tiles `[height, width]` of tile rows whose rows are all complete. */
  takeRow(tileRow: number): ReadonlyMap<number, Uint32Array> {
    const row = this.#tiles.get(tileRow);
    this.#tiles.delete(tileRow);
    return row ?? new Map();
  }

  begin(): number {
    if (this.#started >= this.#numbers.length) {
      throw new Error(`the second pass found more components than the ${this.#numbers.length} of the first`);
    }
    return this.#started++;
  }

  join(): void {}

  interior(id: number, y: number, x0: number, x1: number): void {
    const number = this.#numbers[id]!;
    if (number === 0) return;
    const tileRow = Math.floor(y / this.#tileHeight);
    let row = this.#tiles.get(tileRow);
    if (row === undefined) {
      row = new Map();
      this.#tiles.set(tileRow, row);
    }
    const width = this.#tileWidth;
    const offset = (y - tileRow * this.#tileHeight) * width;
    for (let x = x0; x < x1; ) {
      const column = Math.floor(x / width);
      const left = column * width;
      const end = Math.min(x1, left + width);
      let tile = row.get(column);
      if (tile === undefined) {
        tile = new Uint32Array(width * this.#tileHeight);
        row.set(column, tile);
      }
      tile.fill(number, offset + x - left, offset + end - left);
      x = end;
    }
  }

  grown(id: number, y: number, x0: number, x1: number): void {
    this.interior(id, y, x0, x1);
  }

  keeps(id: number): boolean {
    return this.#numbers[id] !== 0;
  }

  interiorRowDone(): void {}

  rowsDone(yEnd: number): void {
    this.#rowsDone = yEnd;
  }
}
