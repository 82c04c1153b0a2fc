import { LRUCache } from "lru-cache";
import type { PyramidTile } from "../data/tile-pyramid.ts";

/** Loads a tile and makes it drawable. `undefined`: the tile holds nothing to draw. */
export type TileLoader<T> = (
  tile: PyramidTile,
  signal: AbortSignal,
) => Promise<{ value: T; byteLength: number } | undefined>;

/** Kept in place of a tile that has nothing to draw, or that failed. */
const NOTHING = { value: undefined, byteLength: 1 };

export interface DrawableTilesOptions<T> {
  load: TileLoader<T>;
  dispose: (value: T) => void;
  /** Called when a tile has arrived, and with the error when one has failed. */
  onChange: (error?: unknown) => void;
  maxBytes: number;
  /** Tiles that are loaded at the same time. */
  concurrency: number;
}

/**
 * Drawable tiles of a layer: those that were drawn last, within a bound of bytes. `request` replaces the list of wanted
 * tiles; tiles that are no longer wanted are not started.
 */
export class DrawableTiles<T> {
  readonly #options: DrawableTilesOptions<T>;
  readonly #cache: LRUCache<string, { value: T | undefined; byteLength: number }>;
  readonly #loading = new Map<string, AbortController>();
  /** Drawable tiles whose content has changed: they are drawn until their successors are there. */
  #stale = new Set<string>();
  #wanted: readonly PyramidTile[] = [];
  #variant = "";
  #closed = false;

  constructor(options: DrawableTilesOptions<T>) {
    this.#options = options;
    this.#cache = new LRUCache({
      maxSize: options.maxBytes,
      sizeCalculation: (tile) => tile.byteLength,
      dispose: ({ value }) => value !== undefined && options.dispose(value),
    });
  }

  /** Tiles wanted and not there yet. */
  get pending(): number {
    return this.#wanted.filter((tile) => !this.#isCurrent(this.#key(tile))).length;
  }

  get(tile: PyramidTile): T | undefined {
    return this.#cache.get(this.#key(tile))?.value;
  }

  /** Whether the tile is known, drawable or not. */
  has(tile: PyramidTile): boolean {
    return this.#cache.has(this.#key(tile));
  }

  /** Tiles of another variant, such as another slice, have their own entries. */
  setVariant(variant: string): void {
    this.#variant = variant;
  }

  /** @param wanted most important first */
  request(wanted: readonly PyramidTile[]): void {
    this.#wanted = wanted;
    const keys = new Set(wanted.map((tile) => this.#key(tile)));
    for (const [key, controller] of this.#loading) {
      if (keys.has(key)) continue;
      controller.abort();
      this.#loading.delete(key);
    }
    this.#start();
  }

  /** Loads tiles again, those that are wanted first. @param hasChanged whether the content of a tile has */
  refresh(hasChanged: (tile: PyramidTile) => boolean): void {
    const isStale = (key: string) => {
      const [level, column, row] = key.split("/").slice(-3).map(Number) as [number, number, number];
      return hasChanged({ level, column, row });
    };
    this.#stale = new Set([...this.#cache.keys()].filter((key) => this.#stale.has(key) || isStale(key)));
    for (const [key, controller] of this.#loading) {
      if (!isStale(key)) continue;
      controller.abort();
      this.#loading.delete(key);
    }
    this.#start();
  }

  close(): void {
    this.#closed = true;
    for (const controller of this.#loading.values()) controller.abort();
    this.#cache.clear();
  }

  #key({ level, column, row }: PyramidTile): string {
    return `${this.#variant}/${level}/${column}/${row}`;
  }

  #isCurrent(key: string): boolean {
    return this.#cache.has(key) && !this.#stale.has(key);
  }

  #start(): void {
    for (const tile of this.#wanted) {
      if (this.#loading.size >= this.#options.concurrency) return;
      const key = this.#key(tile);
      if (this.#loading.has(key) || this.#isCurrent(key)) continue;
      void this.#load(tile, key);
    }
  }

  async #load(tile: PyramidTile, key: string): Promise<void> {
    const controller = new AbortController();
    this.#loading.set(key, controller);
    this.#stale.delete(key);
    let failure: unknown;
    try {
      const loaded = await this.#options.load(tile, controller.signal);
      if (this.#closed) return void (loaded && this.#options.dispose(loaded.value));
      this.#cache.set(key, loaded ?? NOTHING);
    } catch (error) {
      if (controller.signal.aborted || this.#closed) return;
      failure = error;
      this.#cache.set(key, NOTHING);
    } finally {
      if (this.#loading.get(key) === controller) this.#loading.delete(key);
    }
    this.#options.onChange(failure);
    this.#start();
  }
}
