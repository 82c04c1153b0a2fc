/**
 * A block of slices (z-slab): the slices of all chunks with the same index along z, assembled from the non-empty chunks.
 * The buffer is reused for the next block.
 */
export class SliceBlock {
  readonly #shape: readonly [number, number, number];
  readonly #chunk: readonly [number, number, number];
  readonly #data: Uint8Array;
  #occupied = false;

  /** @param shape shape of the volume, `[z, y, x]` @param chunk shape of its chunks */
  constructor(shape: readonly number[], chunk: readonly number[]) {
    this.#shape = shape as [number, number, number];
    this.#chunk = chunk as [number, number, number];
    this.#data = new Uint8Array(Math.min(chunk[0]!, shape[0]!) * shape[1]! * shape[2]!);
  }

  clear(): void {
    if (this.#occupied) this.#data.fill(0);
    this.#occupied = false;
  }

  /** Copies a whole chunk into the block, without samples beyond the volume. */
  place([block, row, column]: readonly number[], chunk: Uint8Array): void {
    const [depth, height, width] = this.#shape;
    const [chunkDepth, chunkHeight, chunkWidth] = this.#chunk;
    this.#occupied = true;
    const y0 = row! * chunkHeight;
    const x0 = column! * chunkWidth;
    const slices = Math.min(chunkDepth, depth - block! * chunkDepth);
    const rows = Math.min(chunkHeight, height - y0);
    const length = Math.min(chunkWidth, width - x0);
    for (let z = 0; z < slices; z++) {
      for (let y = 0; y < rows; y++) {
        const at = (z * chunkHeight + y) * chunkWidth;
        this.#data.set(chunk.subarray(at, at + length), (z * height + y0 + y) * width + x0);
      }
    }
  }

  /** The slices of a block, each `[y, x]`; undefined if all of them are background. Valid until `clear`. */
  *slices(block: number): Generator<{ z: number; data: Uint8Array | undefined }> {
    const [depth, height, width] = this.#shape;
    const from = block * this.#chunk[0];
    const count = Math.min(this.#chunk[0], depth - from);
    const area = height * width;
    for (let z = 0; z < count; z++) {
      const data = this.#occupied ? this.#data.subarray(z * area, (z + 1) * area) : undefined;
      yield { z: from + z, data };
    }
  }
}
