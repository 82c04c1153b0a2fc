const CELL_SIDE = 128;

/** Counts objects in cells of 128 label samples, to find the densest place. */
export class DensityGrid {
  readonly #width: number;
  readonly #height: number;
  readonly #columns: number;
  readonly #rows: number;
  readonly #counts: Uint32Array;

  constructor(shape: readonly [height: number, width: number]) {
    [this.#height, this.#width] = shape;
    this.#columns = Math.ceil(this.#width / CELL_SIDE);
    this.#rows = Math.ceil(this.#height / CELL_SIDE);
    this.#counts = new Uint32Array(this.#columns * this.#rows);
  }

  /** Centroid in label samples. */
  add(x: number, y: number): void {
    this.#counts[Math.floor(y / CELL_SIDE) * this.#columns + Math.floor(x / CELL_SIDE)]!++;
  }

  /**
   * The square of `side` samples (cut to the map) with the most objects, aligned to cells; the first in raster order
   * among equals, so an empty map gives its corner.
   */
  densest(side: number): { x: number; y: number; width: number; height: number } {
    const width = Math.min(side, this.#width);
    const height = Math.min(side, this.#height);
    const across = Math.ceil(width / CELL_SIDE);
    const down = Math.ceil(height / CELL_SIDE);
    let best = -1;
    let at = { x: 0, y: 0 };
    for (let row = 0; row + down <= this.#rows; row++) {
      for (let column = 0; column + across <= this.#columns; column++) {
        let sum = 0;
        for (let r = row; r < row + down; r++) {
          for (let c = column; c < column + across; c++) sum += this.#counts[r * this.#columns + c]!;
        }
        if (sum > best) {
          best = sum;
          at = { x: column * CELL_SIDE, y: row * CELL_SIDE };
        }
      }
    }
    return {
      x: Math.min(at.x, this.#width - width),
      y: Math.min(at.y, this.#height - height),
      width,
      height,
    };
  }
}
