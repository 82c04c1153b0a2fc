import { LRUCache } from "lru-cache";
import type { Raster } from "../../tiling/grid/raster.ts";

/**
 * An LRU cache of decoded tiles, bounded in bytes. Callers that ask for a tile while it is being decoded share it.
 */
export class TileCache {
  readonly #tiles: LRUCache<number, Raster> | undefined;
  readonly #pending = new Map<number, Promise<Raster>>();

  /** @param maxBytes 0 disables the cache */
  constructor(maxBytes: number) {
    if (maxBytes > 0) {
      this.#tiles = new LRUCache({ maxSize: maxBytes, sizeCalculation: ({ data }) => data.byteLength || 1 });
    }
  }

  get byteLength(): number {
    return this.#tiles?.calculatedSize ?? 0;
  }

  /** The tile, decoded or in progress. */
  get(id: number): Raster | Promise<Raster> | undefined {
    return this.#tiles?.get(id) ?? this.#pending.get(id);
  }

  /** Shares `tile` while it is decoded, then caches it; failures are not cached. */
  add(id: number, tile: Promise<Raster>): Promise<Raster> {
    const shared = tile.then(
      (raster) => {
        this.#pending.delete(id);
        this.#tiles?.set(id, raster);
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
    this.#tiles?.clear();
    this.#pending.clear();
  }
}
