import { RGB_CHANNELS } from "../channels.ts";
import { ImageFormatError } from "../errors.ts";
import type { ImageLimits } from "../limits.ts";
import { TiledImage } from "../tiled-image.ts";
import type { TiffDirectory, TiffFile } from "./directory.ts";
import { probeFirstTile, tiffLevel } from "./level.ts";
import { outlinePage, readPage, type TiffPage } from "./page.ts";
import { checkSameSamples, reducedPages } from "./pyramid.ts";
import { resolutionSpacing } from "./resolution.ts";
import { PHOTOMETRIC, TAG } from "./tags.ts";
import { tileLayout } from "./tile-layout.ts";

/**
 * Any other TIFF: the first page is the image; its levels are the pages marked as reduced (libvips, GDAL's COG)
 * and its SubIFDs.
 * @throws {ImageFormatError} for a stack of full-size pages, whose meaning is not stated
 */
export async function openGenericTiff(
  file: TiffFile,
  directories: readonly TiffDirectory[],
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<TiledImage> {
  const { source } = file;
  const outlines = await Promise.all(directories.map((d) => outlinePage(d, signal)));
  const [base, ...rest] = outlines;
  const twins = rest.filter(
    (p) => p.subfileType === 0 && p.width === base!.width && p.height === base!.height,
  );
  if (twins.length > 0) {
    throw new ImageFormatError(
      `${source.key}: it is a stack of ${twins.length + 1} pages of equal size, and a plain TIFF does not say whether they are channels, depths or times; convert it to OME-TIFF`,
    );
  }
  const subOffsets = Array.from((await base!.directory.numbers(TAG.subIfds, signal)) ?? []);
  const subOutlines = await Promise.all(
    subOffsets.map(async (offset) => outlinePage(await file.directoryAt(offset, signal), signal)),
  );
  const reduced = rest.filter((page) => (page.subfileType & 1) === 1 && (page.subfileType & 4) === 0);
  const chosen = [base!, ...reducedPages(base!, [...reduced, ...subOutlines])];
  const pages = await Promise.all(chosen.map((page) => readPage(file, page.directory, limits, signal)));
  checkSameSamples(source.key, pages);
  const layouts = pages.map(tileLayout);
  await probeFirstTile(pages[0]!, layouts[0]!, signal);
  const first = pages[0]!;
  return new TiledImage(
    {
      format: `${file.bigTiff ? "BigTIFF" : "TIFF"} (${first.tiled ? "tiled" : "stripped"}${pages.length > 1 ? ", pyramid" : ""})`,
      axes: "yx",
      dtype: first.dtype,
      channels: channelsOf(first),
      spacing: await resolutionSpacing(first.directory, signal),
      objectivePower: undefined,
      bounds: undefined,
      etag: source.etag,
      byteLength: source.byteLength,
    },
    pages.map((page, i) => tiffLevel([[page]], layouts[i]!, "yx")),
    limits,
    () => source.bytesRead,
  );
}

function channelsOf(page: TiffPage) {
  const colored = page.channels === 3 && page.photometric > PHOTOMETRIC.blackIsZero;
  return colored ? RGB_CHANNELS : Array.from({ length: page.channels }, () => ({}));
}
