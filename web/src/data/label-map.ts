import type { LabelMapInfo } from "../../../src/image/label-sink.ts";
import type { ObjectStore } from "../../../src/storage/object-store.ts";
import { pyramidLevels } from "../../../src/tiling/objects/label-pyramid.ts";
import { chooseTileSide, type TilePyramid } from "./tile-pyramid.ts";

/** A label map of a run, and where its samples lie on the image. */
export interface LabelMap {
  info: Pick<LabelMapInfo, "shape" | "chunk" | "axes" | "spacing" | "placement" | "classes">;
  axes: "yx" | "zyx";
  pyramid: TilePyramid;
}

/** Reads the description of `<key>/labels.ome.zarr`; undefined if the run wrote none. */
export async function readLabelMap(store: ObjectStore, key: string): Promise<LabelMap | undefined> {
  const object = await store.get(`${key}/0/zarr.json`);
  if (object === undefined) return undefined;
  const { attributes } = JSON.parse(new TextDecoder().decode(object.bytes)) as {
    attributes?: { tilewright?: { labelMap?: LabelMapInfo } };
  };
  const info = attributes?.tilewright?.labelMap;
  if (info === undefined)
    throw new Error(`${key} was not written by Tilewright: it does not name its classes`);
  return { info, axes: info.axes, pyramid: labelPyramid(info) };
}

/** The levels of a label map in level-0 pixels of its image. */
export function labelPyramid({ shape, chunk, placement }: LabelMapInfo): TilePyramid {
  const [originY, originX] = placement.origin.slice(-2) as [number, number];
  const [downY, downX] = placement.downsample.slice(-2) as [number, number];
  const levels = pyramidLevels(shape, chunk);
  return {
    originX,
    originY,
    levels: levels.map(({ shape: size, factor }, i) => ({
      width: size.at(-1)!,
      height: size.at(-2)!,
      stepX: downX * factor.at(-1)!,
      stepY: downY * factor.at(-2)!,
      tile: chooseTileSide(size, chunk, i === levels.length - 1),
    })),
  };
}
