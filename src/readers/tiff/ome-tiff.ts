import { ImageFormatError } from "../../image/errors.ts";
import { type Channel, RGB_CHANNELS } from "../../image/image-source.ts";
import type { ImageLimits } from "../../image/limits.ts";
import type { TiledImage } from "../base/tiled-image.ts";
import { subLevels, tiffImage } from "./assemble.ts";
import type { TiffDirectory, TiffFile } from "./directory.ts";
import { type OmeDocument, type OmeImage, parseOmeXml } from "./ome-xml.ts";
import { asGrey, readPage, type TiffPage } from "./page.ts";
import { TAG } from "./tags.ts";

/** Series that accompany the slide and are never the image. */
const COMPANION = /\b(label|macro|thumbnail|overview)\b/i;

export function isOmeXml(description: string | undefined): boolean {
  return (
    description !== undefined &&
    /<OME[\s>]/.test(description.slice(0, 4096)) &&
    description.trimEnd().endsWith("OME>")
  );
}

/**
 * OME-TIFF: planes over pages as the OME-XML states, lower levels in each page's SubIFDs. Several z make a volume;
 * several times are rejected.
 */
export async function openOmeTiff(
  file: TiffFile,
  directories: readonly TiffDirectory[],
  xml: string,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<TiledImage> {
  const { source } = file;
  const formatError = (reason: string) => new ImageFormatError(`${source.key}: ${reason}`);
  const document = parseOmeXml(xml);
  if (document === undefined) throw formatError("its OME-XML is damaged; export it again");
  const image = chooseImage(document, formatError);
  const named = document.images.filter(({ name }) => !COMPANION.test(name)).length;
  if (named > 1) file.notes.series = `the first of ${named} images that the file holds`;
  const samples = await samplesOfPages(image, directories, formatError, signal);
  const places = image.resolvePages(samples.length);
  if (places === undefined) throw formatError("its OME-XML names more planes than it has; export it again");
  const base: TiffPage[][] = [];
  for (const [z, row] of places.entries()) {
    const pages: TiffPage[] = [];
    for (const [c, place] of row.entries()) {
      const directory = place === undefined ? undefined : directories[place];
      if (directory === undefined) {
        throw formatError(
          `the page of channel ${c}, plane ${z} is missing; copy the file again or export it again`,
        );
      }
      // A colour map states how a channel was displayed, not its colour.
      pages.push(asGrey(await readPage(file, directory, limits, signal)));
    }
    base.push(pages);
  }
  const first = base[0]![0]!;
  if (first.width !== image.sizeX || first.height !== image.sizeY) {
    throw formatError(
      `its OME-XML states ${image.sizeX} × ${image.sizeY} pixels but the page has ${first.width} × ${first.height}; export it again`,
    );
  }
  const lower = await subLevels(file, base, limits, signal);
  const levels = [base, ...lower.map((level) => level.map((row) => row.map(asGrey)))];
  const axes = image.sizeZ > 1 ? "zyx" : "yx";
  return tiffImage(
    file,
    {
      format: `OME-TIFF (${first.tiled ? "tiled" : "stripped"}${levels.length > 1 ? ", pyramid" : ""})`,
      axes,
      levels,
      channels: describeChannels(image, base[0]!),
      spacing: toSpacing(image, axes),
      objectivePower: image.objectivePower,
    },
    limits,
    signal,
  );
}

type FormatError = (reason: string) => ImageFormatError;

/** The first image that is not a label or macro and has valid sizes. */
function chooseImage({ images, companion }: OmeDocument, formatError: FormatError): OmeImage {
  if (companion !== undefined) {
    throw formatError(
      `it holds planes alone, and its metadata is in another file (${companion}), which is not read; convert both to one OME-TIFF, for instance with bioformats2raw and raw2ometiff`,
    );
  }
  const chosen =
    images.find(({ name }) => !COMPANION.test(name)) ?? (images.length === 1 ? images[0] : undefined);
  if (chosen === undefined) {
    throw formatError(
      images.length === 0
        ? "its OME-XML describes no image; export it again"
        : `its ${images.length} images are all called label, macro, thumbnail or overview; export the image itself`,
    );
  }
  const image = chosen.read();
  const { sizeX, sizeY, sizeZ, sizeC, sizeT } = image;
  if (![sizeX, sizeY, sizeZ, sizeC, sizeT].every((n) => Number.isInteger(n) && n >= 1)) {
    throw formatError("its OME-XML states sizes that are no whole numbers from 1; export it again");
  }
  if (sizeT > 1)
    throw formatError(`it is a series of ${sizeT} times, and one image is wanted; export one time point`);
  if (image.otherFile !== undefined) {
    throw formatError(
      `its planes are spread over several files (${image.otherFile}, …); export it as one OME-TIFF`,
    );
  }
  return image;
}

/**
 * Samples per pixel of each page of a plane; together they are the channels. If the document does not state them, or
 * states impossible ones, the page does.
 * @throws {ImageFormatError} when there are fewer pages than planes: before any loop over planes
 */
async function samplesOfPages(
  image: OmeImage,
  directories: readonly TiffDirectory[],
  formatError: FormatError,
  signal?: AbortSignal,
): Promise<number[]> {
  const { sizeC, sizeZ, channelSamples } = image;
  const pages = directories.length;
  const stated = channelSamples.reduce<number>((sum, n) => sum + (n ?? Number.NaN), 0);
  if (stated === sizeC && channelSamples.length * sizeZ <= pages) return channelSamples as number[];
  const first = directories[image.firstPage] ?? directories[0]!;
  const samples = (await first.number(TAG.samplesPerPixel, signal)) ?? 1;
  const count = sizeC % samples === 0 ? sizeC / samples : sizeC;
  if (count * sizeZ > pages) {
    throw formatError(
      `its OME-XML states ${sizeC} channels and ${sizeZ} planes of depth, which is ${count * sizeZ} pages, and it has ${pages}; copy the file again or export it again`,
    );
  }
  return new Array<number>(count).fill(sizeC / count);
}

/** One entry per channel of the result: an RGB `Channel` element stands for three. */
function describeChannels(image: OmeImage, pages: readonly TiffPage[]): Channel[] {
  return pages.flatMap((page, c) => {
    const stated = image.channels[c] ?? {};
    const color = page.palette?.kind === "lut" ? page.palette.color : undefined;
    if (page.channels === 1) return [{ ...(color && { color }), ...stated }];
    if (page.channels === 3) return RGB_CHANNELS;
    return Array.from({ length: page.channels }, () => ({}));
  });
}

function toSpacing(image: OmeImage, axes: "yx" | "zyx") {
  if (image.spacing === undefined || axes === "yx") return image.spacing;
  if (image.spacingZ === undefined) return undefined;
  return { values: [image.spacingZ, ...image.spacing.values], unit: "micrometer" as const };
}
