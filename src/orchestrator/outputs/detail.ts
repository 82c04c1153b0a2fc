import type { LabelStore } from "../../image/label-sink.ts";
import type { Raster } from "../../tiling/grid/raster.ts";
import { ObjectCollector } from "../../tiling/objects/collect-objects.ts";
import { ObjectScanner } from "../../tiling/objects/connected-components.ts";
import { tracePolygons } from "../../tiling/objects/trace-polygons.ts";
import type { ObjectKinds } from "./object-kinds.ts";
import { Overlay, type OverlayStyle } from "./overlay.ts";

export interface LabelRect {
  x: number;
  y: number;
  width: number;
  height: number;
}

/**
 * Draws a rect of the label map with the outlines of its objects. Objects are found again within the rect, so objects
 * cut by its border may differ there; nothing is measured from them.
 */
export async function drawDetail(
  labelStore: LabelStore,
  rect: LabelRect,
  picture: Raster<Uint8Array>,
  { rule, kinds }: ObjectKinds,
  style: OverlayStyle,
  signal?: AbortSignal,
): Promise<Raster<Uint8Array>> {
  const overlay = new Overlay(picture, rect, style);
  const collector = new ObjectCollector({
    rule,
    onObject: (object) => overlay.draw(object, tracePolygons(object.runs), kinds.get(object.kind)!),
  });
  const scanner = new ObjectScanner(rect.width, rule, collector);
  scanner.push({ data: await readLabels(labelStore, rect, signal), height: rect.height });
  scanner.finish();
  return overlay.finish();
}

/** Class indices `[height, width]` of a rect inside the label map. */
async function readLabels(
  labelStore: LabelStore,
  rect: LabelRect,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const [tileHeight, tileWidth] = labelStore.info.chunk as [number, number];
  const out = new Uint8Array(rect.width * rect.height);
  for (let row = Math.floor(rect.y / tileHeight); row * tileHeight < rect.y + rect.height; row++) {
    for (let column = Math.floor(rect.x / tileWidth); column * tileWidth < rect.x + rect.width; column++) {
      const tile = await labelStore.readTile([row, column], { signal });
      if (tile === undefined) continue;
      const x0 = Math.max(rect.x, column * tileWidth);
      const x1 = Math.min(rect.x + rect.width, (column + 1) * tileWidth);
      const y1 = Math.min(rect.y + rect.height, (row + 1) * tileHeight);
      for (let y = Math.max(rect.y, row * tileHeight); y < y1; y++) {
        const at = (y - row * tileHeight) * tileWidth + x0 - column * tileWidth;
        out.set(tile.data.subarray(at, at + x1 - x0), (y - rect.y) * rect.width + x0 - rect.x);
      }
    }
  }
  return out;
}
