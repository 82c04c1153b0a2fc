import type { Raster } from "../../tiling/grid/raster.ts";

/**
 * Decoded tiles, least recently used dropped first, bounded in bytes. A tile that is being decoded is shared by
 * everyone who asks for it meanwhile.
 */
export class TileCache {
  readonly #maxBytes: number;
  readonly #tiles = new Map<number, Raster>();
  readonly #pending = new Map<number, Promise<Raster>>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get byteLength(): number {
    return this.#bytes;
  }

  /** The tile, decoded or on its way. */
  get(id: number): Raster | Promise<Raster> | undefined {
    const tile = this.#tiles.get(id);
    if (tile === undefined) return this.#pending.get(id);
    this.#tiles.delete(id);
    this.#tiles.set(id, tile);
    return tile;
  }

  /** Shares `tile` until it is decoded, then keeps it; a failure is not kept. */
  add(id: number, tile: Promise<Raster>): Promise<Raster> {
    const shared = tile.then(
      (raster) => {
        this.#pending.delete(id);
        this.#keep(id, raster);
        return raster;
      },
      (error) => {
        this.#pending.delete(id);
        throw error;
      },
    );
    this.#pending.set(id, shared);
    return shared;
  }

  clear(): void {
    this.#tiles.clear();
    this.#pending.clear();
    this.#bytes = 0;
  }

  #keep(id: number, raster: Raster): void {
    const bytes = raster.data.byteLength;
    if (bytes > this.#maxBytes || this.#tiles.has(id)) return;
    this.#tiles.set(id, raster);
    this.#bytes += bytes;
    for (const [oldest, old] of this.#tiles) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#tiles.delete(oldest);
      this.#bytes -= old.data.byteLength;
    }
  }
}
