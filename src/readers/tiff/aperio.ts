import { ImageFormatError } from "../../image/errors.ts";
import { RGB_CHANNELS } from "../../image/image-source.ts";
import type { ImageLimits } from "../../image/limits.ts";
import { plausibleSpacing } from "../../image/spacing.ts";
import type { TiledImage } from "../base/tiled-image.ts";
import { tiffImage } from "./assemble.ts";
import type { TiffDirectory, TiffFile } from "./directory.ts";
import { outlinePage, type PageOutline, readPage } from "./page.ts";
import { reducedPages } from "./pyramid.ts";
import { COMPRESSION, TAG } from "./tags.ts";

export function isAperio(description: string | undefined): boolean {
  return description?.startsWith("Aperio") ?? false;
}

/** `|key = value` pairs of Aperio's image description. */
export function parseAperioDescription(description: string): Map<string, string> {
  const pairs = new Map<string, string>();
  for (const part of description.split("|").slice(1)) {
    const equals = part.indexOf("=");
    if (equals > 0) pairs.set(part.slice(0, equals).trim(), part.slice(equals + 1).trim());
  }
  return pairs;
}

/**
 * Aperio SVS: tiled pages are levels; stripped pages are thumbnail, label and macro (and are not read). The first
 * page's description states magnification and spacing.
 */
export async function openAperio(
  file: TiffFile,
  directories: readonly TiffDirectory[],
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<TiledImage> {
  const { source } = file;
  const outlines: PageOutline[] = [];
  for (const directory of directories) outlines.push(await outlinePage(directory, signal));
  const tiled = outlines.filter((page) => page.tiled && !page.reduced && !page.mask);
  if (tiled.length === 0) {
    throw new ImageFormatError(
      `${source.key}: this Aperio file has no tiled page, so no slide image; export it again`,
    );
  }
  const area = (page: PageOutline) => page.width * page.height;
  const base = tiled.reduce((a, b) => (area(b) > area(a) ? b : a));
  const chosen = [base, ...reducedPages(base, tiled)];
  const pages = await Promise.all(chosen.map((page) => readPage(file, page.directory, limits, signal)));
  const description = await base.directory.text(TAG.imageDescription, signal);
  const pairs = parseAperioDescription(description ?? "");
  const mpp = positive(pairs.get("MPP"));
  const first = pages[0]!;
  return tiffImage(
    file,
    {
      format: `Aperio SVS (${compressionName(first.compression)})`,
      axes: "yx",
      levels: pages.map((page) => [[page]]),
      channels: first.channels === 3 ? RGB_CHANNELS : Array.from({ length: first.channels }, () => ({})),
      spacing: mpp === undefined ? undefined : plausibleSpacing(mpp, mpp),
      objectivePower: positive(pairs.get("AppMag")),
    },
    limits,
    signal,
    // Aperio omits tiles of bare glass.
    { fill: first.dtype === "uint8" ? 255 : 0 },
  );
}

function compressionName(compression: number): string {
  if (compression === COMPRESSION.jpeg) return "JPEG";
  const jpeg2000: readonly number[] = [COMPRESSION.aperioRgb, COMPRESSION.aperioYCbCr, COMPRESSION.jpeg2000];
  return jpeg2000.includes(compression) ? "JPEG 2000" : "TIFF";
}

function positive(text: string | undefined): number | undefined {
  // Windows may write it with a comma.
  const value = Number(text?.replace(",", ".") ?? Number.NaN);
  return value > 0 && Number.isFinite(value) ? value : undefined;
}
