import { basename } from "node:path";
import { z } from "zod";
import { JobError } from "../orchestrator/errors.ts";
import { locate } from "../storage/locate.ts";
import type { Raster } from "../tiling/raster.ts";
import { type Rings, rasterizePolygons } from "../tiling/rasterize-polygons.ts";
import { openSource } from "./open-source.ts";

/** What to segment, over the whole slide. */
export interface Mask {
  /** 0 and 1, `[height, width]`. */
  raster: Raster<Uint8Array>;
  etag: string;
}

const MASK_SAMPLES = 64 << 20;
const GEOJSON_BYTES = 256 << 20;
/** Samples along the longer side of a mask that is made from polygons. */
const POLYGON_SIDE = 4096;
const MAX_POINTS = 20_000_000;

/**
 * A mask of any resolution: an image whose finest level is small enough to hold, or polygons as QuPath exports them.
 * @param shape of the slide's level 0, `[height, width]`
 */
export async function readMask(
  uri: string,
  shape: readonly number[],
  signal: AbortSignal | undefined,
): Promise<Mask> {
  return /\.(geo)?json$/i.test(uri) ? readPolygons(uri, shape, signal) : readImage(uri, signal);
}

async function readImage(uri: string, signal: AbortSignal | undefined): Promise<Mask> {
  const { source, close } = await openSource(uri, 1, signal);
  try {
    if (source.axes !== "yx")
      throw new JobError(
        `the mask ${nameOf(uri)} is a volume: save one plane of it, or name an image or polygons`,
      );
    const level = source.levels.findIndex((l) => l.shape.reduce((p, n) => p * n, 1) <= MASK_SAMPLES);
    if (level < 0) {
      throw new JobError(
        `the mask ${nameOf(uri)} is too large: save it with at most ${MASK_SAMPLES >> 20} megapixels`,
      );
    }
    const size = source.levels[level]!.shape;
    const { data } = await source.readRegion(level, { origin: [0, 0], size }, { signal });
    const channels = source.channels.length;
    const set = new Uint8Array(data.length / channels);
    for (let i = 0; i < set.length; i++) {
      for (let c = 0; c < channels; c++) if (data[i * channels + c]! > 0) set[i] = 1;
    }
    return { raster: { data: set, shape: size }, etag: source.etag };
  } finally {
    await close();
  }
}

const point = z.array(z.number()).min(2);
const polygon = z.array(z.array(point));
const geometry = z.looseObject({
  type: z.string(),
  coordinates: z.unknown(),
  geometries: z.array(z.unknown()).optional(),
});

/** Polygons in level-0 pixels: a FeatureCollection, a feature, a geometry or a list of them. */
async function readPolygons(
  uri: string,
  shape: readonly number[],
  signal: AbortSignal | undefined,
): Promise<Mask> {
  const [height, width] = shape as [number, number];
  const located = await locate(uri);
  try {
    const info = await located.store.head(located.key, { signal });
    if (info === undefined)
      throw new JobError(`the mask ${nameOf(uri)} does not exist; check its name and place`);
    if (info.byteLength > GEOJSON_BYTES)
      throw new JobError(
        `the mask ${nameOf(uri)} has ${info.byteLength} bytes, the limit is ${GEOJSON_BYTES}: simplify its outlines`,
      );
    const object = await located.store.get(located.key, { signal });
    const polygons = [...polygonsOf(parseJson(uri, object!.bytes), uri)];
    if (polygons.length === 0)
      throw new JobError(
        `the mask ${nameOf(uri)} holds no polygon: export annotations with an area as GeoJSON`,
      );
    const points = polygons.reduce((n, rings) => n + rings.reduce((m, ring) => m + ring.length / 2, 0), 0);
    if (points > MAX_POINTS)
      throw new JobError(`the mask ${nameOf(uri)} has ${points} points, the limit is ${MAX_POINTS}`);
    const factor = Math.min(1, POLYGON_SIDE / Math.max(height, width));
    const size = [Math.max(1, Math.round(height * factor)), Math.max(1, Math.round(width * factor))] as const;
    const raster = rasterizePolygons(polygons, size, { x: size[1] / width, y: size[0] / height });
    return { raster, etag: object!.etag };
  } finally {
    await located.close();
  }
}

function parseJson(uri: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new JobError(`the mask ${nameOf(uri)} is not valid JSON: export it as GeoJSON again`, { cause });
  }
}

const DEEPEST = 8;

function* polygonsOf(value: unknown, uri: string, depth = 0): Generator<Rings> {
  if (depth > DEEPEST) throw new JobError(`the mask ${nameOf(uri)} is no GeoJSON: it is nested too deep`);
  if (Array.isArray(value)) {
    for (const one of value) yield* polygonsOf(one, uri, depth + 1);
    return;
  }
  if (typeof value !== "object" || value === null)
    throw new JobError(`the mask ${nameOf(uri)} is no GeoJSON`);
  if ("features" in value) return yield* polygonsOf(value.features, uri, depth + 1);
  if ("geometry" in value)
    return value.geometry === null ? undefined : yield* polygonsOf(value.geometry, uri, depth + 1);
  const parsed = geometry.safeParse(value);
  if (!parsed.success) throw new JobError(`the mask ${nameOf(uri)} is no GeoJSON of polygons`);
  const { type, coordinates, geometries } = parsed.data;
  if (type === "GeometryCollection") return yield* polygonsOf(geometries ?? [], uri, depth + 1);
  const several = type === "Polygon" ? [coordinates] : type === "MultiPolygon" ? coordinates : [];
  for (const one of Array.isArray(several) ? several : [several]) {
    const rings = polygon.safeParse(one);
    if (!rings.success)
      throw new JobError(`the mask ${nameOf(uri)} is damaged: a ${type} without valid coordinates`);
    // An empty shape is valid GeoJSON, and no area.
    if (rings.data.some((ring) => ring.length > 0))
      yield rings.data.map((ring) => ring.flatMap(([x, y]) => [x!, y!]));
  }
}

/** The last part of an address: messages name a file, never the folders of this machine. */
const nameOf = (uri: string) => basename(uri);
