import { type GzipImplementation, GzipStream, maxInflatedBytes } from "../../codecs/gzip-stream.ts";
import { columnLengths, orientationCode } from "../../image/affine.ts";
import { ImageFormatError } from "../../image/errors.ts";
import type { ImageSource, Spacing } from "../../image/image-source.ts";
import type { ImageLimits } from "../../image/limits.ts";
import type { ByteSource } from "../../storage/byte-source.ts";
import { bytesPerSample, type Raster } from "../../tiling/grid/raster.ts";
import { TiledImage, type TileGrid } from "../base/tiled-image.ts";
import { GzipSlices, type SliceLayout } from "./gzip-slices.ts";
import { NIFTI_HEADER_BYTES, type NiftiHeader, niftiKind, parseNiftiHeader } from "./header.ts";
import { decodeSamples } from "./sample-types.ts";

/** Largest slice, stored or decoded: reading a region holds several. */
const MAX_SLICE_BYTES = 192 * 2 ** 20;

/** Decoded slices of a gzip file that are cached, besides the stored ones. */
const DECODED_CACHE_BYTES = 8 * 2 ** 20;

/**
 * Opens a NIfTI volume: axes z, y, x are the file's k, j, i. Slices of a plain file are read by ranges.
 * @param time number of the volume, if there are several, from 1
 * @throws {ImageFormatError} when the header is damaged, or states more than the file holds
 */
export async function openNifti(
  source: ByteSource,
  limits: ImageLimits,
  time: number | undefined,
  signal?: AbortSignal,
): Promise<ImageSource> {
  const header = parseNiftiHeader(await source.readUpTo(0, NIFTI_HEADER_BYTES, signal), source.key, time);
  const { offset, sliceBytes, count } = checkedLayout(header, source.byteLength, source.key, limits);
  const slices = (positions: readonly number[], signal?: AbortSignal) => {
    const all = source.readRanges(
      positions.map((z) => ({ offset: offset + z * sliceBytes, length: sliceBytes })),
      signal,
    );
    return positions.map((_, i) => all.then((bytes) => bytes[i]!));
  };
  return new TiledImage(
    describe(header, source, `NIfTI-${header.version}`, time),
    [sliceGrid(header, count, source.key, slices)],
    limits,
    () => source.bytesRead,
  );
}

/**
 * Like `openNifti`, for a gzip file, which is inflated as far as slices are needed; undefined when it holds something
 * else. Memory: stored slices up to `limits.cacheBytes` (see `GzipSlices`), and a few decoded ones.
 * @param implementation "js" when the image outlives the request that opened it
 */
export async function openGzipNifti(
  source: ByteSource,
  limits: ImageLimits,
  time: number | undefined,
  implementation: GzipImplementation,
  signal?: AbortSignal,
): Promise<ImageSource | undefined> {
  const head = await gzipHead(source, signal);
  if (niftiKind(head) === undefined) return undefined;
  const header = parseNiftiHeader(head, source.key, time);
  const layout = checkedLayout(header, maxInflatedBytes(source.byteLength), source.key, limits);
  const slices = new GzipSlices(source, layout, implementation, limits.cacheBytes, limits.tileBytes);
  const decodedCache = Math.min(limits.cacheBytes, DECODED_CACHE_BYTES);
  return new TiledImage(
    describe(header, source, `NIfTI-${header.version} (gzip)`, time),
    [
      sliceGrid(header, layout.count, source.key, (positions, signal) =>
        positions.map((z) => slices.read(z, signal)),
      ),
    ],
    { ...limits, cacheBytes: decodedCache },
    () => source.bytesRead,
    () => slices.close(),
  );
}

async function gzipHead(source: ByteSource, signal?: AbortSignal): Promise<Uint8Array> {
  // In JavaScript: it accepts a first member of any length, and one piece of it suffices.
  const stream = new GzipStream(source, "js");
  try {
    return await stream.take(NIFTI_HEADER_BYTES, signal);
  } finally {
    await stream.close();
  }
}

/** @param holds most bytes that the (inflated) file can have */
function checkedLayout(
  { size, type, dataOffset, scale }: NiftiHeader,
  holds: number,
  key: string,
  limits: ImageLimits,
): SliceLayout {
  const [width, height, count] = size;
  const sliceBytes = width * height * type.bytes;
  if (dataOffset + count * sliceBytes > holds) {
    throw new ImageFormatError(
      `${key} is cut short or damaged: its header states ${size.join(" × ")} samples, more than the file can hold; copy the file again`,
    );
  }
  const decodedBytes = width * height * (scale ? 4 : bytesPerSample(type.dtype));
  const limit = Math.min(limits.tileBytes, MAX_SLICE_BYTES);
  if (Math.max(sliceBytes, decodedBytes) > limit) {
    throw new ImageFormatError(
      `${key} has slices of ${width} × ${height} samples, over the limit of ${limit} bytes; convert it to OME-Zarr`,
    );
  }
  return { offset: dataOffset, sliceBytes, count };
}

function describe(header: NiftiHeader, source: ByteSource, format: string, time: number | undefined) {
  const { affine, scale, type, size, times, warnings } = header;
  return {
    format,
    axes: "zyx",
    dtype: scale ? "float32" : type.dtype,
    channels: [{}],
    spacing: affine && toSpacing(columnLengths(affine)),
    objectivePower: undefined,
    bounds: undefined,
    affine,
    // An affine from sizes alone is a convention: the file does not state how the patient lies.
    orientation: affine && header.affineFrom !== "pixdim" ? orientationCode(affine) : undefined,
    details: {
      stored: type.name,
      byteOrder: header.littleEndian ? "little-endian" : "big-endian",
      ...(affine && { orientationFrom: header.affineFrom }),
      ...(scale && { rescaled: `stored × ${scale.slope} + ${scale.intercept}` }),
      slices: String(size[2]),
      ...(times > 1 && { time: `volume ${time} of ${times}` }),
    },
    warnings,
    headers: { format: "nifti", count: 1, read: async () => headerOfVolume(header) },
    // Another volume of the same file is another image.
    etag: times > 1 ? `${source.etag} time ${time}` : source.etag,
    byteLength: source.byteLength,
  } as const;
}

/** The stored header; for a series of volumes, changed to that of one volume. */
function headerOfVolume({ bytes, times, version, littleEndian }: NiftiHeader): Uint8Array {
  const own = bytes.slice();
  if (times === 1) return own;
  const view = new DataView(own.buffer);
  const set = (index: number, value: number) =>
    version === 1
      ? view.setInt16(40 + 2 * index, value, littleEndian)
      : view.setBigInt64(16 + 8 * index, BigInt(value), littleEndian);
  set(0, 3);
  set(4, 1);
  return own;
}

function toSpacing([i, j, k]: readonly [number, number, number]): Spacing {
  return { values: [k, j, i], unit: "millimeter" };
}

/** One slice per tile. */
function sliceGrid(
  { size: [width, height], type, littleEndian, scale }: NiftiHeader,
  count: number,
  key: string,
  read: (positions: readonly number[], signal?: AbortSignal) => Promise<Uint8Array>[],
): TileGrid {
  const decode = (bytes: Uint8Array): Raster => {
    try {
      return { data: decodeSamples(bytes, type, littleEndian, scale), shape: [1, height, width, 1] };
    } catch (cause) {
      if (!(cause instanceof ImageFormatError)) throw cause;
      throw new ImageFormatError(`${key} cannot be read: ${cause.message}`, { cause });
    }
  };
  return {
    shape: [count, height, width],
    tileShape: [1, height, width],
    readTiles: (positions, signal) =>
      read(
        positions.map(([z]) => z!),
        signal,
      ).map((slice) => slice.then(decode)),
  };
}
