import { LRUCache } from "lru-cache";
import type { ImageSource, Level } from "../../image/image-source.ts";
import { allocate, bytesPerSample, product, type Raster, type Rect } from "../../tiling/grid/raster.ts";
import {
  copyReoriented,
  type Reorientation,
  reorderAxes,
  sliceSamples,
  storedRect,
} from "../../tiling/grid/reorientation.ts";

/** The part of `ImageSource` that planning and reading windows need. */
export type WindowSource = Pick<
  ImageSource,
  "axes" | "dtype" | "levels" | "channels" | "spacing" | "readRegion"
>;

/** Size of a block of reoriented slices that cross all stored slices. At most two blocks are held. */
const BLOCK_BYTES = 16 << 20;
const MAX_BLOCKS = 2;

/** One for each source, so that blocks are reused by the next region. */
const known = new WeakMap<ImageSource, { key: string; image: ReorientedImage }>();

/** The volume in the model's orientation; the image itself without a reorientation. The caller still closes the image. */
export function reorientedImage(source: ImageSource, turn: Reorientation | undefined): WindowSource {
  if (turn === undefined) return source;
  const key = JSON.stringify(turn);
  const found = known.get(source);
  if (found?.key === key) return found.image;
  const image = new ReorientedImage(source, turn);
  known.set(source, { key, image });
  return image;
}

/**
 * Reads regions of a reoriented volume without copying the volume. If stored slices stay slices, a region is read and
 * its samples are reordered. Otherwise each slice crosses all stored slices, and reading slice by slice would read the
 * whole volume each time: several neighbours are read at once and kept.
 */
class ReorientedImage implements WindowSource {
  readonly axes = "zyx";
  readonly dtype: ImageSource["dtype"];
  readonly levels: readonly Level[];
  readonly channels: ImageSource["channels"];
  readonly spacing: ImageSource["spacing"];
  readonly #source: ImageSource;
  readonly #turn: Reorientation;
  readonly #blocks = new LRUCache<string, Promise<Raster>>({ max: MAX_BLOCKS });

  constructor(source: ImageSource, turn: Reorientation) {
    this.#source = source;
    this.#turn = turn;
    this.dtype = source.dtype;
    this.channels = source.channels;
    this.spacing = source.spacing && { ...source.spacing, values: reorderAxes(source.spacing.values, turn) };
    this.levels = source.levels.map(({ shape, downsample, chunk }) => ({
      shape: reorderAxes(shape, turn),
      downsample: reorderAxes(downsample, turn),
      chunk: reorderAxes(chunk, turn),
    }));
  }

  async readRegion(level: number, rect: Rect, options?: { signal?: AbortSignal }): Promise<Raster> {
    const { shape } = this.levels[level]!;
    const thickness = this.#blockThickness(shape);
    // Thick regions bypass the blocks, of which they would use only a part.
    if (this.#turn.axes[0] === 0 || rect.size[0]! * 2 > thickness) return this.#read(level, rect, options);
    const out = this.#allocate(rect.size);
    const end = rect.origin[0]! + rect.size[0]!;
    for (let first = rect.origin[0]! - (rect.origin[0]! % thickness); first < end; first += thickness) {
      const block = await this.#block(level, first, Math.min(thickness, shape[0]! - first), options);
      const from = Math.max(first, rect.origin[0]!);
      const size = [Math.min(end, first + block.shape[0]!) - from, ...rect.size.slice(1)];
      copyReoriented(
        { data: block.data, shape: block.shape.slice(0, 3), origin: [from - first, ...rect.origin.slice(1)] },
        { data: out.data, shape: rect.size, origin: [from - rect.origin[0]!, 0, 0] },
        size,
        UNTURNED,
        this.channels.length,
      );
    }
    return out;
  }

  #blockThickness(shape: readonly number[]): number {
    const sliceBytes = sliceSamples(shape) * this.channels.length * bytesPerSample(this.dtype);
    return Math.max(1, Math.min(shape[0]!, Math.floor(BLOCK_BYTES / sliceBytes)));
  }

  /** Whole reoriented slices. If another caller started the block and aborted, it is read again for this one. */
  async #block(
    level: number,
    first: number,
    count: number,
    options?: { signal?: AbortSignal },
  ): Promise<Raster> {
    const key = `${level}/${first}`;
    const { shape } = this.levels[level]!;
    const read = () =>
      this.#read(level, { origin: [first, 0, 0], size: [count, ...shape.slice(1)] }, options);
    const started = this.#blocks.get(key);
    if (started) {
      try {
        return await started;
      } catch {
        options?.signal?.throwIfAborted();
        return read();
      }
    }
    const reading = read();
    this.#blocks.set(key, reading);
    try {
      return await reading;
    } catch (error) {
      if (this.#blocks.get(key) === reading) this.#blocks.delete(key);
      throw error;
    }
  }

  async #read(level: number, rect: Rect, options?: { signal?: AbortSignal }): Promise<Raster> {
    const stored = storedRect(rect, this.#source.levels[level]!.shape, this.#turn);
    const region = await this.#source.readRegion(level, stored, options);
    const out = this.#allocate(rect.size);
    const origin = [0, 0, 0];
    copyReoriented(
      { data: region.data, shape: stored.size, origin },
      { data: out.data, shape: rect.size, origin },
      rect.size,
      this.#turn,
      this.channels.length,
    );
    return out;
  }

  #allocate(size: readonly number[]): Raster {
    const channels = this.channels.length;
    return { data: allocate(this.dtype, product(size) * channels), shape: [...size, channels] };
  }
}

const UNTURNED: Reorientation = { axes: [0, 1, 2], flips: [false, false, false] };
