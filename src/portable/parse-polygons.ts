import * as z from "zod";
import { JobError } from "../orchestrator/errors.ts";
import { findPolygonProblem, fromRings, type RegionPolygons } from "../orchestrator/region-polygons.ts";
import type { Rings } from "../tiling/objects/rasterize-polygons.ts";

const point = z.array(z.number()).min(2);
const polygon = z.array(z.array(point));
const geometry = z.looseObject({
  type: z.string(),
  coordinates: z.unknown(),
  geometries: z.array(z.unknown()).optional(),
});

/**
 * Reads polygons in level-0 pixels, as QuPath exports them: a FeatureCollection, a feature, a geometry or a list of them.
 * @param file what messages call it, for instance "the mask a.geojson"
 * @throws {JobError} if it is not GeoJSON, or holds no polygon
 */
export function parsePolygons(bytes: Uint8Array, file: string): Rings[] {
  const polygons = [...findPolygons(parseJson(bytes, file), file)];
  if (polygons.length > 0) return polygons;
  throw new JobError(`${file} holds no polygon: export annotations with an area as GeoJSON`);
}

/** Limit of a file with the polygons of a region; drawn regions are far smaller. */
export const MAX_REGION_FILE_BYTES = 64 * 2 ** 20;

/**
 * Reads the polygons of a region, for the setting `polygons`.
 * @param file what messages call it
 * @throws {JobError} if it holds no polygon, or one that crosses itself or encloses no area, or too many
 */
export function parseRegionPolygons(bytes: Uint8Array, file: string): RegionPolygons {
  const polygons = fromRings(parsePolygons(bytes, file));
  const problem = findPolygonProblem(polygons);
  if (problem !== undefined) throw new JobError(`${file}: ${problem}`);
  return polygons;
}

function parseJson(bytes: Uint8Array, file: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new JobError(`${file} is not valid JSON: export it as GeoJSON again`, { cause });
  }
}

const MAX_DEPTH = 8;

function* findPolygons(value: unknown, file: string, depth = 0): Generator<Rings> {
  if (depth > MAX_DEPTH) throw new JobError(`${file} is not GeoJSON: it is nested too deeply`);
  if (Array.isArray(value)) {
    for (const one of value) yield* findPolygons(one, file, depth + 1);
    return;
  }
  if (typeof value !== "object" || value === null) throw new JobError(`${file} is not GeoJSON`);
  if ("features" in value) return yield* findPolygons(value.features, file, depth + 1);
  if ("geometry" in value)
    return value.geometry === null ? undefined : yield* findPolygons(value.geometry, file, depth + 1);
  const parsed = geometry.safeParse(value);
  if (!parsed.success) throw new JobError(`${file} has no valid GeoJSON polygons`);
  const { type, coordinates, geometries } = parsed.data;
  if (type === "GeometryCollection") return yield* findPolygons(geometries ?? [], file, depth + 1);
  const several = type === "Polygon" ? [coordinates] : type === "MultiPolygon" ? coordinates : [];
  for (const one of Array.isArray(several) ? several : [several]) {
    const rings = polygon.safeParse(one);
    if (!rings.success) throw new JobError(`${file} is damaged: a ${type} without valid coordinates`);
    // An empty geometry is valid GeoJSON without an area.
    if (rings.data.some((ring) => ring.length > 0))
      yield rings.data.map((ring) => ring.flatMap(([x, y]) => [x!, y!]));
  }
}
