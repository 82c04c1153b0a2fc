import type { Bounds } from "./camera.ts";

/** One level of a layer, cut into square tiles. */
export interface PyramidLevelGrid {
  width: number;
  height: number;
  /** World size of a sample. */
  stepX: number;
  stepY: number;
  /** Side of a tile in samples. */
  tile: number;
}

/** A layer's levels, finest first, and the world position of its first sample's corner. */
export interface TilePyramid {
  originX: number;
  originY: number;
  levels: readonly PyramidLevelGrid[];
}

export interface PyramidTile {
  level: number;
  column: number;
  row: number;
}

/** Samples of a tile: the column range `[x0, x1)` and row range `[y0, y1)` of its level. */
export function tileSamples({ levels }: TilePyramid, { level, column, row }: PyramidTile): Bounds {
  const grid = levels[level]!;
  return {
    x0: column * grid.tile,
    y0: row * grid.tile,
    x1: Math.min(grid.width, (column + 1) * grid.tile),
    y1: Math.min(grid.height, (row + 1) * grid.tile),
  };
}

/** World box of a box of samples of a level. Equal sample positions give equal numbers, so neighbours leave no gap. */
export function samplesToWorld(pyramid: TilePyramid, level: number, box: Bounds): Bounds {
  const { stepX, stepY } = pyramid.levels[level]!;
  return {
    x0: pyramid.originX + box.x0 * stepX,
    y0: pyramid.originY + box.y0 * stepY,
    x1: pyramid.originX + box.x1 * stepX,
    y1: pyramid.originY + box.y1 * stepY,
  };
}

/**
 * The level to show at a scale: the coarsest whose samples are not larger than `slack` device pixels. With 1, no sample
 * is magnified unless it is one of the finest level.
 */
export function chooseShownLevel({ levels }: TilePyramid, scale: number, slack = 1): number {
  let chosen = 0;
  levels.forEach((level, i) => {
    if (Math.max(level.stepX, level.stepY) * scale <= slack) chosen = i;
  });
  return chosen;
}

/** Tiles of a level that touch the visible box, nearest to its centre first. */
export function visibleTiles(pyramid: TilePyramid, level: number, visible: Bounds): PyramidTile[] {
  const grid = pyramid.levels[level]!;
  const sideX = grid.tile * grid.stepX;
  const sideY = grid.tile * grid.stepY;
  const first = (from: number, origin: number, side: number) =>
    Math.max(0, Math.floor((from - origin) / side));
  const after = (to: number, origin: number, side: number, samples: number) =>
    Math.min(Math.ceil(samples / grid.tile), Math.ceil((to - origin) / side));
  const columns = [
    first(visible.x0, pyramid.originX, sideX),
    after(visible.x1, pyramid.originX, sideX, grid.width),
  ] as const;
  const rows = [
    first(visible.y0, pyramid.originY, sideY),
    after(visible.y1, pyramid.originY, sideY, grid.height),
  ] as const;
  const tiles: (PyramidTile & { distance: number })[] = [];
  const centreX = ((visible.x0 + visible.x1) / 2 - pyramid.originX) / sideX - 0.5;
  const centreY = ((visible.y0 + visible.y1) / 2 - pyramid.originY) / sideY - 0.5;
  for (let row = rows[0]; row < rows[1]; row++) {
    for (let column = columns[0]; column < columns[1]; column++) {
      tiles.push({ level, column, row, distance: (column - centreX) ** 2 + (row - centreY) ** 2 });
    }
  }
  return tiles
    .sort((a, b) => a.distance - b.distance)
    .map(({ level, column, row }) => ({ level, column, row }));
}

/** The tile of a coarser level that covers the centre of a tile. */
export function coveringTile(pyramid: TilePyramid, tile: PyramidTile, level: number): PyramidTile {
  const world = samplesToWorld(pyramid, tile.level, tileSamples(pyramid, tile));
  const grid = pyramid.levels[level]!;
  const at = (middle: number, origin: number, step: number, samples: number) =>
    Math.min(
      Math.ceil(samples / grid.tile) - 1,
      Math.max(0, Math.floor((middle - origin) / (step * grid.tile))),
    );
  return {
    level,
    column: at((world.x0 + world.x1) / 2, pyramid.originX, grid.stepX, grid.width),
    row: at((world.y0 + world.y1) / 2, pyramid.originY, grid.stepY, grid.height),
  };
}

/** A whole level this small is one tile: it is the first picture, and the minimap. */
const WHOLE_LEVEL_PIXELS = 8 * 2 ** 20;
const WHOLE_LEVEL_SIDE = 4096;
const TILE_SIDE = 512;
const LARGEST_CHUNK = 1024;

/** Side of the tiles of a level: a multiple of its storage units, about 512. @param chunk `[..., height, width]` */
export function chooseTileSide(
  shape: readonly number[],
  chunk: readonly number[],
  isCoarsest: boolean,
): number {
  const [height, width] = shape.slice(-2) as [number, number];
  const longest = Math.max(height, width);
  if (isCoarsest && height * width <= WHOLE_LEVEL_PIXELS && longest <= WHOLE_LEVEL_SIDE) return longest;
  const unit = Math.max(...chunk.slice(-2));
  return unit <= LARGEST_CHUNK ? unit * Math.max(1, Math.round(TILE_SIDE / unit)) : TILE_SIDE;
}
