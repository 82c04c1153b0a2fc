import { ImageFormatError } from "../../image/errors.ts";
import type { TiffDirectory, TiffFile } from "./directory.ts";
import { outlinePage, type PageOutline } from "./page.ts";
import { TAG } from "./tags.ts";

/** Prefixes of descriptions and page names of a slide's label, macro or thumbnail (Aperio, Philips, Leica). */
const COMPANION = /^\s*(label|macro|thumbnail|thumb|overview)\b(?!\s*[=:])/im;

/** PerkinElmer's QPTIFF states the same in XML. */
const COMPANION_TYPE = /<ImageType>\s*(label|macro|thumbnail|overview)/i;

/** Bytes of a description that are read; the relevant text is at its start. */
const DESCRIPTION_BYTES = 4096;

export interface ChosenPages {
  /** The image; several pages of one size are a stack. */
  base: PageOutline[];
  /** Pages marked as reduced copies of the image. */
  reduced: PageOutline[];
}

/**
 * Chooses the image among the pages by what they state, never by their order alone: a label, macro, thumbnail,
 * reduced copy or mask is never the image. Of several candidates the largest is the image, tiled ones first, as
 * slides have them.
 */
export async function choosePages(
  file: TiffFile,
  directories: readonly TiffDirectory[],
  signal?: AbortSignal,
): Promise<ChosenPages> {
  const outlines: PageOutline[] = [];
  for (const directory of directories) outlines.push(await outlinePage(directory, signal));
  const isFull = (page: PageOutline) => !page.reduced && !page.mask;
  // Cameras and some scanners put a reduced copy first, and the image below it.
  const below = outlines.some(isFull) ? [] : await subPages(file, outlines, signal);
  const full = [...outlines, ...below].filter(isFull);
  if (full.length === 0) throw noImage(file.source.key, outlines);
  const named = await Promise.all(full.map((page) => isCompanion(page.directory, signal)));
  // A file with nothing else may call its image a label.
  const images = named.every(Boolean) ? full : full.filter((_, i) => !named[i]);
  if (named.every(Boolean) && full.length > 1) throw noImage(file.source.key, outlines);
  const tiled = images.filter((page) => page.tiled);
  const candidates = tiled.length > 0 ? tiled : images;
  const area = (page: PageOutline) => page.width * page.height;
  const largest = candidates.reduce((a, b) => (area(b) > area(a) ? b : a));
  const base = candidates.filter((p) => p.width === largest.width && p.height === largest.height);
  const reduced = outlines.filter((page) => page.reduced && !page.mask);
  const others = outlines.length - base.length - reduced.length;
  if (others > 0 && below.length === 0) {
    const places = base.slice(0, 8).map((page) => outlines.indexOf(page) + 1);
    file.notes.page = `${places.join(", ")}${base.length > 8 ? ", …" : ""} of ${outlines.length}; labels, macros, thumbnails, masks and smaller pages are left alone`;
  }
  return { base, reduced };
}

/** Most pages that one page may list below it. */
const MAX_SUB_PAGES = 256;

async function subPages(
  file: TiffFile,
  outlines: readonly PageOutline[],
  signal?: AbortSignal,
): Promise<PageOutline[]> {
  const found: PageOutline[] = [];
  for (const { directory } of outlines) {
    const offsets = Array.from((await directory.numbers(TAG.subIfds, signal, MAX_SUB_PAGES)) ?? []);
    for (const offset of offsets)
      found.push(await outlinePage(await file.directoryAt(offset, signal), signal));
  }
  return found;
}

async function isCompanion(directory: TiffDirectory, signal?: AbortSignal): Promise<boolean> {
  const description = await directory.text(TAG.imageDescription, signal, DESCRIPTION_BYTES);
  const name = await directory.text(TAG.pageName, signal, DESCRIPTION_BYTES);
  return [description, name].some(
    (text) => text !== undefined && (COMPANION.test(text) || COMPANION_TYPE.test(text)),
  );
}

function noImage(key: string, outlines: readonly PageOutline[]): ImageFormatError {
  const only = outlines.length === 1 ? "its only page is" : `all of its ${outlines.length} pages are`;
  return new ImageFormatError(
    `${key}: ${only} marked as a reduced copy, a mask, a label or a macro, so it holds no image itself; export the image, or clear the tag NewSubfileType`,
  );
}
