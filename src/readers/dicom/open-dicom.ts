import { ImageFormatError, oneLine } from "../../image/errors.ts";
import type { ImageSource } from "../../image/image-source.ts";
import type { ImageLimits } from "../../image/limits.ts";
import { ByteSource } from "../../storage/byte-source.ts";
import { mapConcurrent } from "../../storage/concurrency.ts";
import { sha256Hex } from "../../storage/digest.ts";
import type { ObjectInfo, ObjectStore } from "../../storage/object-store.ts";
import { type DataSet, DataSetError } from "./data-set.ts";
import { withoutDuplicates } from "./duplicates.ts";
import { UnsupportedDicomError } from "./errors.ts";
import { type Instance, isDicom, openInstance } from "./open-instance.ts";
import { mosaicVolume, type OpenedSeries, seriesVolume, singlePlane } from "./series.ts";
import {
  addFileName,
  type FrameGroups,
  openSliceFile,
  readFrameGroups,
  readModality,
  type SliceFile,
} from "./slices.ts";
import { FramePositions, isSlide, isSlideLevel, openSlideFile, type SlideFile, slideImage } from "./slide.ts";

/** Most files of a directory that are opened. */
const MAX_FILES = 20_000;
/** Heads read in parallel; Workers allow six connections. */
const PARALLEL = 6;
/** Frames of a volume whose positions are kept: more than any stack has. Those of slides take less memory. */
const MAX_SLICES = 65_536;
/** Bytes that identify a DICOM file. */
const SNIFFED_BYTES = 132;
/** Most skipped files that a message names. */
const LISTED_UNREAD = 3;
/** Most series that a message lists. */
const LISTED = 8;

/** Objects that hold labels, not images: PS3.4 annex B.5. */
const SEGMENTATIONS: ReadonlySet<string> = new Set([
  "1.2.840.10008.5.1.4.1.1.66.4",
  "1.2.840.10008.5.1.4.1.1.66.7",
]);

type Read =
  | { kind: "slices"; file: SliceFile }
  | { kind: "slide"; file: SlideFile }
  /** A file that cannot be read, with the reason; it may be an image of this series. */
  | { kind: "refused"; key: string; series: string; modality: string; reason: unknown }
  /** Not an image, or a picture beside a slide: `what` is for a message. */
  | { kind: "other"; what: string };

/**
 * Opens a single DICOM file: a level of a slide, a multi-frame volume, or one picture.
 * @throws {ImageFormatError} with a message that reveals nothing about the patient
 */
export async function openDicomFile(
  store: ObjectStore,
  key: string,
  info: ObjectInfo,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<ImageSource> {
  const { read, bytesRead } = await readFile(store, key, info, limits, signal);
  if (read.kind === "refused") throw addFileName(read.reason, key);
  if (read.kind === "other")
    throw new ImageFormatError(`${key} cannot be read: it is ${read.what}, not an image`);
  return present(store, key, [read], { bytesRead, etag: info.etag, warnings: [] }, limits);
}

/**
 * Opens the slides or slices among the files of a directory or an archive; undefined when none is DICOM.
 * @param series the number of one, as the message that lists them gives it; needed only when there are several
 * @throws {ImageFormatError} when there are several series and none is chosen, or the chosen one cannot be read
 */
export async function openDicomFolder(
  store: ObjectStore,
  name: string,
  keys: AsyncIterable<string>,
  limits: ImageLimits,
  series: number | undefined,
  signal?: AbortSignal,
): Promise<ImageSource | undefined> {
  const found: string[] = [];
  for await (const key of keys) {
    if (found.push(key) > MAX_FILES)
      throw new ImageFormatError(
        `${name} holds more than ${MAX_FILES} files; give the directory of one series`,
      );
  }
  const files = await readFiles(store, found, limits, signal);
  if (files.length === 0) return undefined;
  files.sort((a, b) => (a.key < b.key ? -1 : 1));

  const groups = new Map<string, FolderFile[]>();
  const unread = files.filter(({ read }) => read.kind === "refused");
  for (const file of files) {
    const { read } = file;
    if (read.kind === "other" || read.kind === "refused") continue;
    const group = groups.get(read.file.series);
    if (group) group.push(file);
    else groups.set(read.file.series, [file]);
  }
  const all = [...groups.values()];
  if (all.length === 0) {
    const first = unread[0]?.read;
    if (first?.kind === "refused") throw addFileName(first.reason, first.key);
    const what = [...new Set(files.map(({ read }) => (read.kind === "other" ? read.what : "")))].join(", ");
    throw new ImageFormatError(`${name} holds DICOM files of which none is an image (${what})`);
  }
  // The unread series may be the wanted one: choose the other automatically only if that is larger.
  const clear = all.length === 1 && unread.length < all[0]!.length;
  if (series === undefined && !clear) {
    const listed = listSeries(all.map((g) => g.map(({ read }) => read)));
    const bad = unread.length > 0 ? `; not read: ${listUnread(unread).join("; ")}` : "";
    throw new ImageFormatError(
      `${name} holds ${all.length} DICOM series${unread.length > 0 ? " that can be read" : ""}: ${listed}; choose one by its number (--series)${bad}`,
    );
  }
  const chosen = all[(series ?? 1) - 1];
  if (chosen === undefined)
    throw new ImageFormatError(`${name} holds ${all.length} DICOM series, and number ${series} is wanted`);
  const opened = {
    bytesRead: files.reduce((sum, file) => sum + file.bytesRead, 0),
    etag: await combinedEtag(chosen),
    warnings: listUnread(unread),
  };
  return present(
    store,
    name,
    chosen.map(({ read }) => read),
    opened,
    limits,
    signal,
  );
}

interface FolderFile {
  key: string;
  read: Read;
  etag: string;
  bytesRead: number;
}

/** All files that are DICOM. A damaged or unsupported one does not keep the others from being read. */
async function readFiles(
  store: ObjectStore,
  keys: readonly string[],
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<FolderFile[]> {
  const files = await mapConcurrent(keys, PARALLEL, async (key) => {
    const info = await store.head(key, { signal });
    if (info === undefined || info.byteLength < SNIFFED_BYTES) return undefined;
    const file = await readFile(store, key, info, limits, signal, true).catch((error) => {
      if (error instanceof ImageFormatError) return { read: toDamagedFile(key, error), bytesRead: 0 };
      throw error;
    });
    return file && { key, etag: info.etag, ...file };
  });
  return files.filter((file) => file !== undefined);
}

/** Its series is known if its header got that far. */
function toDamagedFile(key: string, reason: ImageFormatError): Read {
  const dataSet = reason.cause instanceof DataSetError ? reason.cause.dataSet : undefined;
  return {
    kind: "refused",
    key,
    series: dataSet?.text("series") ?? "",
    modality: dataSet ? readModality(dataSet) : "",
    reason,
  };
}

/** A sentence for each, and one for the rest. */
function listUnread(files: readonly FolderFile[]): string[] {
  const sentences = files.slice(0, LISTED_UNREAD).flatMap(({ read }) => {
    if (read.kind !== "refused") return [];
    const { message } = addFileName(read.reason, read.key) as Error;
    return [message];
  });
  const more = files.length - sentences.length;
  return more > 0 ? [...sentences, `${more} more files cannot be read`] : sentences;
}

/** Kinds and numbers of slices: never a description, which may name the patient. */
function listSeries(groups: readonly (readonly Read[])[]): string {
  const lines = groups.slice(0, LISTED).map((reads, i) => {
    const first = reads[0]!;
    const modality =
      first.kind === "refused" ? first.modality : first.kind === "other" ? "" : first.file.modality;
    const slices = reads.reduce((sum, r) => sum + (r.kind === "slices" ? r.file.places.length : 1), 0);
    const what =
      first.kind === "slide" ? `${slides(slices)}` : `${slices} ${slices === 1 ? "slice" : "slices"}`;
    const size =
      first.kind === "slices"
        ? ` of ${first.file.format.columns} × ${first.file.format.rows}`
        : first.kind === "slide"
          ? ` of ${first.file.shape[1]} × ${first.file.shape[0]}`
          : "";
    return `${i + 1} (${modality ? `${modality}, ` : ""}${what}${size})`;
  });
  const more = groups.length > LISTED ? ` and ${groups.length - LISTED} more` : "";
  return lines.join(", ") + more;
}

const slides = (levels: number) => (levels === 1 ? "a slide of one level" : `a slide of ${levels} levels`);

async function present(
  store: ObjectStore,
  name: string,
  reads: readonly Read[],
  opened: OpenedSeries,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<ImageSource> {
  try {
    const levels = reads.flatMap((read) => (read.kind === "slide" ? [read.file] : []));
    const all = reads.flatMap((read) => (read.kind === "slices" ? [read.file] : []));
    if (levels.length > 0) {
      if (all.length > 0) throw new UnsupportedDicomError("a series holds both slides and slices");
      return slideImage(store, levels, opened, limits);
    }
    let { bytesRead } = opened;
    const count = (bytes: number) => {
      bytesRead += bytes;
    };
    const { files: slices, duplicates } = await withoutDuplicates(store, all, limits, count, signal);
    const warnings = [...opened.warnings, ...duplicateWarning(duplicates)];
    const now = { ...opened, bytesRead, warnings };
    if (slices.some(({ mosaic }) => mosaic)) {
      if (slices.length === 1) return mosaicVolume(store, slices[0]!, now, limits);
      throw new UnsupportedDicomError(
        `it is a series of ${slices.length} volumes, each a mosaic in one file, and only one is supported; give the file of one`,
      );
    }
    const only = slices.length === 1 && slices[0]!.places.length === 1 ? slices[0] : undefined;
    return only ? singlePlane(store, only, now, limits) : seriesVolume(store, slices, now, limits);
  } catch (cause) {
    throw withUnread(addFileName(cause, name), opened.warnings);
  }
}

function duplicateWarning(keys: readonly string[]): string[] {
  if (keys.length === 0) return [];
  const listed = oneLine(keys.slice(0, LISTED_UNREAD).join(", "));
  const more = keys.length > LISTED_UNREAD ? ` and ${keys.length - LISTED_UNREAD} more` : "";
  return [`some slices are duplicates and are used once; skipped: ${listed}${more}`];
}

/** The reason may be that one of the slices could not be read. */
function withUnread(cause: unknown, unread: readonly string[]): unknown {
  if (unread.length === 0 || !(cause instanceof ImageFormatError)) return cause;
  return new ImageFormatError(`${cause.message}; not read: ${unread.join("; ")}`, { cause: cause.cause });
}

/** With `sniff`, undefined for a file that is not DICOM. */
async function readFile(
  store: ObjectStore,
  key: string,
  info: ObjectInfo,
  limits: ImageLimits,
  signal?: AbortSignal,
  sniff?: false,
): Promise<{ read: Read; bytesRead: number }>;
async function readFile(
  store: ObjectStore,
  key: string,
  info: ObjectInfo,
  limits: ImageLimits,
  signal: AbortSignal | undefined,
  sniff: true,
): Promise<{ read: Read; bytesRead: number } | undefined>;
async function readFile(
  store: ObjectStore,
  key: string,
  info: ObjectInfo,
  limits: ImageLimits,
  signal?: AbortSignal,
  sniff = false,
): Promise<{ read: Read; bytesRead: number } | undefined> {
  const source = new ByteSource(store, key, info, limits.storedCacheBytes);
  if (sniff && !isDicom(await source.readUpTo(0, SNIFFED_BYTES, signal))) return undefined;
  const frames = new FrameCollector();
  const instance = await openInstance(source, limits, frames, signal);
  const read = await classify(instance, frames, info, limits, signal);
  return { read, bytesRead: source.bytesRead };
}

async function classify(
  instance: Instance,
  { places, groups }: FrameCollector,
  info: ObjectInfo,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<Read> {
  const { key, dataSet, syntax, pixels } = instance;
  if (SEGMENTATIONS.has(dataSet.text("sopClass") ?? "")) return { kind: "other", what: "a segmentation" };
  if (pixels === undefined && syntax.refusal === undefined) {
    const modality = readModality(dataSet);
    return { kind: "other", what: modality ? `a DICOM object of kind ${modality}` : "a DICOM object" };
  }
  if (isSlide(instance) && !isSlideLevel(instance))
    return { kind: "other", what: "the label, overview or thumbnail of a slide" };
  try {
    if (isSlide(instance))
      return { kind: "slide", file: await openSlideFile(instance, places, info, limits, signal) };
    return { kind: "slices", file: await openSliceFile(instance, groups, info, limits, signal) };
  } catch (reason) {
    if (!(reason instanceof UnsupportedDicomError)) throw reason;
    return {
      kind: "refused",
      key,
      series: dataSet.text("series") ?? "",
      modality: readModality(dataSet),
      reason,
    };
  }
}

/** Collects from the functional groups of each frame what slides or slices need. */
class FrameCollector {
  readonly places = new FramePositions();
  readonly groups: FrameGroups[] = [];

  restart = (): void => {
    this.places.restart();
    this.groups.length = 0;
  };

  add = (item: DataSet): void => {
    if (item.has("planePositionSlide")) this.places.add(item);
    else if (this.groups.length < MAX_SLICES) this.groups.push(readFrameGroups(item));
  };
}

async function combinedEtag(files: readonly { key: string; etag: string }[]): Promise<string> {
  const text = files.map(({ key, etag }) => `${key}\0${etag}`).join("\0");
  return `"${await sha256Hex(text, 16)}"`;
}
