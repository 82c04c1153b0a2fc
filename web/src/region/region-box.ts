import { parsePolygons } from "../../../src/portable/parse-polygons.ts";
import { findCrossing } from "../../../src/tiling/objects/find-crossing.ts";
import type { Bounds } from "../data/camera.ts";
import type { Roi } from "./region-messages.ts";

/** A larger file is no hand-drawn region. */
const MAX_FILE_BYTES = 64 * 2 ** 20;

/** Outlines that a region was made of, x, y, x, y … in level-0 pixels, and the whole-pixel rectangle around them. */
export interface RegionOutline {
  rings: readonly (readonly number[])[];
  roi: Roi;
}

/**
 * The whole-pixel rectangle around a box, cut at the border of the image.
 * @throws {Error} a sentence, if nothing of it lies in the image
 */
export function roiOfBox(box: Bounds, { width, height }: { width: number; height: number }): Roi {
  const x0 = Math.max(0, Math.floor(Math.min(box.x0, box.x1)));
  const y0 = Math.max(0, Math.floor(Math.min(box.y0, box.y1)));
  const x1 = Math.min(width, Math.ceil(Math.max(box.x0, box.x1)));
  const y1 = Math.min(height, Math.ceil(Math.max(box.y0, box.y1)));
  if (!(x1 > x0 && y1 > y0)) throw new Error("The region is empty: draw it over the image.");
  return [x0, y0, x1 - x0, y1 - y0];
}

/** Checks a region that was typed. @throws {Error} a sentence */
export function checkRoi(roi: Roi, { width, height }: { width: number; height: number }): Roi {
  const [x, y, w, h] = roi;
  if (!roi.every(Number.isInteger)) throw new Error("The region must be whole pixels.");
  if (w < 1 || h < 1) throw new Error("The region is empty: width and height must be at least 1.");
  if (x < 0 || y < 0 || x + w > width || y + h > height)
    throw new Error(`The region reaches outside the image, which is ${width} × ${height} pixels.`);
  return roi;
}

/** Reads annotations that QuPath exported as GeoJSON. @throws {Error} a sentence */
export async function readRegionFile(
  file: File,
  size: { width: number; height: number },
): Promise<RegionOutline> {
  if (file.size > MAX_FILE_BYTES)
    throw new Error(
      `${file.name} has ${file.size} bytes, the limit is ${MAX_FILE_BYTES}: export fewer annotations.`,
    );
  const bytes = new Uint8Array(await file.arrayBuffer());
  return checkOutline(parsePolygons(bytes, `the file ${file.name}`).flat(), size, file.name);
}

/** Checks rings and puts a rectangle around them. @param name what messages call them @throws {Error} a sentence */
export function checkOutline(
  rings: readonly (readonly number[])[],
  { width, height }: { width: number; height: number },
  name: string,
): RegionOutline {
  const [least, most] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  const box = { x0: most, y0: most, x1: least, y1: least };
  for (const ring of rings) {
    for (let i = 0; i + 1 < ring.length; i += 2) {
      box.x0 = Math.min(box.x0, ring[i]!);
      box.x1 = Math.max(box.x1, ring[i]!);
      box.y0 = Math.min(box.y0, ring[i + 1]!);
      box.y1 = Math.max(box.y1, ring[i + 1]!);
    }
    const crossing = findCrossing(ring);
    if (crossing)
      throw new Error(
        `The outline in ${name} crosses itself at ${Math.round(crossing.x)}, ${Math.round(crossing.y)}: draw it again without a crossing.`,
      );
  }
  if (!(box.x1 > box.x0 && box.y1 > box.y0))
    throw new Error(`The outline in ${name} encloses no area: draw it again.`);
  if (box.x0 < 0 || box.y0 < 0 || box.x1 > width || box.y1 > height)
    throw new Error(
      `The outline in ${name} reaches outside the image, which is ${width} × ${height} pixels: it may belong to another scan.`,
    );
  return { rings, roi: roiOfBox(box, { width, height }) };
}
