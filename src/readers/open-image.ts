import { withPlaneSpacing } from "../image/affine.ts";
import { ImageFormatError, ImageNotFoundError } from "../image/errors.ts";
import type { ImageSource, PagesAs, Spacing } from "../image/image-source.ts";
import { DEFAULT_LIMITS, type ImageLimits } from "../image/limits.ts";
import { ByteSource } from "../storage/byte-source.ts";
import { StorageError } from "../storage/errors.ts";
import type { ObjectInfo, ObjectStore } from "../storage/object-store.ts";
import { ZipStore } from "../storage/zip-store.ts";
import { openDicomFile, openDicomFolder } from "./dicom/open-dicom.ts";
import { openGzipNifti, openNifti } from "./nifti/open-nifti.ts";
import { openJpeg } from "./raster/jpeg.ts";
import { openPng } from "./raster/png.ts";
import { SNIFF_BYTES, sniff } from "./sniff.ts";
import { openTiff } from "./tiff/open-tiff.ts";
import { openOmeZarr } from "./zarr/ome-zarr.ts";

export interface OpenOptions {
  /** Micrometres per pixel of level 0; overrides the file. */
  mpp?: number;
  /** Number of the DICOM series, counted from 1, where a directory or an archive holds several. */
  series?: number;
  /** Number of the volume, counted from 1, where a file holds a series of them (NIfTI of four dimensions). */
  time?: number;
  /** Meaning of the pages of a TIFF stack, where the file does not state it. */
  pagesAs?: PagesAs;
  /** Keeps the image usable over several requests of a Worker, where native streams end with the request. */
  reuseAcrossRequests?: boolean;
  limits?: Partial<ImageLimits>;
  signal?: AbortSignal;
}

/**
 * Opens the image under a key. Its format is recognised by content, not by name.
 * @throws {ImageNotFoundError} when nothing exists there
 * @throws {ImageFormatError} when it is not an image that can be read, or is damaged
 */
export async function openImage(
  store: ObjectStore,
  key: string,
  options: OpenOptions = {},
): Promise<ImageSource> {
  const { mpp, series, time } = options;
  if (mpp !== undefined && !(mpp > 0 && Number.isFinite(mpp))) {
    throw new RangeError(`mpp must be a positive number of micrometres per pixel, not ${mpp}`);
  }
  if (series !== undefined && !(Number.isInteger(series) && series >= 1))
    throw new RangeError(`series must be a whole number from 1, not ${series}`);
  if (time !== undefined && !(Number.isInteger(time) && time >= 1))
    throw new RangeError(`time must be a whole number from 1, not ${time}`);
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const image = await openAny(store, key, { ...options, limits });
  if (time !== undefined && !image.format.startsWith("NIfTI")) {
    await image.close();
    throw new ImageFormatError(
      `${key} is not a series of volumes: --time is for NIfTI files that hold several`,
    );
  }
  return mpp === undefined ? image : withSpacing(image, mpp);
}

type ResolvedOptions = Omit<OpenOptions, "limits"> & { limits: ImageLimits };

async function openAny(store: ObjectStore, key: string, options: ResolvedOptions): Promise<ImageSource> {
  const { limits, signal } = options;
  // A web server may return a page for a directory: the name decides where to look first.
  const zarrFirst = key.toLowerCase().endsWith(".zarr");
  const zarr = zarrFirst ? await openOmeZarr(store, key, limits, signal) : undefined;
  if (zarr) return zarr;
  const info = await store.head(key, { signal });
  if (info !== undefined) return openFile(store, key, info, options);
  const unnamed = zarrFirst ? undefined : await openOmeZarr(store, key, limits, signal);
  if (unnamed) return unnamed;
  return openDirectory(store, key, options);
}

/** A directory, or the keys of a bucket under a prefix: a DICOM series or slide. */
async function openDirectory(
  store: ObjectStore,
  key: string,
  { limits, series, signal }: ResolvedOptions,
): Promise<ImageSource> {
  let any = false;
  async function* keysBelow() {
    try {
      for await (const below of store.list(`${key}/`, { signal })) {
        any = true;
        yield below;
      }
    } catch (error) {
      // Web servers have no listings; any other failure was reported when the key itself was looked up.
      if (any || !(error instanceof StorageError)) throw error;
    }
  }
  const image = await openDicomFolder(store, key, keysBelow(), limits, series, signal);
  if (image) return image;
  if (!any) throw new ImageNotFoundError(key, `${key} does not exist; check its name and place`);
  throw new ImageFormatError(
    `${key} is a directory without OME-Zarr metadata and without DICOM files; give an image file inside it`,
  );
}

async function openFile(
  store: ObjectStore,
  key: string,
  info: ObjectInfo,
  { limits, series, time, pagesAs, reuseAcrossRequests, signal }: ResolvedOptions,
): Promise<ImageSource> {
  const source = new ByteSource(store, key, info, limits.storedCacheBytes);
  if (info.byteLength === 0) throw new ImageFormatError(`${key} is empty (0 bytes); copy the file again`);
  const file = sniff(await source.readUpTo(0, SNIFF_BYTES, signal));
  switch (file.kind) {
    case "tiff":
      return openTiff(source, limits, pagesAs, signal);
    case "png":
      return openPng(source, limits, signal);
    case "jpeg":
      return openJpeg(source, limits, signal);
    case "nifti":
      return openNifti(source, limits, time, signal);
    case "gzip": {
      const volume = await openGzipNifti(source, limits, time, reuseAcrossRequests ? "js" : "native", signal);
      if (volume) return volume;
      throw new ImageFormatError(`${key} is a gzip archive of something other than NIfTI; unpack it first`);
    }
    case "dicom":
      return openDicomFile(store, key, info, limits, signal);
    case "zip": {
      const entries = await ZipStore.open(source, limits, signal);
      const image = await openDicomFolder(entries, key, entries.list(""), limits, series, signal);
      if (image) return image;
      throw new ImageFormatError(`${key} is a ZIP archive without DICOM files; unpack it first`);
    }
    case "unsupported":
      throw new ImageFormatError(
        `${key} is a ${file.name} file, which is not an image that can be read: ${file.advice}`,
      );
    default:
      throw new ImageFormatError(
        `${key} is not an image that can be read; give a TIFF, SVS, NDPI, PNG, JPEG, DICOM, NIfTI or OME-Zarr`,
      );
  }
}

/** The same image with the user's spacing for its plane. A volume keeps its slice distance. */
function withSpacing(image: ImageSource, mpp: number): ImageSource {
  return {
    format: image.format,
    axes: image.axes,
    dtype: image.dtype,
    levels: image.levels,
    channels: image.channels,
    spacing: planeSpacing(image, mpp),
    objectivePower: image.objectivePower,
    bounds: image.bounds,
    orientation: image.orientation,
    affine: image.affine && withPlaneSpacing(image.affine, mpp / 1000, mpp / 1000),
    details: image.details,
    warnings: image.warnings,
    headers: image.headers,
    etag: image.etag,
    byteLength: image.byteLength,
    get bytesRead() {
      return image.bytesRead;
    },
    readRegion: (level, rect, options) => image.readRegion(level, rect, options),
    close: () => image.close(),
  };
}

function planeSpacing({ axes, spacing }: ImageSource, mpp: number): Spacing | undefined {
  if (axes === "yx") return { values: [mpp, mpp], unit: "micrometer" };
  if (spacing === undefined) return undefined;
  const z = spacing.values[0]! * (spacing.unit === "millimeter" ? 1000 : 1);
  return { values: [z, mpp, mpp], unit: "micrometer" };
}
