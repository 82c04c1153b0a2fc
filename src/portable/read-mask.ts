import type { ImageSource } from "../image/image-source.ts";
import { JobError } from "../orchestrator/errors.ts";
import { sha256Hex } from "../storage/digest.ts";
import type { OpenedAddress } from "../storage/opened-address.ts";
import { product, type Raster } from "../tiling/grid/raster.ts";
import { rasterizePolygons } from "../tiling/objects/rasterize-polygons.ts";
import {
  type AddressOpener,
  isImageSource,
  locateInput,
  openSourceInput,
  type SourceInput,
} from "./open-source.ts";
import { parsePolygons } from "./parse-polygons.ts";

/** Mask of the whole slide. */
export interface Mask {
  /** 0 and 1, `[height, width]`. */
  raster: Raster<Uint8Array>;
  etag: string;
}

const MASK_SAMPLES = 64 << 20;
const GEOJSON_BYTES = 256 << 20;
/** Samples along the longer side of a rasterized mask. */
const POLYGON_SIDE = 4096;
const MAX_POINTS = 20_000_000;

/** A mask: any source, or samples `[height, width]` at any resolution; those above 0 are segmented. */
export type MaskInput = SourceInput | Raster<Uint8Array>;

/**
 * Reads a mask of any resolution: samples, an image whose finest level fits in memory, or polygons as exported by QuPath.
 * @param shape of level 0 of the slide, `[height, width]`
 */
export async function readMaskInput(
  input: MaskInput,
  shape: readonly number[],
  openAddress: AddressOpener,
  signal: AbortSignal | undefined,
): Promise<Mask> {
  if (isRaster(input)) return checkSamples(input);
  if (isImageSource(input)) return readImage(input, "image", signal);
  // Messages contain the name only, without local folders and signatures of addresses.
  const located = await locateInput(input, openAddress);
  try {
    if (/\.(geo)?json$/i.test(located.name)) return await readPolygons(located, shape, signal);
    const { source, close } = await openSourceInput(located, openAddress, { mpp: 1, signal });
    try {
      return await readImage(source, located.name, signal);
    } finally {
      await close();
    }
  } finally {
    await located.close();
  }
}

function isRaster(input: MaskInput): input is Raster<Uint8Array> {
  const { data, shape } = input as Partial<Raster<Uint8Array>>;
  return data instanceof Uint8Array && Array.isArray(shape);
}

async function checkSamples({ data, shape }: Raster<Uint8Array>): Promise<Mask> {
  if (shape.length !== 2 || shape.some((n) => !(n >= 1)) || product(shape) !== data.length) {
    throw new JobError(
      `the mask has ${data.length} samples and the shape [${shape.join(", ")}]: it must be [height, width] with a sample each`,
    );
  }
  const set = data.map((value) => (value > 0 ? 1 : 0));
  return { raster: { data: set, shape }, etag: `${shape.join("x")}-${await sha256Hex(set, 16)}` };
}

async function readImage(source: ImageSource, name: string, signal: AbortSignal | undefined): Promise<Mask> {
  if (source.axes !== "yx")
    throw new JobError(`the mask ${name} is a volume: save one plane of it, or name an image or polygons`);
  const level = source.levels.findIndex((l) => product(l.shape) <= MASK_SAMPLES);
  if (level < 0) {
    throw new JobError(
      `the mask ${name} is too large: save it with at most ${MASK_SAMPLES >> 20} megapixels`,
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
}

async function readPolygons(
  { store, key, name }: OpenedAddress,
  shape: readonly number[],
  signal: AbortSignal | undefined,
): Promise<Mask> {
  const [height, width] = shape as [number, number];
  const info = await store.head(key, { signal });
  if (info === undefined) throw new JobError(`the mask ${name} does not exist; check its path`);
  if (info.byteLength > GEOJSON_BYTES)
    throw new JobError(
      `the mask ${name} has ${info.byteLength} bytes, the limit is ${GEOJSON_BYTES}: simplify its outlines`,
    );
  const object = await store.get(key, { signal });
  const polygons = parsePolygons(object!.bytes, `the mask ${name}`);
  const points = polygons.reduce((n, rings) => n + rings.reduce((m, ring) => m + ring.length / 2, 0), 0);
  if (points > MAX_POINTS)
    throw new JobError(`the mask ${name} has ${points} points, the limit is ${MAX_POINTS}`);
  const factor = Math.min(1, POLYGON_SIDE / Math.max(height, width));
  const size = [Math.max(1, Math.round(height * factor)), Math.max(1, Math.round(width * factor))] as const;
  const raster = rasterizePolygons(polygons, size, { x: size[1] / width, y: size[0] / height });
  return { raster, etag: object!.etag };
}
