import { RGB_CHANNELS } from "../channels.ts";
import { ImageFormatError } from "../errors.ts";
import type { Channel } from "../image-source.ts";
import type { ImageLimits } from "../limits.ts";
import { TiledImage } from "../tiled-image.ts";
import type { TiffDirectory, TiffFile } from "./directory.ts";
import { probeFirstTile, tiffLevel } from "./level.ts";
import { type OmeImage, parseOmeXml } from "./ome-xml.ts";
import { outlinePage, readPage, type TiffPage } from "./page.ts";
import { checkSameSamples, reducedPages } from "./pyramid.ts";
import { TAG } from "./tags.ts";
import { tileLayout } from "./tile-layout.ts";

/** Series that accompany the slide and are never the image meant. */
const COMPANION = /\b(label|macro|thumbnail|overview)\b/i;

/** Far above any stack; a damaged count ends here and not in a loop. */
const MAX_PLANES = 100_000;

export function isOmeXml(description: string | undefined): boolean {
  return (
    description !== undefined &&
    /<OME[\s>]/.test(description.slice(0, 4096)) &&
    description.trimEnd().endsWith("OME>")
  );
}

/**
 * OME-TIFF: planes over pages as the OME-XML tells, lower levels in each page's SubIFDs. Several z become a
 * volume; several times are refused.
 */
export async function openOmeTiff(
  file: TiffFile,
  directories: readonly TiffDirectory[],
  xml: string,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<TiledImage> {
  const { source } = file;
  const refuse = (reason: string) => new ImageFormatError(`${source.key}: ${reason}`);
  const images = parseOmeXml(xml);
  const image = images?.find(({ name }) => !COMPANION.test(name)) ?? images?.[0];
  const planes = image ? image.sizeZ * image.sizeC * image.sizeT : 0;
  if (image === undefined || !(Number.isInteger(planes) && planes >= 1 && planes <= MAX_PLANES)) {
    throw refuse("its OME-XML is damaged or describes no image; export it anew");
  }
  if (image.sizeT > 1) {
    throw refuse(`it is a series of ${image.sizeT} times, and one image is wanted; export one time point`);
  }
  if (image.otherFiles.length > 0) {
    throw refuse(
      `its planes are spread over several files (${image.otherFiles[0]}, …); export it as one OME-TIFF`,
    );
  }

  const basePages: TiffPage[][] = [];
  for (let z = 0; z < image.sizeZ; z++) {
    const row: TiffPage[] = [];
    for (let c = 0; c < image.channelSamples.length; c++) {
      const index = image.pageOf(c, z);
      const directory = index === undefined ? undefined : directories[index];
      if (directory === undefined) {
        throw refuse(
          `the page of channel ${c}, plane ${z} is missing; copy the file again or export it anew`,
        );
      }
      row.push(await readPage(file, directory, limits, signal));
    }
    basePages.push(row);
  }
  const first = basePages[0]![0]!;
  if (first.width !== image.sizeX || first.height !== image.sizeY) {
    throw refuse(
      `its OME-XML states ${image.sizeX} × ${image.sizeY} pixels but the page has ${first.width} × ${first.height}; export it anew`,
    );
  }
  checkSamePlanes(source.key, basePages.flat());

  const levels = [basePages, ...(await reducedLevels(file, basePages, limits, signal))];
  const channels = channelsOf(image, basePages[0]!);
  checkSameSamples(
    source.key,
    levels.map((pages) => ({
      dtype: pages[0]![0]!.dtype,
      channels: pages[0]!.reduce((sum, page) => sum + page.channels, 0),
    })),
  );
  const layouts = levels.map((pages) => tileLayout(pages[0]![0]!));
  await probeFirstTile(first, layouts[0]!, signal);
  const axes = image.sizeZ > 1 ? "zyx" : "yx";
  return new TiledImage(
    {
      format: `OME-TIFF (${first.tiled ? "tiled" : "stripped"}${levels.length > 1 ? ", pyramid" : ""})`,
      axes,
      dtype: first.dtype,
      channels,
      spacing: spacingOf(image, axes),
      objectivePower: image.objectivePower,
      bounds: undefined,
      etag: source.etag,
      byteLength: source.byteLength,
    },
    levels.map((pages, i) => tiffLevel(pages, layouts[i]!, axes)),
    limits,
    () => source.bytesRead,
  );
}

/** Lower levels, each `[z][c]` like the base, from the SubIFDs that every page carries alike. */
async function reducedLevels(
  file: TiffFile,
  base: TiffPage[][],
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<TiffPage[][][]> {
  const first = base[0]![0]!;
  const offsets = Array.from((await first.directory.numbers(TAG.subIfds, signal)) ?? []);
  const outlines = await Promise.all(
    offsets.map(async (offset, position) => ({
      ...(await outlinePage(await file.directoryAt(offset, signal), signal)),
      position,
    })),
  );
  const chosen = reducedPages({ ...first, position: -1 }, outlines);
  return Promise.all(
    chosen.map(({ position }) =>
      Promise.all(
        base.map((row) =>
          Promise.all(
            row.map(async (page) => {
              const offset = (await page.directory.numbers(TAG.subIfds, signal))?.[position];
              if (offset === undefined) {
                throw new ImageFormatError(
                  `${file.source.key}: its channels have different numbers of levels; export it anew`,
                );
              }
              return readPage(file, await file.directoryAt(offset, signal), limits, signal);
            }),
          ),
        ),
      ),
    ),
  );
}

function checkSamePlanes(key: string, pages: readonly TiffPage[]): void {
  const first = pages[0]!;
  for (const page of pages) {
    if (page.width !== first.width || page.height !== first.height || page.dtype !== first.dtype) {
      throw new ImageFormatError(`${key}: its planes have different sizes or sample types; export it anew`);
    }
  }
}

/** One entry per channel handed out: an RGB `Channel` element stands for three. */
function channelsOf(image: OmeImage, pages: readonly TiffPage[]): Channel[] {
  return pages.flatMap((page, c) => {
    const stated = image.channels[c] ?? {};
    if (page.channels === 1) return [stated];
    if (page.channels === 3) return RGB_CHANNELS;
    return Array.from({ length: page.channels }, () => ({}));
  });
}

function spacingOf(image: OmeImage, axes: "yx" | "zyx") {
  if (image.spacing === undefined || axes === "yx") return image.spacing;
  if (image.spacingZ === undefined) return undefined;
  return { values: [image.spacingZ, ...image.spacing.values], unit: "micrometer" as const };
}
