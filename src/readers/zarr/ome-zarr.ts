import { type DataType, isZarritaError, open, root, type Array as ZarrArray } from "zarrita";
import { ImageFormatError } from "../../image/errors.ts";
import type { ImageSource } from "../../image/image-source.ts";
import { type ImageLimits, MAX_SIDE } from "../../image/limits.ts";
import { forEachConcurrent } from "../../storage/concurrency.ts";
import { ObjectChangedError, StorageError } from "../../storage/errors.ts";
import type { ObjectStore } from "../../storage/object-store.ts";
import { allocate, bytesPerSample, type DType, product, type Raster } from "../../tiling/grid/raster.ts";
import { TiledImage, type TileGrid } from "../base/tiled-image.ts";
import { checkArrayAttributes, checkArrayMetadata, UnsupportedCodecError } from "./array-metadata.ts";
import { registerBoundedCodecs } from "./bounded-codecs.ts";
import { type OmeZarrImage, parseOmeZarr } from "./ome-metadata.ts";
import { ZarrReader } from "./zarr-reader.ts";

type Level = ZarrArray<DataType, ZarrReader>;

const DTYPES: ReadonlySet<string> = new Set<DType>([
  "uint8",
  "uint16",
  "uint32",
  "int8",
  "int16",
  "int32",
  "float32",
  "float64",
]);

/** More than any microscope or spectrometer has; all are read with every region. */
const MAX_CHANNELS = 4096;

/** Metadata of the Zarr node under `key`, by its format version; undefined when there is none. */
async function readNode(
  reader: ZarrReader,
  key: string,
  signal?: AbortSignal,
): Promise<ZarrNode | undefined> {
  const v3 = await reader.json("/zarr.json", signal).catch((cause) => rethrow(cause, key));
  if (v3 !== undefined) {
    const { node_type, attributes } = asRecord(v3);
    return { version: 3, isArray: node_type === "array", attributes: asRecord(asRecord(attributes).ome) };
  }
  const attributes = await reader.json("/.zattrs", signal).catch((cause) => rethrow(cause, key));
  const group = await reader.json("/.zgroup", signal).catch((cause) => rethrow(cause, key));
  if (attributes === undefined && group === undefined) {
    const array = await reader.json("/.zarray", signal).catch((cause) => rethrow(cause, key));
    return array === undefined ? undefined : { version: 2, isArray: true, attributes: {} };
  }
  return { version: 2, isArray: false, attributes: asRecord(attributes) };
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

interface ZarrNode {
  version: 2 | 3;
  isArray: boolean;
  /** OME attributes: `.zattrs` in version 2, `attributes.ome` in version 3. */
  attributes: Record<string, unknown>;
}

/**
 * Opens an OME-Zarr image (0.4 on Zarr 2, 0.5 on Zarr 3) below `key`; undefined when there is no Zarr node. Several z
 * make a volume, a single z is dropped, several times are rejected.
 * @throws {ImageFormatError} when the node is a plate, a bare array, or invalid
 */
export async function openOmeZarr(
  store: ObjectStore,
  key: string,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<ImageSource | undefined> {
  registerBoundedCodecs();
  const reader = new ZarrReader(store, key);
  const node = await readNode(reader, key, signal);
  if (node === undefined) return undefined;
  const formatError = (reason: string, cause?: unknown) =>
    new ImageFormatError(`${key} ${reason}`, { cause });
  const { attributes } = node;
  if (node.isArray) {
    throw formatError(
      "is a bare Zarr array, which does not name its axes; give the OME-Zarr image group above it",
    );
  }
  if (attributes.multiscales === undefined) {
    // The layout of bioformats2raw: series 0 is the full-resolution image.
    if (attributes["bioformats2raw.layout"] !== undefined)
      return openOmeZarr(store, `${key}/0`, limits, signal);
    if (attributes.plate !== undefined || attributes.well !== undefined) {
      throw formatError(
        "is an OME-Zarr plate or well of many images; give one of them, for instance its A/1/0",
      );
    }
    throw formatError(
      "is a Zarr group without OME-Zarr image metadata (multiscales); give the group of an image",
    );
  }

  let image: OmeZarrImage;
  try {
    image = parseOmeZarr(attributes);
  } catch (cause) {
    throw formatError(`is not a valid OME-Zarr image: ${(cause as Error).message}`, cause);
  }
  const levels: Level[] = [];
  for (const path of image.paths) {
    try {
      const location = root(reader).resolve(path);
      const file = `${location.path}/${node.version === 3 ? "zarr.json" : ".zarray"}`.replace(/^\/+/, "/");
      const metadata = await reader.json(file as `/${string}`, signal);
      if (metadata !== undefined) checkArrayMetadata(metadata, node.version);
      // Version 3 has them in the same file.
      if (node.version === 2)
        checkArrayAttributes(
          await reader.json(`${location.path}/.zattrs`.replace(/^\/+/, "/") as `/${string}`, signal),
        );
      const options = { kind: "array", signal } as const;
      levels.push(await (node.version === 3 ? open.v3(location, options) : open.v2(location, options)));
    } catch (cause) {
      if (signal?.aborted || cause instanceof StorageError || cause instanceof ObjectChangedError)
        throw cause;
      const { message } = cause as Error;
      if (cause instanceof UnsupportedCodecError) throw formatError(`cannot be read: ${message}`, cause);
      throw formatError(
        `is not a valid OME-Zarr image: its level "${shown(path)}" cannot be opened (${message})`,
        cause,
      );
    }
  }
  checkLevels(levels, image, limits, formatError);

  const axisAt = (name: string) => image.axes.indexOf(name);
  const first = levels[0]!;
  const channelAxis = axisAt("c");
  const channelCount = channelAxis < 0 ? 1 : first.shape[channelAxis]!;
  const zAxis = axisAt("z");
  const isVolume = zAxis >= 0 && first.shape[zAxis]! > 1;
  return new TiledImage(
    {
      format: node.version === 3 ? "OME-Zarr 0.5" : "OME-Zarr 0.4",
      axes: isVolume ? "zyx" : "yx",
      dtype: first.dtype as DType,
      channels: Array.from({ length: channelCount }, (_, c) => image.channels[c] ?? {}),
      spacing: image.spacingAlong(isVolume ? ["z", "y", "x"] : ["y", "x"]),
      objectivePower: undefined,
      bounds: undefined,
      etag: reader.etag,
      // A directory of chunks has no size of its own.
      byteLength: 0,
    },
    levels.map((level) => zarrLevel(key, level, image.axes, isVolume)),
    limits,
    () => reader.bytesRead,
  );
}

function checkLevels(
  levels: readonly Level[],
  image: OmeZarrImage,
  limits: ImageLimits,
  formatError: (reason: string) => ImageFormatError,
): void {
  const first = levels[0]!;
  for (const [i, level] of levels.entries()) {
    const { shape, chunks, dtype } = level;
    if (shape.length !== image.axes.length) {
      throw formatError(
        `is not a valid OME-Zarr image: it names ${image.axes.length} axes but level ${i} has ${shape.length} dimensions`,
      );
    }
    if (!DTYPES.has(dtype)) throw formatError(`holds samples of type ${dtype}, which is not supported`);
    if (dtype !== first.dtype) throw formatError("has levels of different sample types; export it again");
    if (shape.some((n) => n < 1 || n > MAX_SIDE))
      throw formatError(`states a level of ${shape.join(" × ")}, which is impossible`);
    for (const [axis, name] of image.axes.entries()) {
      const n = shape[axis]!;
      if (name === "t" && n > 1) {
        throw formatError(`is a series of ${n} times, and one image is wanted; export one time point`);
      }
      if (name === "c" && n !== first.shape[axis])
        throw formatError("has levels with different numbers of channels");
      if (i > 0 && n > levels[i - 1]!.shape[axis]!)
        throw formatError("has levels that grow; they must shrink");
    }
    const channels = image.axes.includes("c") ? shape[image.axes.indexOf("c")]! : 1;
    if (channels > MAX_CHANNELS)
      throw formatError(
        `has ${channels} channels, over the limit of ${MAX_CHANNELS}; export those that are needed`,
      );
    const chunkBytes = product(chunks) * bytesPerSample(dtype as DType) * channels;
    if (chunkBytes > limits.tileBytes) {
      throw formatError(
        `has chunks of ${chunks.join(" × ")} samples, over the limit of ${limits.tileBytes} bytes; write it with smaller chunks`,
      );
    }
  }
}

/** A path of the file, safe for a message. */
function shown(path: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
  return path.replace(/[\u0000-\u001f\u007f]/g, "?").slice(0, 80);
}

/** Bounds the memory of images with thousands of channels, each in its own chunk. */
const MAX_CHUNKS_IN_FLIGHT = 32;

/** One array as a grid: a tile combines the chunks at one spatial position, over all channels. */
function zarrLevel(key: string, level: Level, axes: readonly string[], isVolume: boolean): TileGrid {
  const spatial = (isVolume ? ["z", "y", "x"] : ["y", "x"]).map((name) => ({ axis: axes.indexOf(name) }));
  const channelAxis = axes.indexOf("c");
  const channels = channelAxis < 0 ? 1 : level.shape[channelAxis]!;
  const channelChunk = channelAxis < 0 ? 1 : level.chunks[channelAxis]!;
  const tileShape = spatial.map(({ axis }) => level.chunks[axis]!);
  const chunkSamples = product(level.chunks);

  async function readTile(position: readonly number[], signal?: AbortSignal): Promise<Raster> {
    const data = allocate(level.dtype as DType, product(tileShape) * channels);
    const chunksAcross = Math.ceil(channels / channelChunk);
    await forEachConcurrent(Array(chunksAcross).keys(), MAX_CHUNKS_IN_FLIGHT, async (c) => {
      const coords = axes.map(() => 0);
      spatial.forEach(({ axis }, i) => {
        coords[axis] = position[i]!;
      });
      if (channelAxis >= 0) coords[channelAxis] = c;
      const chunk = await level
        .getChunk(coords, { signal })
        .catch((cause) => rethrow(cause, key, `its chunk ${coords.join("/")}`));
      if (chunk.data.length !== chunkSamples) {
        throw new ImageFormatError(
          `${key} is damaged: its chunk ${coords.join("/")} holds ${chunk.data.length} samples where its shape has ${chunkSamples}; write it again`,
        );
      }
      const firstChannel = c * channelChunk;
      copyChunk(
        chunk.data as ArrayLike<number>,
        spatial.map(({ axis }) => chunk.stride[axis]!),
        channelAxis < 0 ? 0 : chunk.stride[channelAxis]!,
        { data, shape: [...tileShape, channels] },
        firstChannel,
        Math.min(channelChunk, channels - firstChannel),
      );
    });
    return { data, shape: [...tileShape, channels] };
  }

  return {
    shape: spatial.map(({ axis }) => level.shape[axis]!),
    tileShape,
    readTiles: (positions, signal) => positions.map((position) => readTile(position, signal)),
  };
}

/** Copies chunk samples, in the chunk's axis order, to channels-last. */
function copyChunk(
  source: ArrayLike<number>,
  strides: readonly number[],
  channelStride: number,
  tile: Raster,
  firstChannel: number,
  channelCount: number,
): void {
  const [depth, height, width] = tile.shape.length === 4 ? tile.shape : [1, ...tile.shape];
  const [zStride, yStride, xStride] = strides.length === 3 ? strides : [0, ...strides];
  const channels = tile.shape.at(-1)!;
  const { data } = tile;
  for (let c = 0; c < channelCount; c++) {
    let to = firstChannel + c;
    for (let z = 0; z < depth!; z++) {
      for (let y = 0; y < height!; y++) {
        let from = c * channelStride + z * zStride! + y * yStride!;
        for (let x = 0; x < width!; x++, from += xStride!, to += channels) data[to] = source[from]!;
      }
    }
  }
}

/** Turns errors of zarrita and its codecs on damaged data into `ImageFormatError`; storage errors pass. */
function rethrow(cause: unknown, key: string, part = "its Zarr metadata"): never {
  const name = (cause as Error)?.name;
  if (
    isZarritaError(cause) ||
    name === "SyntaxError" ||
    name === "Error" ||
    name === "RangeError" ||
    name === "TypeError"
  ) {
    throw new ImageFormatError(
      `${key} is damaged: ${part} cannot be read (${codecMessage(cause as Error)}); write it again`,
      { cause },
    );
  }
  throw cause;
}

/** The codec's own message, without zarrita's around it. */
function codecMessage(error: Error): string {
  const { cause } = error;
  return isZarritaError(error) && cause instanceof Error && cause.message !== ""
    ? cause.message
    : error.message;
}
