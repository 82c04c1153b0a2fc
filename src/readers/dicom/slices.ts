import { ImageFormatError, oneLine } from "../../image/errors.ts";
import type { ImageLimits } from "../../image/limits.ts";
import { ByteSource } from "../../storage/byte-source.ts";
import type { ObjectInfo, ObjectStore } from "../../storage/object-store.ts";
import type { Raster } from "../../tiling/grid/raster.ts";
import type { DataSet } from "./data-set.ts";
import { decodeFrame } from "./decode-frame.ts";
import { UnsupportedDicomError } from "./errors.ts";
import { type FrameIndex, indexFrames, readFrames } from "./frames.ts";
import { type Mosaic, readMosaic } from "./mosaic.ts";
import { type Instance, openInstance } from "./open-instance.ts";
import { decodedBytes, type PixelFormat, readPixelFormat } from "./pixel-format.ts";
import { IDENTITY, type Rescale } from "./rescale.ts";
import type { SlicePosition } from "./stack.ts";
import type { TransferSyntax } from "./transfer-syntax.ts";

/** Frames limit: a slide of a million megapixels in tiles of 512 has half of it. */
export const MAX_FRAMES = 2 ** 23;

/** Largest decoded frame: reading a region holds several, and scaled ones take twice as much. */
const MAX_FRAME_BYTES = 128 * 2 ** 20;

/** A file of a series, with what is needed to read its frames: small enough to keep for thousands. */
export interface SliceFile {
  key: string;
  info: ObjectInfo;
  /** Groups the files of a series. A UID: for comparing, never for messages. */
  series: string;
  sopClass: string;
  sopInstance: string;
  modality: string;
  syntax: TransferSyntax;
  format: PixelFormat;
  frames: FrameIndex;
  /** Stored bytes up to the samples. */
  headBytes: number;
  /** One per frame. */
  places: SlicePosition[];
  rescales: Rescale[];
  /** Slice distance that the file states: shown, and never used, because it is often wrong. */
  statedSpacing: number | undefined;
  inverted: boolean;
  /** Set when one frame holds a whole volume. */
  mosaic: Mosaic | undefined;
}

/** The functional groups of a frame. */
export interface FrameGroups {
  position: number[];
  orientation: number[];
  pixelSpacing: number[];
  rescale: Rescale | undefined;
}

/** @throws {UnsupportedDicomError} when the file has no samples that can be read */
export async function openSliceFile(
  instance: Instance,
  groups: readonly FrameGroups[],
  info: ObjectInfo,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<SliceFile> {
  const { key, dataSet, syntax, pixels } = instance;
  if (syntax.refusal !== undefined) throw new UnsupportedDicomError(syntax.refusal);
  if (pixels === undefined) throw new UnsupportedDicomError("it holds no image");
  if (pixels.float)
    throw new UnsupportedDicomError("it holds floating-point samples, which are not supported");
  const format = readPixelFormat(dataSet, syntax.coding);
  const limit = Math.min(limits.tileBytes, MAX_FRAME_BYTES);
  if (decodedBytes(format) > limit) {
    throw new UnsupportedDicomError(
      `its frames of ${format.columns} × ${format.rows} pixels are over the limit of ${limit} bytes`,
    );
  }
  const count = frameCount(dataSet);
  if (count > 1 && groups.length !== count) {
    if (groups.length > 0)
      throw new UnsupportedDicomError(
        `it describes ${groups.length} frames where its header announces ${count}`,
      );
    throw new UnsupportedDicomError(
      `it is a film of ${count} frames, which is not supported; give one image or a stack of slices`,
    );
  }
  const frames = await indexFrames(instance, format, count, signal);
  const shared = readFrameGroups(dataSet.group("sharedGroups"));
  const own = readFrameGroups(dataSet);
  const places: SlicePosition[] = [];
  const rescales: Rescale[] = [];
  for (let frame = 0; frame < count; frame++) {
    const all = [groups[frame], shared, own];
    const pick = (field: "position" | "orientation" | "pixelSpacing") =>
      all.find((g) => g && g[field].length > 0)?.[field] ?? [];
    places.push({
      position: pick("position"),
      orientation: pick("orientation"),
      pixelSpacing: pick("pixelSpacing"),
    });
    // Colours are not a quantity.
    const rescale = (!format.palette && all.find((g) => g?.rescale)?.rescale) || IDENTITY;
    if (!(Number.isFinite(rescale.slope) && Number.isFinite(rescale.intercept) && rescale.slope !== 0))
      throw new UnsupportedDicomError("its values are scaled by an invalid number");
    rescales.push(rescale);
  }
  return {
    key,
    info,
    series: dataSet.text("series") ?? "",
    sopClass: dataSet.text("sopClass") ?? "",
    sopInstance: dataSet.text("sopInstance") ?? "",
    modality: readModality(dataSet),
    syntax,
    format,
    frames,
    headBytes: pixels.tagOffset,
    places,
    rescales,
    statedSpacing: dataSet.number("spacingBetweenSlices"),
    inverted: format.photometric === "MONOCHROME1",
    mosaic: count === 1 ? readMosaic(dataSet, format) : undefined,
  };
}

/** Reads and decodes one frame of a file. */
export async function readSlice(
  store: ObjectStore,
  file: SliceFile,
  frame: number,
  limits: ImageLimits,
  count: (bytesRead: number) => void,
  signal?: AbortSignal,
): Promise<Raster> {
  const { key, info, syntax, format, frames } = file;
  const stored = new ByteSource(store, key, info);
  try {
    const ignore = { restart() {}, add() {} };
    const source = syntax.deflated ? (await openInstance(stored, limits, ignore, signal)).source : stored;
    const [bytes] = await Promise.all(readFrames(source, frames, [frame], limits.tileBytes, signal));
    return await decodeFrame(bytes!, format, syntax);
  } catch (cause) {
    throw addFileName(cause, key);
  } finally {
    count(stored.bytesRead);
  }
}

/** The stored head of a file. Identifies the patient. */
export async function readHead(
  store: ObjectStore,
  { key, info, headBytes, syntax }: SliceFile,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const stored = new ByteSource(store, key, info);
  const ignore = { restart() {}, add() {} };
  const source = syntax.deflated ? (await openInstance(stored, limits, ignore, signal)).source : stored;
  return source.readUpTo(0, headBytes, signal);
}

/** Adds the file's name to the error of a frame. */
export function addFileName(cause: unknown, key: string): unknown {
  if (cause instanceof UnsupportedDicomError)
    return new ImageFormatError(`${key} cannot be read: ${cause.message}`, { cause });
  if (cause instanceof ImageFormatError && !cause.message.startsWith(oneLine(key)))
    return new ImageFormatError(`${key} cannot be read: ${cause.message}`, { cause });
  return cause;
}

export function frameCount(dataSet: DataSet): number {
  const count = dataSet.number("numberOfFrames") ?? 1;
  if (!(Number.isSafeInteger(count) && count >= 1))
    throw new UnsupportedDicomError("its header does not state its number of frames");
  if (count > MAX_FRAMES)
    throw new UnsupportedDicomError(`it states ${count} frames, over the limit of ${MAX_FRAMES}`);
  return count;
}

/** A code string; any other text is not repeated. */
export function readModality(dataSet: DataSet): string {
  const text = dataSet.text("modality") ?? "";
  return /^[A-Z]{2,8}$/.test(text) ? text : "";
}

/** From the item of a functional group, or from a data set that states the same at its top level. */
export function readFrameGroups(item: DataSet): FrameGroups {
  const measures = item.group("pixelMeasures");
  const transformation = item.group("pixelTransformation");
  const either = (group: DataSet, name: "position" | "orientation" | "pixelSpacing") =>
    group.has(name) ? group.numbers(name) : item.numbers(name);
  const values = transformation.has("rescaleSlope") ? transformation : item;
  return {
    position: either(item.group("planePosition"), "position"),
    orientation: either(item.group("planeOrientation"), "orientation"),
    pixelSpacing: either(measures, "pixelSpacing"),
    rescale: values.has("rescaleSlope")
      ? { slope: values.number("rescaleSlope")!, intercept: values.number("rescaleIntercept") ?? 0 }
      : undefined,
  };
}
