import type { LabelChunk, LabelMapInfo, LabelStore, LabelTile } from "../../image/label-sink.ts";
import { product } from "../../tiling/grid/raster.ts";

interface Wait {
  resolve: (tile: LabelTile | undefined) => void;
  reject: (error: unknown) => void;
}

/** Samples of chunks that are kept for whoever is about to ask: a layer of windows ends many chunks of a volume at once. */
const KEPT_BYTES = 16 << 20;

/** A row of chunks that is held beside the map. */
const ROW_BYTES = 8 << 20;

/** Whether outputs may grow with the map. On the widest slides they wait for its end, when its memory is free. */
export function canStream({ shape, chunk }: Pick<LabelMapInfo, "shape" | "chunk">): boolean {
  return chunk[0]! * product(shape.slice(1)) <= ROW_BYTES;
}

/**
 * A label map that is read while it is made: who asks for a chunk that is still to come gets it when it is written, from
 * memory and not from the store. So outputs are written beside inference.
 */
export class StreamingLabelStore implements LabelStore {
  readonly #labelStore: LabelStore;
  readonly #isExpected: (index: readonly number[]) => boolean;
  readonly #waiting = new Map<string, Wait[]>();
  readonly #kept = new Map<string, LabelTile>();
  #keptBytes = 0;
  #ended: { error: unknown } | undefined;

  /** `isExpected`: whether a chunk that is not there will be; others are background. */
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
    // From here on nobody asks the store, or what is kept below would be kept for nobody.
    const waits = this.#waiting.get(key) ?? [];
    this.#waiting.set(key, waits);
    try {
      const tile = await this.#labelStore.writeChunk(chunk, options);
      for (const { resolve } of waits) resolve(tile);
      if (tile && waits.length === 0) this.#keep(key, tile);
      return tile;
    } catch (error) {
      for (const { reject } of waits) reject(error);
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
    const waits = this.#waiting.get(key);
    if (!waits && (this.#labelStore.has(index) || !this.#isExpected(index)))
      return this.#labelStore.readTile(index, options);
    if (this.#ended) throw this.#ended.error;
    return new Promise((resolve, reject) => {
      if (waits) waits.push({ resolve, reject });
      else this.#waiting.set(key, [{ resolve, reject }]);
    });
  }

  /** No more chunks come: whoever waits for one meets `error`. */
  end(error: unknown): void {
    this.#ended = { error };
    this.#kept.clear();
    for (const waits of this.#waiting.values()) for (const { reject } of waits) reject(error);
    this.#waiting.clear();
  }
}
