import {
  boxAround,
  findPolygonProblem,
  type RegionPolygons,
} from "../../../src/orchestrator/region-polygons.ts";
import { MAX_REGION_FILE_BYTES, parseRegionPolygons } from "../../../src/portable/parse-polygons.ts";
import type { Bounds } from "../data/camera.ts";
import type { ChosenRegion, Roi } from "./region-messages.ts";

interface ImageSize {
  width: number;
  height: number;
}

/**
 * The whole-pixel rectangle around a box, cut at the border of the image.
 * @throws {Error} a sentence, if nothing of it lies in the image
 */
export function roiOfBox(box: Bounds, { width, height }: ImageSize): Roi {
  const x0 = Math.max(0, Math.floor(Math.min(box.x0, box.x1)));
  const y0 = Math.max(0, Math.floor(Math.min(box.y0, box.y1)));
  const x1 = Math.min(width, Math.ceil(Math.max(box.x0, box.x1)));
  const y1 = Math.min(height, Math.ceil(Math.max(box.y0, box.y1)));
  if (!(x1 > x0 && y1 > y0)) throw new Error("The region is empty: draw it over the image.");
  return [x0, y0, x1 - x0, y1 - y0];
}

/** Checks a region that was typed. @throws {Error} a sentence */
export function checkRoi(roi: Roi, { width, height }: ImageSize): Roi {
  const [x, y, w, h] = roi;
  if (!roi.every(Number.isInteger)) throw new Error("The region must be whole pixels.");
  if (w < 1 || h < 1) throw new Error("The region is empty: width and height must be at least 1.");
  if (x < 0 || y < 0 || x + w > width || y + h > height)
    throw new Error(`The region reaches outside the image, which is ${width} × ${height} pixels.`);
  return roi;
}

/** Reads annotations that QuPath exported as GeoJSON. @throws {Error} a sentence */
export async function readRegionFile(file: File, size: ImageSize): Promise<ChosenRegion> {
  if (file.size > MAX_REGION_FILE_BYTES)
    throw new Error(
      `${file.name} has ${file.size} bytes, the limit is ${MAX_REGION_FILE_BYTES}: export fewer annotations.`,
    );
  const bytes = new Uint8Array(await file.arrayBuffer());
  return checkPolygons(parseRegionPolygons(bytes, `the file ${file.name}`), size, `the file ${file.name}`);
}

/** Checks polygons. @param from ends the message, where they come from @throws {Error} a sentence */
export function checkPolygons(
  polygons: RegionPolygons,
  { width, height }: ImageSize,
  from?: string,
): ChosenRegion {
  const problem = findPolygonProblem(polygons);
  if (problem !== undefined) throw new Error(problem);
  const roi = boxAround(polygons);
  const [x, y, w, h] = roi;
  if (x < 0 || y < 0 || x + w > width || y + h > height)
    throw new Error(
      `${from ?? "the outline"} reaches outside the image, which is ${width} × ${height} pixels: it may belong to another scan`,
    );
  return { roi, polygons };
}

/** A point that lies inside a region, near its middle: of polygons, in the middle of the first one's widest part at half its height. */
export function middleOf({ roi, polygons }: ChosenRegion): { x: number; y: number } {
  const [x, y, width, height] = roi;
  if (!polygons) return { x: x + width / 2, y: y + height / 2 };
  const [first] = polygons;
  const heights = first![0]!.map(([, at]) => at);
  const level = (Math.min(...heights) + Math.max(...heights)) / 2;
  const crossings = first!
    .flatMap((ring) =>
      ring.flatMap(([xa, ya], i) => {
        const [xb, yb] = ring[(i + 1) % ring.length]!;
        return ya > level === yb > level ? [] : [xa + ((level - ya) / (yb - ya)) * (xb - xa)];
      }),
    )
    .sort((a, b) => a - b);
  let [left, right] = [crossings[0]!, crossings[1]!];
  for (let i = 2; i + 1 < crossings.length; i += 2)
    if (crossings[i + 1]! - crossings[i]! > right - left) [left, right] = [crossings[i]!, crossings[i + 1]!];
  return { x: (left + right) / 2, y: level };
}

/** Polygons as a GeoJSON file, as QuPath and the command line read it. */
export function toGeoJson(polygons: RegionPolygons): string {
  const features = polygons.map((rings) => ({
    type: "Feature",
    geometry: { type: "Polygon", coordinates: rings.map((ring) => [...ring, ring[0]!]) },
    properties: { objectType: "annotation" },
  }));
  return JSON.stringify({ type: "FeatureCollection", features });
}
