import type { LabelChunk, LabelMapInfo, LabelStore, LabelTile } from "../../image/label-sink.ts";
import { product } from "../../tiling/grid/raster.ts";

interface Waiter {
  resolve: (tile: LabelTile | undefined) => void;
  reject: (error: unknown) => void;
}

/** Maximum of finished chunks kept for the next reads: a layer of windows finishes many chunks of a volume at once. */
const KEPT_BYTES = 16 << 20;

/** Maximum size of a row of chunks for streaming. */
const ROW_BYTES = 8 << 20;

/** Whether outputs can be written while the map runs. On the widest slides they wait until the map's memory is free. */
export function canStream({ shape, chunk }: Pick<LabelMapInfo, "shape" | "chunk">): boolean {
  return chunk[0]! * product(shape.slice(1)) <= ROW_BYTES;
}

/**
 * A label store that is read while it is written. Reading a chunk that is still to come waits for it and returns it from
 * memory, so outputs are written concurrently with inference.
 */
export class StreamingLabelStore implements LabelStore {
  readonly #labelStore: LabelStore;
  readonly #isExpected: (index: readonly number[]) => boolean;
  readonly #waiting = new Map<string, Waiter[]>();
  readonly #kept = new Map<string, LabelTile>();
  #keptBytes = 0;
  #ended: { error: unknown } | undefined;

  /** @param isExpected whether a missing chunk will be written; others are background */
  constructor(labelStore: LabelStore, isExpected: (index: readonly number[]) => boolean) {
    this.#labelStore = labelStore;
    this.#isExpected = isExpected;
  }

  get info(): LabelMapInfo {
    return this.#labelStore.info;
  }

  has(index: readonly number[]): boolean {
    return this.#labelStore.has(index);
  }

  async writeChunk(chunk: LabelChunk, options?: { signal?: AbortSignal }): Promise<LabelTile | undefined> {
    const key = chunk.index.join();
    // From here on readers wait instead of asking the store, so that a chunk kept below is read from memory.
    const waiters = this.#waiting.get(key) ?? [];
    this.#waiting.set(key, waiters);
    try {
      const tile = await this.#labelStore.writeChunk(chunk, options);
      for (const { resolve } of waiters) resolve(tile);
      if (tile && waiters.length === 0) this.#keep(key, tile);
      return tile;
    } catch (error) {
      for (const { reject } of waiters) reject(error);
      throw error;
    } finally {
      this.#waiting.delete(key);
    }
  }

  #keep(key: string, tile: LabelTile): void {
    if (this.#ended || this.#keptBytes + tile.data.byteLength > KEPT_BYTES) return;
    this.#kept.set(key, tile);
    this.#keptBytes += tile.data.byteLength;
  }

  async readTile(
    index: readonly number[],
    options?: { signal?: AbortSignal },
  ): Promise<LabelTile | undefined> {
    const key = index.join();
    const kept = this.#kept.get(key);
    if (kept) {
      this.#kept.delete(key);
      this.#keptBytes -= kept.data.byteLength;
      return kept;
    }
    const waiters = this.#waiting.get(key);
    if (!waiters && (this.#labelStore.has(index) || !this.#isExpected(index)))
      return this.#labelStore.readTile(index, options);
    if (this.#ended) throw this.#ended.error;
    return new Promise((resolve, reject) => {
      if (waiters) waiters.push({ resolve, reject });
      else this.#waiting.set(key, [{ resolve, reject }]);
    });
  }

  /** Ends writing: waiting reads and later ones of missing chunks throw `error`. */
  end(error: unknown): void {
    this.#ended = { error };
    this.#kept.clear();
    for (const waiters of this.#waiting.values()) for (const { reject } of waiters) reject(error);
    this.#waiting.clear();
  }
}
