import type { Ring } from "../../tiling/objects/trace-polygons.ts";
import { type MeasuredObject, outlineOf } from "./measured-object.ts";
import { decimal } from "./numbers.ts";
import type { Placement } from "./placement.ts";

export const GEOJSON_HEAD = `{"type":"FeatureCollection","features":[`;
export const GEOJSON_TAIL = "\n]}\n";

/**
 * GeoJSON features for QuPath 0.4 and later (its GsonTools: `objectType`, `classification` with an RGB triple,
 * `measurements`). Coordinates are level-0 pixels to 3 decimals: RFC 7946 in form, though not degrees.
 */
export class GeoJsonFeatures {
  readonly #placement: Placement;
  readonly #objectType: "detection" | "annotation";
  readonly #tolerance: number;
  /** Cached texts `[x,` and `y]` by column and row: formatting them takes most of the time of a file. */
  readonly #columns: string[] = [];
  readonly #rows: string[] = [];

  constructor(placement: Placement, objectType: "detection" | "annotation", simplifyTolerance: number) {
    this.#placement = placement;
    this.#objectType = objectType;
    this.#tolerance = simplifyTolerance;
  }

  feature(object: MeasuredObject): string {
    const { kind } = object;
    const polygons = outlineOf(object, this.#tolerance);
    const coordinates = polygons.map((rings) => `[${rings.map((ring) => this.#ring(ring)).join(",")}]`);
    const geometry =
      polygons.length === 1
        ? `{"type":"Polygon","coordinates":${coordinates[0]}}`
        : `{"type":"MultiPolygon","coordinates":[${coordinates.join(",")}]}`;
    return (
      `{"type":"Feature","id":"${object.id}","geometry":${geometry},` +
      `"properties":{"objectType":"${this.#objectType}",` +
      `"classification":{"name":${JSON.stringify(kind.name)},"color":[${kind.color.join(",")}]},` +
      `"measurements":${measurementsText(object, this.#placement)}}}`
    );
  }

  #ring(ring: Ring): string {
    let text = "[";
    for (let i = 0; i < ring.length; i += 2) text += `${this.#corner(ring[i]!, ring[i + 1]!)},`;
    return `${text}${this.#corner(ring[0]!, ring[1]!)}]`;
  }

  #corner(column: number, row: number): string {
    const { origin, downsample } = this.#placement;
    const x = this.#columns[column] ?? `[${decimal(origin.x + column * downsample.x, 3)},`;
    const y = this.#rows[row] ?? `${decimal(origin.y + row * downsample.y, 3)}]`;
    this.#columns[column] = x;
    this.#rows[row] = y;
    return x + y;
  }
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
