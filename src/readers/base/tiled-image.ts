import type { Affine } from "../../image/affine.ts";
import { ImageFormatError } from "../../image/errors.ts";
import type { Channel, ImageSource, Level, Spacing, StoredHeaders } from "../../image/image-source.ts";
import type { ImageLimits } from "../../image/limits.ts";
import {
  allocate,
  bytesPerSample,
  type DType,
  product,
  type Raster,
  type Rect,
} from "../../tiling/grid/raster.ts";
import { TileCache } from "./tile-cache.ts";

/** One level as a grid of tiles that are read and decoded one by one. */
export interface TileGrid {
  /** Spatial shape of the level, slow to fast. */
  shape: readonly number[];
  /** Spatial shape of a whole tile. */
  tileShape: readonly number[];
  /**
   * Starts reading the tiles at these grid positions; together, so that neighbours in the file share a request. Each
   * result is `[...extent, channels]`; at the border the extent is the whole tile or cut at the level.
   */
  readTiles(positions: readonly (readonly number[])[], signal?: AbortSignal): Promise<Raster>[];
}

/** What an `ImageSource` knows without reading samples. */
export interface ImageDescription {
  format: string;
  axes: "yx" | "zyx";
  dtype: DType;
  channels: readonly Channel[];
  spacing: Spacing | undefined;
  objectivePower: number | undefined;
  bounds: Rect | undefined;
  affine?: Affine;
  orientation?: string;
  details?: Readonly<Record<string, string>>;
  warnings?: readonly string[];
  headers?: StoredHeaders;
  etag: string;
  byteLength: number;
}

/** Most tiles requested at once, limited to what fits the cache, so memory beside the region is bounded. */
const MAX_TILES_IN_FLIGHT = 64;

/** Rows of the tallest region whose neighbours are read next. */
const BAND_ROWS = 1024;

/** Level and tile position in one number; 2^42 tiles per level is more than any file has. */
const LEVEL_STRIDE = 2 ** 42;

/** An `ImageSource` over tile grids: assembles regions by copying rows, with one cache for all levels. */
export class TiledImage implements ImageSource {
  readonly format: string;
  readonly axes: "yx" | "zyx";
  readonly dtype: DType;
  readonly levels: readonly Level[];
  readonly channels: readonly Channel[];
  readonly spacing: Spacing | undefined;
  readonly objectivePower: number | undefined;
  readonly bounds: Rect | undefined;
  readonly affine: Affine | undefined;
  readonly orientation: string | undefined;
  readonly details: Readonly<Record<string, string>> | undefined;
  readonly warnings: readonly string[];
  readonly headers: StoredHeaders | undefined;
  readonly etag: string;
  readonly byteLength: number;
  readonly #grids: readonly TileGrid[];
  readonly #limits: ImageLimits;
  readonly #cache: TileCache;
  readonly #bytesRead: () => number;
  readonly #close: (() => Promise<void>) | undefined;

  /**
   * @param grids level 0 first, each with fewer samples than the one before
   * @param close releases what the grids hold
   */
  constructor(
    about: ImageDescription,
    grids: readonly TileGrid[],
    limits: ImageLimits,
    bytesRead: () => number,
    close?: () => Promise<void>,
  ) {
    this.format = about.format;
    this.axes = about.axes;
    this.dtype = about.dtype;
    this.channels = about.channels;
    this.spacing = about.spacing;
    this.objectivePower = about.objectivePower;
    this.bounds = about.bounds;
    this.affine = about.affine;
    this.orientation = about.orientation;
    this.details = about.details;
    this.warnings = about.warnings ?? [];
    this.headers = about.headers;
    this.etag = about.etag;
    this.byteLength = about.byteLength;
    const base = grids[0]!.shape;
    this.levels = grids.map(({ shape, tileShape }) => ({
      shape,
      downsample: shape.map((n, axis) => base[axis]! / n),
      chunk: tileShape,
    }));
    this.#grids = grids;
    this.#limits = limits;
    const sampleBytes = bytesPerSample(about.dtype) * about.channels.length;
    const wanted = Math.max(limits.cacheBytes, ...grids.map((grid) => bandBytes(grid, sampleBytes)));
    this.#cache = new TileCache(Math.min(wanted, Math.max(limits.cacheBytes, limits.tileBytes)));
    this.#bytesRead = bytesRead;
    this.#close = close;
  }

  get bytesRead(): number {
    return this.#bytesRead();
  }

  async readRegion(level: number, rect: Rect, options?: { signal?: AbortSignal }): Promise<Raster> {
    const signal = options?.signal;
    signal?.throwIfAborted();
    const grid = this.#grids[level];
    if (grid === undefined) {
      throw new RangeError(`level ${level} does not exist; the image has ${this.#grids.length} levels`);
    }
    checkInside(rect, grid.shape, level);
    const channels = this.channels.length;
    const samples = product(rect.size) * channels;
    const bytes = samples * bytesPerSample(this.dtype);
    if (bytes > this.#limits.regionBytes) {
      throw new RangeError(
        `a region of ${rect.size.join(" × ")} needs ${bytes} bytes, over the limit of ${this.#limits.regionBytes}; read it in parts`,
      );
    }
    const region: Raster = { data: allocate(this.dtype, samples), shape: [...rect.size, channels] };
    if (samples === 0) return region;

    const tileBytes = product(grid.tileShape) * channels * bytesPerSample(this.dtype);
    const together = Math.max(
      1,
      Math.min(MAX_TILES_IN_FLIGHT, Math.floor(this.#limits.cacheBytes / tileBytes)),
    );
    const positions = tilesIntersecting(rect, grid.tileShape);
    for (let from = 0; from < positions.length; from += together) {
      const batch = positions.slice(from, from + together);
      await Promise.all(
        this.#tiles(level, grid, batch, signal).map(async ({ tile, borrowed }, i) => {
          const position = batch[i]!;
          const decoded = await this.#settle(
            tile,
            () => grid.readTiles([position], signal)[0]!,
            borrowed,
            signal,
          );
          const origin = position.map((p, axis) => p * grid.tileShape[axis]!);
          copyOverlap(decoded, origin, region, rect, channels);
        }),
      );
      signal?.throwIfAborted();
    }
    return region;
  }

  async close(): Promise<void> {
    this.#cache.clear();
    await this.#close?.();
  }

  /** The tiles at these positions, cached or started now; another caller started the `borrowed` ones. */
  #tiles(
    level: number,
    grid: TileGrid,
    positions: readonly (readonly number[])[],
    signal?: AbortSignal,
  ): { tile: Raster | Promise<Raster>; borrowed: boolean }[] {
    const ids = positions.map((position) => level * LEVEL_STRIDE + linearIndex(position, grid));
    const known = ids.map((id) => this.#cache.get(id));
    const missing = positions.filter((_, i) => known[i] === undefined);
    const started = missing.length > 0 ? grid.readTiles(missing, signal) : [];
    let next = 0;
    return known.map((tile, i) =>
      tile === undefined
        ? { tile: this.#cache.add(ids[i]!, started[next++]!), borrowed: false }
        : { tile, borrowed: tile instanceof Promise },
    );
  }

  /** A borrowed tile may fail because the other caller aborted: then this caller reads it again. */
  async #settle(
    tile: Raster | Promise<Raster>,
    again: () => Promise<Raster>,
    borrowed: boolean,
    signal?: AbortSignal,
  ): Promise<Raster> {
    if (!borrowed) return tile;
    try {
      return await tile;
    } catch {
      signal?.throwIfAborted();
      return again();
    }
  }
}

/**
 * Where tiles are as wide as the image (strips), neighbouring regions need the same tiles: the cache must hold the
 * strips of a band of regions, or each strip is decoded once per region.
 */
function bandBytes({ shape, tileShape }: TileGrid, sampleBytes: number): number {
  const width = shape.at(-1)!;
  const tileHeight = tileShape.at(-2)!;
  if (tileShape.at(-1)! < width) return 0;
  const rows = Math.ceil(Math.min(BAND_ROWS, shape.at(-2)!) / tileHeight + 1) * tileHeight;
  return rows * width * sampleBytes;
}

function checkInside(rect: Rect, shape: readonly number[], level: number): void {
  const axes = shape.length;
  const ok =
    rect.origin.length === axes &&
    rect.size.length === axes &&
    shape.every((n, a) => {
      const origin = rect.origin[a]!;
      const size = rect.size[a]!;
      return (
        Number.isInteger(origin) && Number.isInteger(size) && origin >= 0 && size >= 0 && origin + size <= n
      );
    });
  if (!ok) {
    throw new RangeError(
      `region at ${rect.origin.join(",")} of size ${rect.size.join(" × ")} does not lie inside level ${level} of ${shape.join(" × ")}`,
    );
  }
}

/** Grid positions of the tiles that intersect `rect`, in raster order. */
function tilesIntersecting(rect: Rect, tileShape: readonly number[]): number[][] {
  let positions: number[][] = [[]];
  for (let axis = 0; axis < tileShape.length; axis++) {
    const first = Math.floor(rect.origin[axis]! / tileShape[axis]!);
    const last = Math.floor((rect.origin[axis]! + rect.size[axis]! - 1) / tileShape[axis]!);
    positions = positions.flatMap((head) =>
      Array.from({ length: last - first + 1 }, (_, i) => [...head, first + i]),
    );
  }
  return positions;
}

function linearIndex(position: readonly number[], grid: TileGrid): number {
  let index = 0;
  for (let axis = 0; axis < position.length; axis++) {
    index = index * Math.ceil(grid.shape[axis]! / grid.tileShape[axis]!) + position[axis]!;
  }
  return index;
}

/** Copies the intersection of a tile (at `tileOrigin` in the level) and `rect` into `region`, row by row. */
function copyOverlap(
  tile: Raster,
  tileOrigin: readonly number[],
  region: Raster,
  rect: Rect,
  channels: number,
): void {
  // 2-D is treated as 3-D with one z.
  const [tz, ty, tx] = pad3(tileOrigin, 0);
  const [tileDepth, tileHeight, tileWidth] = pad3(tile.shape.slice(0, -1), 1);
  const [rz, ry, rx] = pad3(rect.origin, 0);
  const [depth, height, width] = pad3(rect.size, 1);
  const x0 = Math.max(tx, rx);
  const x1 = Math.min(tx + tileWidth, rx + width);
  const y0 = Math.max(ty, ry);
  const y1 = Math.min(ty + tileHeight, ry + height);
  const z0 = Math.max(tz, rz);
  const z1 = Math.min(tz + tileDepth, rz + depth);
  if (tile.shape.at(-1) !== channels) {
    throw new ImageFormatError(`a tile has ${tile.shape.at(-1)} channels where the image has ${channels}`);
  }
  const source = tile.data;
  const target = region.data;
  const run = (x1 - x0) * channels;
  for (let z = z0; z < z1; z++) {
    for (let y = y0; y < y1; y++) {
      const from = (((z - tz) * tileHeight + (y - ty)) * tileWidth + (x0 - tx)) * channels;
      const to = (((z - rz) * height + (y - ry)) * width + (x0 - rx)) * channels;
      target.set(source.subarray(from, from + run), to);
    }
  }
}

function pad3(values: readonly number[], fill: number): [number, number, number] {
  return values.length === 3 ? [values[0]!, values[1]!, values[2]!] : [fill, values[0]!, values[1]!];
}
