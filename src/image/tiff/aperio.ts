import { RGB_CHANNELS } from "../channels.ts";
import { ImageFormatError } from "../errors.ts";
import type { ImageLimits } from "../limits.ts";
import { plausibleSpacing } from "../spacing.ts";
import { TiledImage } from "../tiled-image.ts";
import type { TiffDirectory, TiffFile } from "./directory.ts";
import { probeFirstTile, tiffLevel } from "./level.ts";
import { outlinePage, readPage } from "./page.ts";
import { checkSameSamples, reducedPages } from "./pyramid.ts";
import { COMPRESSION } from "./tags.ts";
import { tileLayout } from "./tile-layout.ts";

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
 * Aperio SVS: tiled pages are levels, stripped pages are thumbnail, label and macro (which are not touched).
 * Magnification and spacing stand in the first page's description.
 */
export async function openAperio(
  file: TiffFile,
  directories: readonly TiffDirectory[],
  description: string,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<TiledImage> {
  const { source } = file;
  const outlines = await Promise.all(directories.map((d) => outlinePage(d, signal)));
  const [base, ...rest] = outlines.filter((page) => page.tiled && page.subfileType === 0);
  if (base === undefined) {
    throw new ImageFormatError(
      `${source.key}: this Aperio file has no tiled page, so no slide image; export it anew`,
    );
  }
  const chosen = [base, ...reducedPages(base, rest)];
  const pages = await Promise.all(chosen.map((page) => readPage(file, page.directory, limits, signal)));
  checkSameSamples(source.key, pages);
  const layouts = pages.map(tileLayout);
  await probeFirstTile(pages[0]!, layouts[0]!, signal);

  const pairs = parseAperioDescription(description);
  const mpp = positive(pairs.get("MPP"));
  const first = pages[0]!;
  return new TiledImage(
    {
      format: `Aperio SVS (${compressionName(first.compression)})`,
      axes: "yx",
      dtype: first.dtype,
      channels: first.channels === 3 ? RGB_CHANNELS : Array.from({ length: first.channels }, () => ({})),
      spacing: mpp === undefined ? undefined : plausibleSpacing(mpp, mpp),
      objectivePower: positive(pairs.get("AppMag")),
      bounds: undefined,
      etag: source.etag,
      byteLength: source.byteLength,
    },
    // Aperio leaves out tiles of bare glass.
    pages.map((page, i) =>
      tiffLevel([[page]], layouts[i]!, "yx", { fill: page.dtype === "uint8" ? 255 : 0 }),
    ),
    limits,
    () => source.bytesRead,
  );
}

function compressionName(compression: number): string {
  if (compression === COMPRESSION.jpeg) return "JPEG";
  const jpeg2000: readonly number[] = [COMPRESSION.aperioRgb, COMPRESSION.aperioYCbCr, COMPRESSION.jpeg2000];
  return jpeg2000.includes(compression) ? "JPEG 2000" : "TIFF";
}

function positive(text: string | undefined): number | undefined {
  const value = Number(text ?? Number.NaN);
  return value > 0 && Number.isFinite(value) ? value : undefined;
}
