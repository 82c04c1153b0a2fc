import { LRUCache } from "lru-cache";
import type { LabelMapInfo, LabelStore, LabelTile } from "../../image/label-sink.ts";
import { copyBox, intersect } from "../../tiling/grid/box.ts";
import { product } from "../../tiling/grid/raster.ts";

/** Cached tiles of the whole map: each overlaps up to four tiles of the part. */
const KEPT_BYTES = 16 << 20;

/** A part of a 2-D label map, with its own chunk grid. Read-only. */
export class CutLabels implements LabelStore {
  readonly info: LabelMapInfo;
  readonly #whole: LabelStore;
  readonly #origin: readonly number[];
  readonly #tiles: LRUCache<string, Promise<LabelTile | undefined>>;

  /** @param origin of the part in the whole */
  constructor(whole: LabelStore, info: LabelMapInfo, origin: readonly number[]) {
    this.#whole = whole;
    this.info = info;
    this.#origin = origin;
    this.#tiles = new LRUCache({ max: Math.max(2, Math.floor(KEPT_BYTES / product(whole.info.chunk))) });
  }

  has(): boolean {
    throw new TypeError("a part of a label map cannot be resumed");
  }

  async writeChunk(): Promise<LabelTile | undefined> {
    throw new TypeError("a part of a label map is read-only");
  }

  async readTile(
    index: readonly number[],
    options?: { signal?: AbortSignal },
  ): Promise<LabelTile | undefined> {
    const { chunk, shape } = this.info;
    const inPart = index.map((i, axis) => i * chunk[axis]!);
    const wanted = {
      origin: inPart.map((o, axis) => o + this.#origin[axis]!),
      size: inPart.map((o, axis) => Math.min(chunk[axis]!, shape[axis]! - o)),
    };
    const cut = this.#whole.info.chunk;
    const first = wanted.origin.map((o, axis) => Math.floor(o / cut[axis]!));
    const last = wanted.origin.map((o, axis) => Math.floor((o + wanted.size[axis]! - 1) / cut[axis]!));
    let data: Uint8Array | undefined;
    for (let row = first[0]!; row <= last[0]!; row++) {
      for (let column = first[1]!; column <= last[1]!; column++) {
        const tile = await this.#tile([row, column], options);
        if (tile === undefined) continue;
        const origin = [row * cut[0]!, column * cut[1]!];
        const part = intersect(wanted, { origin, size: cut })!;
        data ??= new Uint8Array(product(chunk));
        copyBox(
          { data: tile.data, shape: cut, origin: part.origin.map((o, axis) => o - origin[axis]!) },
          { data, shape: chunk, origin: part.origin.map((o, axis) => o - wanted.origin[axis]!) },
          part.size,
        );
      }
    }
    return data?.some((label) => label !== 0) ? { data } : undefined;
  }

  #tile(index: readonly number[], options?: { signal?: AbortSignal }): Promise<LabelTile | undefined> {
    const key = index.join();
    const known = this.#tiles.get(key);
    if (known) return known;
    const reading = this.#whole.readTile(index, options);
    this.#tiles.set(key, reading);
    return reading;
  }
}
