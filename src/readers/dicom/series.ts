import { orientationCode } from "../../image/affine.ts";
import { type ImageSource, RGB_CHANNELS } from "../../image/image-source.ts";
import type { ImageLimits } from "../../image/limits.ts";
import type { ObjectStore } from "../../storage/object-store.ts";
import type { DType, Raster } from "../../tiling/grid/raster.ts";
import { type ImageDescription, TiledImage } from "../base/tiled-image.ts";
import { UnsupportedDicomError } from "./errors.ts";
import { mosaicAffine, splitMosaic } from "./mosaic.ts";
import { formatDtype, outputSamples } from "./pixel-format.ts";
import { invertGrey, isIdentity, type Rescale, rescale, rescaledType } from "./rescale.ts";
import { addFileName, readHead, readSlice, type SliceFile } from "./slices.ts";
import { stackSlices } from "./stack.ts";

/** Bytes read while opening, the etag of all opened files, and warnings for the user. */
export interface OpenedSeries {
  bytesRead: number;
  etag: string;
  warnings: readonly string[];
}

/**
 * The slices of one series as a volume "zyx", z along the normal of their plane. Slices are read and decoded one by
 * one as regions need them, and cached up to `limits.cacheBytes`.
 * @throws {UnsupportedDicomError} when the slices do not form a regular stack
 */
export function seriesVolume(
  store: ObjectStore,
  files: readonly SliceFile[],
  opened: OpenedSeries,
  limits: ImageLimits,
): ImageSource {
  const slices = files.flatMap((file) => file.places.map((place, frame) => ({ file, frame, place })));
  checkAlike(files);
  const { order, affine, spacing } = stackSlices(slices.map(({ place }) => place));
  const first = files[0]!;
  const { rows, columns } = first.format;
  const [betweenRows, betweenColumns] = slices[0]!.place.pixelSpacing as [number, number];
  const rescales = files.flatMap((file) => file.rescales);
  const about = describe(files, opened, slices.length);
  const { dtype } = about;
  let bytesRead = opened.bytesRead;

  async function readTile(z: number, signal?: AbortSignal): Promise<Raster> {
    const { file, frame } = slices[order[z]!]!;
    const count = (bytes: number) => {
      bytesRead += bytes;
    };
    const stored = await readSlice(store, file, frame, limits, count, signal);
    const { data } = toValues(stored, file, file.rescales[frame]!, rescales.every(isIdentity), dtype);
    return { data, shape: [1, rows, columns, outputSamples(first.format)] };
  }

  return new TiledImage(
    {
      ...about,
      details: { ...about.details, ...statedSpacing(first, spacing) },
      axes: "zyx",
      spacing: { values: [spacing, betweenRows, betweenColumns], unit: "millimeter" },
      affine,
      orientation: orientationCode(affine),
      headers: {
        format: "dicom",
        count: slices.length,
        read: (z, options) => readHead(store, slices[order[z]!]!.file, limits, options?.signal),
        references: order.map((i) => {
          const { file, frame } = slices[i]!;
          const { sopClass, sopInstance } = file;
          return { sopClass, sopInstance, ...(file.places.length > 1 && { frame }) };
        }),
      },
    },
    [
      {
        shape: [slices.length, rows, columns],
        tileShape: [1, rows, columns],
        readTiles: (positions, signal) => positions.map(([z]) => readTile(z!, signal)),
      },
    ],
    limits,
    () => bytesRead,
  );
}

/** The slice distance that a file states, if it differs from that of its positions by more than rounding. */
function statedSpacing({ statedSpacing }: SliceFile, spacing: number): Record<string, string> {
  const differs = statedSpacing !== undefined && Math.abs(Math.abs(statedSpacing) - spacing) > 0.01;
  return differs ? { spacingBetweenSlices: `${statedSpacing} mm stated, positions used` } : {};
}

/** A single picture: a plane "yx". */
export function singlePlane(
  store: ObjectStore,
  file: SliceFile,
  opened: OpenedSeries,
  limits: ImageLimits,
): ImageSource {
  const { rows, columns } = file.format;
  const [y, x] = file.places[0]!.pixelSpacing;
  const stated = y !== undefined && x !== undefined && y > 0 && x > 0;
  const about = describe([file], opened, 1);
  let bytesRead = opened.bytesRead;
  async function readTile(signal?: AbortSignal): Promise<Raster> {
    const count = (bytes: number) => {
      bytesRead += bytes;
    };
    const stored = await readSlice(store, file, 0, limits, count, signal);
    return toValues(stored, file, file.rescales[0]!, isIdentity(file.rescales[0]!), about.dtype);
  }
  return new TiledImage(
    {
      ...about,
      axes: "yx",
      spacing: stated ? { values: [y, x], unit: "millimeter" } : undefined,
      headers: {
        format: "dicom",
        count: 1,
        read: (_, options) => readHead(store, file, limits, options?.signal),
      },
    },
    [
      {
        shape: [rows, columns],
        tileShape: [rows, columns],
        readTiles: (positions, signal) => positions.map(() => readTile(signal)),
      },
    ],
    limits,
    () => bytesRead,
  );
}

/** A Siemens mosaic as a volume: one tile, since it is one frame. */
export function mosaicVolume(
  store: ObjectStore,
  file: SliceFile,
  opened: OpenedSeries,
  limits: ImageLimits,
): ImageSource {
  const mosaic = file.mosaic!;
  const affine = mosaicAffine(mosaic, file.places[0]!, file.format);
  const [betweenRows, betweenColumns] = file.places[0]!.pixelSpacing as [number, number];
  const about = describe([file], opened, mosaic.count);
  const shape = [mosaic.count, mosaic.rows, mosaic.columns];
  let bytesRead = opened.bytesRead;
  async function readTile(signal?: AbortSignal): Promise<Raster> {
    const count = (bytes: number) => {
      bytesRead += bytes;
    };
    const picture = await readSlice(store, file, 0, limits, count, signal);
    const scale = file.rescales[0]!;
    return splitMosaic(toValues(picture, file, scale, isIdentity(scale), about.dtype), mosaic);
  }
  return new TiledImage(
    {
      ...about,
      format: "DICOM mosaic volume",
      axes: "zyx",
      spacing: { values: [mosaic.spacing, betweenRows, betweenColumns], unit: "millimeter" },
      affine,
      orientation: orientationCode(affine),
      warnings: [...opened.warnings, ...mosaic.warnings],
    },
    [{ shape, tileShape: shape, readTiles: (positions, signal) => positions.map(() => readTile(signal)) }],
    limits,
    () => bytesRead,
  );
}

/**
 * Grey that is a quantity is scaled; grey that is only displayed is inverted if the file says that it grows to black.
 */
function toValues(stored: Raster, file: SliceFile, scale: Rescale, unscaled: boolean, dtype: DType): Raster {
  if (!unscaled) return rescale(stored, scale, dtype);
  if (file.inverted) invertGrey(stored, file.format);
  return stored;
}

function describe(
  files: readonly SliceFile[],
  opened: OpenedSeries,
  slices: number,
): Omit<ImageDescription, "axes" | "spacing"> {
  const { format, modality, syntax } = files[0]!;
  const rescales = files.flatMap((file) => file.rescales);
  const scaled = rescales.find((r) => !isIdentity(r));
  return {
    format: slices === 1 ? "DICOM image" : files.length === 1 ? "DICOM multi-frame volume" : "DICOM series",
    dtype: format.palette ? "uint8" : rescaledType(format, rescales),
    channels: outputSamples(format) === 3 ? RGB_CHANNELS : [{}],
    objectivePower: undefined,
    bounds: undefined,
    details: {
      ...(modality && { modality }),
      transferSyntax: syntax.name,
      stored: `${format.bitsStored}-bit ${formatDtype(format)}`,
      ...(format.palette && { colors: `${format.palette.colors.length / 3} of a palette` }),
      ...(scaled && { rescaled: `stored × ${scaled.slope} + ${scaled.intercept}` }),
      ...(files[0]!.inverted && !scaled && { inverted: "grey that grew to black grows to white" }),
      slices: String(slices),
    },
    warnings: opened.warnings,
    etag: opened.etag,
    byteLength: files.reduce((sum, { info }) => sum + info.byteLength, 0),
  };
}

function checkAlike(files: readonly SliceFile[]): void {
  const first = files[0]!.format;
  for (const { key, format, inverted } of files) {
    const haveSameSamples =
      format.rows === first.rows &&
      format.columns === first.columns &&
      format.samples === first.samples &&
      format.bitsAllocated === first.bitsAllocated &&
      format.bitsStored === first.bitsStored &&
      format.signed === first.signed &&
      String(format.palette?.colors) === String(first.palette?.colors) &&
      inverted === files[0]!.inverted;
    if (!haveSameSamples) {
      throw addFileName(
        new UnsupportedDicomError(
          "its slices differ in size or sample type from those before; give those of one stack",
        ),
        key,
      );
    }
  }
}
