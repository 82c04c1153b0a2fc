import { LRUCache } from "lru-cache";
import type { LabelMapInfo, LabelStore, LabelTile } from "../../image/label-sink.ts";
import { intersect } from "../../tiling/grid/box.ts";
import { product, type Rect } from "../../tiling/grid/raster.ts";
import {
  copyReoriented,
  invertReorientation,
  type Reorientation,
  reorderAxes,
  sliceSamples,
  storedRect,
} from "../../tiling/grid/reorientation.ts";

/** Size of the block of slices assembled at once, if a stored slice crosses all slices of the model's orientation. */
const BLOCK_BYTES = 32 << 20;
/** Blocks kept: the current one and the next, which is read ahead. */
const MAX_BLOCKS = 2;

/** Describes a label map in the axis order of the source. @param chooseChunkShape chunk shape for a label map of that size */
export function storedOrderInfo(
  info: LabelMapInfo,
  turn: Reorientation,
  chooseChunkShape: (size: readonly number[]) => readonly number[],
): LabelMapInfo {
  const back = <T>(values: readonly T[]) => reorderAxes(values, invertReorientation(turn));
  const shape = back(info.shape);
  const { origin, downsample } = info.placement;
  return {
    ...info,
    shape,
    chunk: chooseChunkShape(shape),
    spacing: info.spacing && { ...info.spacing, values: back(info.spacing.values) },
    placement: { origin: back(origin), downsample: back(downsample) },
  };
}

/**
 * A label volume in the model's orientation, read in the axis order of the source. No reoriented copy exists: blocks of
 * slices are assembled on demand from the chunks they cross. Read-only.
 */
export class StoredOrderLabels implements LabelStore {
  readonly info: LabelMapInfo;
  readonly #labels: LabelStore;
  /** From the model's orientation to the stored one. */
  readonly #back: Reorientation;
  readonly #thickness: number;
  readonly #blocks: LRUCache<number, Promise<Uint8Array | undefined>>;

  /** @param info from `storedOrderInfo` */
  constructor(labels: LabelStore, info: LabelMapInfo, turn: Reorientation) {
    this.#labels = labels;
    this.info = info;
    this.#back = invertReorientation(turn);
    const depth = info.chunk[0]!;
    const fitting = Math.floor(BLOCK_BYTES / (sliceSamples(info.shape) * depth)) * depth;
    this.#thickness = turn.axes[0] === 0 ? depth : Math.max(depth, fitting);
    // The next slice mostly lies in the same thick block; a second block would double the memory.
    this.#blocks = new LRUCache({ max: this.#thickness > depth ? 1 : MAX_BLOCKS });
  }

  has(): boolean {
    throw new TypeError("labels in stored order cannot be resumed");
  }

  async writeChunk(): Promise<LabelTile | undefined> {
    throw new TypeError("labels in stored order are read-only");
  }

  async readTile(
    index: readonly number[],
    options?: { signal?: AbortSignal },
  ): Promise<LabelTile | undefined> {
    const { chunk, shape } = this.info;
    const origin = index.map((i, axis) => i * chunk[axis]!);
    const block = Math.floor(origin[0]! / this.#thickness);
    const labels = await this.#block(block, options);
    if (labels === undefined) return undefined;
    const first = block * this.#thickness;
    const size = origin.map((o, axis) => Math.min(chunk[axis]!, shape[axis]! - o));
    const data = new Uint8Array(product(chunk));
    copyReoriented(
      {
        data: labels,
        shape: [this.#sizeOf(block), ...shape.slice(1)],
        origin: [origin[0]! - first, ...origin.slice(1)],
      },
      { data, shape: chunk, origin: [0, 0, 0] },
      size,
      { axes: [0, 1, 2], flips: [false, false, false] },
    );
    return data.some((label) => label !== 0) ? { data } : undefined;
  }

  #sizeOf(block: number): number {
    return Math.min(this.#thickness, this.info.shape[0]! - block * this.#thickness);
  }

  #block(block: number, options?: { signal?: AbortSignal }): Promise<Uint8Array | undefined> {
    const known = this.#blocks.get(block);
    if (known) return known;
    const reading = this.#read(block, options);
    this.#blocks.set(block, reading);
    return reading;
  }

  /** Stored slices; undefined if all background. */
  async #read(block: number, options?: { signal?: AbortSignal }): Promise<Uint8Array | undefined> {
    const { shape } = this.info;
    const stored: Rect = {
      origin: [block * this.#thickness, 0, 0],
      size: [this.#sizeOf(block), ...shape.slice(1)],
    };
    const turned = this.#labels.info;
    const toTurned = invertReorientation(this.#back);
    const wanted = rectInTurned(stored, shape, toTurned);
    let out: Uint8Array | undefined;
    for (const index of chunksOver(wanted, turned.chunk)) {
      options?.signal?.throwIfAborted();
      const tile = await this.#labels.readTile(index, options);
      if (tile === undefined) continue;
      out ??= new Uint8Array(product(stored.size));
      const origin = index.map((i, axis) => i * turned.chunk[axis]!);
      const part = intersect(wanted, { origin, size: turned.chunk })!;
      const place = storedRect(part, shape, toTurned);
      copyReoriented(
        {
          data: tile.data,
          shape: turned.chunk,
          origin: part.origin.map((o, axis) => o - origin[axis]!),
        },
        {
          data: out,
          shape: stored.size,
          origin: place.origin.map((o, axis) => o - stored.origin[axis]!),
        },
        place.size,
        this.#back,
      );
    }
    return out;
  }
}

/** A rect of the stored volume in the model's orientation. */
function rectInTurned(rect: Rect, shape: readonly number[], turn: Reorientation): Rect {
  return storedRect(rect, reorderAxes(shape, turn), invertReorientation(turn));
}

function* chunksOver(rect: Rect, chunk: readonly number[]): Generator<number[]> {
  const [first, last] = [0, 1].map((end) =>
    chunk.map((n, axis) => Math.floor((rect.origin[axis]! + (end ? rect.size[axis]! - 1 : 0)) / n)),
  ) as [number[], number[]];
  for (let z = first[0]!; z <= last[0]!; z++) {
    for (let y = first[1]!; y <= last[1]!; y++) {
      for (let x = first[2]!; x <= last[2]!; x++) yield [z, y, x];
    }
  }
}
