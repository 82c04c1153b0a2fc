import type { Ring } from "../../tiling/polygons.ts";
import type { MeasuredObject } from "./measured-object.ts";
import { decimal } from "./numbers.ts";
import type { Placement } from "./placement.ts";

export const GEOJSON_HEAD = `{"type":"FeatureCollection","features":[`;
export const GEOJSON_TAIL = "\n]}\n";

/**
 * One feature as QuPath 0.4 and later read it (its GsonTools: `objectType`, `classification` with an RGB triple,
 * `measurements`). Coordinates are level-0 pixels to 3 decimals: RFC 7946 in form, though not degrees.
 */
export function geoJsonFeature(
  object: MeasuredObject,
  placement: Placement,
  objectType: "detection" | "annotation",
): string {
  const { polygons, kind } = object;
  const coordinates = polygons.map(
    (rings) => `[${rings.map((ring) => ringText(ring, placement)).join(",")}]`,
  );
  const geometry =
    polygons.length === 1
      ? `{"type":"Polygon","coordinates":${coordinates[0]}}`
      : `{"type":"MultiPolygon","coordinates":[${coordinates.join(",")}]}`;
  return (
    `{"type":"Feature","id":"${object.id}","geometry":${geometry},"properties":{"objectType":"${objectType}",` +
    `"classification":{"name":${JSON.stringify(kind.name)},"color":[${kind.color.join(",")}]},` +
    `"measurements":${measurementsText(object, placement)}}}`
  );
}

function ringText(ring: Ring, { origin, downsample }: Placement): string {
  let text = "[";
  for (let i = 0; i < ring.length; i += 2) {
    text += `[${coordinate(origin.x + ring[i]! * downsample.x)},${coordinate(origin.y + ring[i + 1]! * downsample.y)}],`;
  }
  return `${text}[${coordinate(origin.x + ring[0]! * downsample.x)},${coordinate(origin.y + ring[1]! * downsample.y)}]]`;
}

function coordinate(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function measurementsText({ measurements: m, runs }: MeasuredObject, placement: Placement): string {
  const { origin, downsample, sourceSpacing } = placement;
  const u = sourceSpacing === undefined ? "px" : "µm";
  const spacing = sourceSpacing ?? { x: 1, y: 1 };
  const x = (origin.x + m.centroid.x * downsample.x) * spacing.x;
  const y = (origin.y + m.centroid.y * downsample.y) * spacing.y;
  return (
    `{"Object number":${runs.number},"Area ${u}^2":${decimal(m.area, 3)},` +
    `"Centroid X ${u}":${decimal(x, 3)},"Centroid Y ${u}":${decimal(y, 3)},` +
    `"Perimeter ${u}":${decimal(m.perimeter, 3)},"Circularity":${decimal(m.circularity, 4)},` +
    `"Major axis ${u}":${decimal(m.majorAxis, 3)},"Minor axis ${u}":${decimal(m.minorAxis, 3)},` +
    `"Eccentricity":${decimal(m.eccentricity, 4)},"Orientation deg":${decimal(m.orientationDegrees, 2)}}`
  );
}
