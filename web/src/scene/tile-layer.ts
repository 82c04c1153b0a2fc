import { type Bounds, type Camera, type Size, screenOrigin, visibleBounds } from "../data/camera.ts";
import {
  chooseShownLevel,
  coveringTile,
  type PyramidTile,
  samplesToWorld,
  type TilePyramid,
  tileSamples,
  visibleTiles,
} from "../data/tile-pyramid.ts";
import { DrawableTiles, type TileLoader } from "./tile-cache.ts";

/** Most tiles that are wanted at once: an image without a pyramid, zoomed out, would want all of its tiles. */
const MAX_TILES = 400;

export interface TileLayerOptions<T> {
  pyramid: TilePyramid;
  load: TileLoader<T>;
  dispose: (texture: T) => void;
  onChange: (error?: unknown) => void;
  maxBytes: number;
  concurrency: number;
  /** See `chooseShownLevel`. */
  slack: number;
}

/** Draws one tile: edges on the screen, and the same edges in texels of the tile. */
export type DrawTile<T> = (texture: T, rect: Bounds, texels: Bounds) => void;

/** A tiled pyramid on the screen. A tile that is not there yet is drawn from the next coarser one that is. */
export class TileLayer<T> {
  readonly pyramid: TilePyramid;
  readonly tiles: DrawableTiles<T>;
  readonly #slack: number;
  /** Set if tiles are left out because there are too many. */
  isIncomplete = false;

  constructor(options: TileLayerOptions<T>) {
    this.pyramid = options.pyramid;
    this.#slack = options.slack;
    this.tiles = new DrawableTiles(options);
  }

  /**
   * Asks for the tiles of the current view and draws what is there.
   * @param clip columns of the screen that are drawn; default: all
   */
  draw(
    gl: WebGL2RenderingContext,
    camera: Camera,
    screen: Size,
    drawTile: DrawTile<T>,
    clip: { x0: number; x1: number } = { x0: 0, x1: screen.width },
  ): void {
    const { pyramid, tiles } = this;
    const visible = visibleBounds(camera, screen);
    const level = chooseShownLevel(pyramid, camera.scale, this.#slack);
    const all = visibleTiles(pyramid, level, visible);
    this.isIncomplete = all.length > MAX_TILES;
    const wanted = all.slice(0, MAX_TILES);
    const coarsest = visibleTiles(pyramid, pyramid.levels.length - 1, visible);
    // The coarsest tiles first: they are few, and show everything at once.
    tiles.request(level === pyramid.levels.length - 1 ? wanted : [...coarsest.slice(0, 4), ...wanted]);
    const origin = screenOrigin(camera, screen);
    const toScreen = (box: Bounds): Bounds => ({
      x0: origin.x + box.x0 * camera.scale,
      y0: origin.y + box.y0 * camera.scale,
      x1: origin.x + box.x1 * camera.scale,
      y1: origin.y + box.y1 * camera.scale,
    });
    const isClipped = clip.x0 > 0 || clip.x1 < screen.width;
    const clipAll = () => {
      if (!isClipped) return gl.disable(gl.SCISSOR_TEST);
      gl.enable(gl.SCISSOR_TEST);
      gl.scissor(clip.x0, 0, Math.max(0, clip.x1 - clip.x0), screen.height);
    };
    clipAll();
    for (const tile of wanted) {
      const rect = toScreen(samplesToWorld(pyramid, tile.level, tileSamples(pyramid, tile)));
      if (tiles.has(tile)) {
        const texture = tiles.get(tile);
        if (texture !== undefined) this.#drawWhole(texture, tile, rect, drawTile);
        continue;
      }
      const stand = this.#coarser(tile);
      if (stand === undefined) continue;
      gl.enable(gl.SCISSOR_TEST);
      const x = Math.max(clip.x0, Math.floor(rect.x0));
      const y = Math.floor(screen.height - rect.y1);
      const width = Math.min(clip.x1, Math.ceil(rect.x1)) - x;
      gl.scissor(x, y, Math.max(0, width), Math.ceil(screen.height - rect.y0) - y);
      const whole = samplesToWorld(pyramid, stand.tile.level, tileSamples(pyramid, stand.tile));
      this.#drawWhole(stand.texture, stand.tile, toScreen(whole), drawTile);
      clipAll();
    }
    gl.disable(gl.SCISSOR_TEST);
  }

  close(): void {
    this.tiles.close();
  }

  #drawWhole(texture: T, tile: PyramidTile, rect: Bounds, drawTile: DrawTile<T>): void {
    const { x0, y0, x1, y1 } = tileSamples(this.pyramid, tile);
    drawTile(texture, rect, { x0: 0, y0: 0, x1: x1 - x0, y1: y1 - y0 });
  }

  #coarser(tile: PyramidTile): { tile: PyramidTile; texture: T } | undefined {
    for (let level = tile.level + 1; level < this.pyramid.levels.length; level++) {
      const covering = coveringTile(this.pyramid, tile, level);
      const texture = this.tiles.get(covering);
      if (texture !== undefined) return { tile: covering, texture };
    }
    return undefined;
  }
}
