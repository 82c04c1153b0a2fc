import { type Channel, type PagesAs, RGB_CHANNELS } from "../../image/image-source.ts";
import type { ImageLimits } from "../../image/limits.ts";
import type { TiledImage } from "../base/tiled-image.ts";
import { subLevels, tiffImage } from "./assemble.ts";
import { choosePages } from "./choose-page.ts";
import type { TiffDirectory, TiffFile } from "./directory.ts";
import { asGrey, readPage, type TiffPage } from "./page.ts";
import { reducedPages } from "./pyramid.ts";
import { resolutionSpacing } from "./resolution.ts";
import { stackLayout } from "./stack.ts";
import { PHOTOMETRIC, TAG } from "./tags.ts";

/**
 * Any other TIFF: the image as its pages state it (`choose-page.ts`), with levels from the pages marked as reduced
 * (libvips, GDAL's COG) and its SubIFDs; or a stack, if ImageJ, tifffile or the user states the meaning of its pages.
 * @throws {ImageFormatError} for a stack of full-size pages whose meaning is not stated
 */
export async function openGenericTiff(
  file: TiffFile,
  directories: readonly TiffDirectory[],
  pagesAs: PagesAs | undefined,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<TiledImage> {
  const { base, reduced } = await choosePages(file, directories, signal);
  const description = await base[0]!.directory.text(TAG.imageDescription, signal);
  const pages: TiffPage[] = [];
  for (const page of base) pages.push(await readPage(file, page.directory, limits, signal));
  const first = pages[0]!;
  const stack = await stackLayout(file, pages, description, pagesAs, signal);
  // In a stack a colour map states how a plane was displayed.
  const grey = stack !== undefined && stack.pages.length * stack.pages[0]!.length > 1;
  const planes = stack?.pages.map((row) => (grey ? row.map(asGrey) : row)) ?? [[first]];
  // Reduced pages are copies of the image; in a stack it is unknown of which plane.
  const marked = stack ? [] : reducedPages(base[0]!, reduced);
  const lower = await Promise.all(
    marked.map(async ({ directory }) => [[await readPage(file, directory, limits, signal)]]),
  );
  const nested = stack?.virtual ? [] : await subLevels(file, planes, limits, signal);
  const levels = [planes, ...lower, ...nested];
  // Both kinds in one file are rare, and then form one pyramid.
  levels.sort((a, b) => b[0]![0]!.width * b[0]![0]!.height - a[0]![0]!.width * a[0]![0]!.height);
  const storage = `${first.tiled ? "tiled" : "stripped"}${levels.length > 1 ? ", pyramid" : ""}`;
  const kind = `${stack ? `${stack.name} ` : ""}${file.bigTiff ? "BigTIFF" : "TIFF"}`;
  return tiffImage(
    file,
    {
      format: `${kind} (${storage})`,
      axes: stack?.axes ?? "yx",
      levels,
      channels: planes[0]!.flatMap(defaultChannels),
      // The same bytes read another way are another image.
      etag: stack?.asked ? `${file.source.etag} pages as ${pagesAs}` : undefined,
      spacing: stack ? stack.spacing : await resolutionSpacing(first.directory, signal),
    },
    limits,
    signal,
  );
}

export function defaultChannels(page: TiffPage): readonly Channel[] {
  if (page.palette?.kind === "lut") return [page.palette.color ? { color: page.palette.color } : {}];
  const colored = page.channels === 3 && page.photometric > PHOTOMETRIC.blackIsZero;
  return colored ? RGB_CHANNELS : Array.from({ length: page.channels }, () => ({}));
}
