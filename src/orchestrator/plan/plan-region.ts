import type { ImageSource } from "../../image/image-source.ts";
import type { Rect } from "../../tiling/grid/raster.ts";
import {
  subGrid,
  type WindowGrid,
  windowCount,
  windowIndex,
  windowPosition,
} from "../../tiling/grid/window-grid.ts";
import { WindowSet } from "../../tiling/grid/window-set.ts";
import { touchingWindows } from "../../tiling/objects/touching-windows.ts";
import { JobError, NoTissueError } from "../errors.ts";
import type { JobPlan } from "../job-plan.ts";
import { boxAround, toRings } from "../region-polygons.ts";
import type { FullJobSettings } from "../settings.ts";
import { chooseChunkShape } from "./chunk-shape.ts";

/** Levels of the image that is planned, in the model's orientation. */
type Levels = Pick<ImageSource, "levels">;
/** A rectangle or polygons; neither: the whole image. */
export type Region = Pick<FullJobSettings, "roi" | "polygons">;

export function isRegion({ roi, polygons }: Region): boolean {
  return roi !== undefined || polygons !== undefined;
}

/** A grid over a whole level, and its kept windows. */
export interface WholeWindows {
  grid: WindowGrid;
  kept: WindowSet;
}

/** The windows that touch a region. */
export interface RegionWindows {
  grid: WindowGrid;
  kept: WindowSet;
  /** Everything that `grid` covers, in samples of the level and of level 0. */
  region: Rect;
  region0: Rect;
  /** The requested region, the box around its polygons; the whole image without one. */
  requested: { region: Rect; region0: Rect };
}

/**
 * The windows of a whole image that touch a region. They keep their places, so that the region gets the labels that a run of
 * the whole gives there. Around polygons, labels lack the windows that touch none.
 * @throws {JobError} if the region is empty or reaches outside the image
 */
export function chooseRegionWindows(
  whole: WholeWindows,
  image: Levels,
  levelNumber: number,
  area: Region,
): RegionWindows {
  const level = image.levels[levelNumber]!;
  const requested = placeRegion(image, levelNumber, area);
  const { grid, region, first } = subGrid(whole.grid, requested.region);
  if (!isRegion(area)) return { grid, kept: whole.kept, region, region0: requested.region0, requested };
  const region0 = toLevel0(region, level.downsample, image.levels[0]!.shape);
  const { downsample, shape } = level;
  const touching =
    area.polygons &&
    touchingWindows(grid, { origin: region.origin, levelShape: shape, downsample }, toRings(area.polygons));
  return { grid, kept: keptInPart(whole, grid, first, touching), region, region0, requested };
}

/**
 * The plan of a region, from the plan of the whole image: windows, intensities and level are the same. It measures nothing,
 * so a page can follow a region that is being drawn.
 * @param whole planned with the same settings but the region
 * @throws {JobError} if the region is empty or reaches outside the image
 * @throws {NoTissueError} if it has no window
 */
export function planRegion(whole: JobPlan, image: Levels, area: Region): JobPlan {
  if (whole.output) throw new TypeError("the plan of a region cannot be divided again");
  const { grid, kept, region, region0, requested } = chooseRegionWindows(whole, image, whole.level, area);
  if (kept.size === 0) throw new NoTissueError(NO_TISSUE);
  const { thumbnail: _, tissueFraction: __, domain: ___, ...same } = whole;
  return {
    ...same,
    grid,
    kept,
    region,
    region0,
    output: requested,
    chunk: chooseChunkShape(region.size),
    tissueFraction: undefined,
    thumbnail: undefined,
  };
}

export const NO_TISSUE = "no tissue was found in the region: use --no-tissue-mask or --mask <file>";

function placeRegion(source: Levels, level: number, area: Region) {
  const { shape, downsample } = source.levels[level]!;
  const shape0 = source.levels[0]!.shape;
  const roi = area.roi ?? (area.polygons && boxAround(area.polygons));
  if (!roi) {
    const origin = shape.map(() => 0);
    return { region: { origin, size: shape }, region0: { origin, size: shape0 } };
  }
  if (shape.length !== 2) throw new JobError("--roi is for 2-D images");
  const [x, y, width, height] = roi;
  const size0 = `${shape0[1]}×${shape0[0]}`;
  if (!(width > 0 && height > 0) || ![x, y, width, height].every(Number.isInteger)) {
    throw new JobError(
      `--roi ${roi.join(",")}: x,y,width,height must be whole numbers, width and height above 0`,
    );
  }
  if (x < 0 || y < 0 || x + width > shape0[1]! || y + height > shape0[0]!) {
    if (area.polygons)
      throw new JobError(
        `the polygons of the region reach outside the image, which is ${size0} pixels: they may belong to another scan`,
      );
    throw new JobError(`--roi ${roi.join(",")} reaches outside the image, which is ${size0} pixels`);
  }
  const origin = [y, x].map((o, axis) => Math.min(shape[axis]! - 1, Math.floor(o / downsample[axis]!)));
  const end = [y + height, x + width].map((e, axis) =>
    Math.min(shape[axis]!, Math.ceil(e / downsample[axis]!)),
  );
  const region = { origin, size: end.map((e, axis) => Math.max(1, e - origin[axis]!)) };
  return { region, region0: toLevel0(region, downsample, shape0) };
}

/** A rect of a level in samples of level 0. */
export function toLevel0(rect: Rect, downsample: readonly number[], shape0: readonly number[]): Rect {
  const origin = rect.origin.map((o, axis) => Math.round(o * downsample[axis]!));
  const size = rect.size.map((s, axis) =>
    Math.min(Math.round(s * downsample[axis]!), shape0[axis]! - origin[axis]!),
  );
  return { origin, size };
}

/**
 * The kept windows of a part of a grid.
 * @param first number of the part's first window along each axis
 * @param among windows of the part; default all
 */
function keptInPart(
  { grid, kept }: WholeWindows,
  part: WindowGrid,
  first: readonly number[],
  among: WindowSet = WindowSet.all(windowCount(part)),
): WindowSet {
  const out = new WindowSet(windowCount(part));
  for (let window = 0; window < out.length; window++) {
    const position = windowPosition(part, window).map((p, axis) => p + first[axis]!);
    if (among.has(window) && kept.has(windowIndex(grid, position))) out.add(window);
  }
  return out;
}
