import { ImageFormatError } from "../../image/errors.ts";
import { RGB_CHANNELS, type Spacing } from "../../image/image-source.ts";
import type { ImageLimits } from "../../image/limits.ts";
import { orientationNote } from "../../image/orientation.ts";
import type { ByteSource } from "../../storage/byte-source.ts";
import { bytesPerSample, type DType, type Raster } from "../../tiling/grid/raster.ts";
import { TiledImage } from "../base/tiled-image.ts";

/** Memory limit of decoding, as a multiple of the result: with a model beside it less than 1 GB. */
const DECODING_SHARE = 1.4;

export interface WholeImage {
  format: string;
  width: number;
  height: number;
  dtype: DType;
  /** 1 grey, 3 RGB. */
  channels: number;
  /** Bytes held while decoding, including the result. */
  decodingBytes: number;
  spacing: Spacing | undefined;
  /** How viewers should turn it. */
  orientation: number | undefined;
}

/**
 * An image that can only be decoded whole (PNG, JPEG): one tile. Once decoded it is cached whatever its size, since
 * each region would decode it again.
 * @throws {ImageFormatError} when it is over the limit, before anything is decoded
 */
export function openWhole(
  source: ByteSource,
  image: WholeImage,
  decode: (bytes: Uint8Array, warn: (sentence: string) => void) => Promise<Raster>,
  limits: ImageLimits,
): TiledImage {
  const { width, height } = image;
  const { key } = source;
  if (width < 1 || height < 1) {
    throw new ImageFormatError(
      `${key} is damaged: its header states ${width} × ${height} pixels; copy the file again`,
    );
  }
  const pixelBytes = bytesPerSample(image.dtype) * image.channels;
  const bytes = width * height * pixelBytes;
  const most = Math.floor(DECODING_SHARE * limits.tileBytes);
  const over = bytes > limits.tileBytes || image.decodingBytes > most || source.byteLength > limits.tileBytes;
  if (over) {
    const [needed, limit] =
      image.decodingBytes > most ? [image.decodingBytes, most] : [bytes, limits.tileBytes];
    throw new ImageFormatError(
      `${key}: its header states ${width} × ${height} pixels (${needed} bytes to decode), over the limit of ${limit} for an image without tiles; convert it to a tiled pyramid, for instance with "vips tiffsave --tile --pyramid"`,
    );
  }
  const orientation = orientationNote(image.orientation);
  const warnings = orientation === undefined ? [] : [`orientation of the image: ${orientation}`];
  const warn = (sentence: string) => {
    if (!warnings.includes(sentence)) warnings.push(sentence);
  };
  return new TiledImage(
    {
      format: image.format,
      axes: "yx",
      dtype: image.dtype,
      channels: image.channels === 3 ? RGB_CHANNELS : [{}],
      spacing: image.spacing,
      objectivePower: undefined,
      bounds: undefined,
      details: orientation === undefined ? undefined : { orientation },
      warnings,
      etag: source.etag,
      byteLength: source.byteLength,
    },
    [
      {
        shape: [height, width],
        tileShape: [height, width],
        readTiles: (positions, signal) =>
          positions.map(async () => {
            const [all] = await source.readRanges([{ offset: 0, length: source.byteLength }], signal);
            try {
              return await decode(all!, warn);
            } catch (cause) {
              throw new ImageFormatError(
                `${key} is damaged or cut short (${(cause as Error).message}); copy the file again`,
                { cause },
              );
            }
          }),
      },
    ],
    { ...limits, cacheBytes: Math.max(limits.cacheBytes, bytes) },
    () => source.bytesRead,
  );
}
