import { ImageFormatError } from "../../image/errors.ts";
import type { ImageSource, PagesAs } from "../../image/image-source.ts";
import type { ImageLimits } from "../../image/limits.ts";
import type { ByteSource } from "../../storage/byte-source.ts";
import { isAperio, openAperio } from "./aperio.ts";
import { TiffFile } from "./directory.ts";
import { openGenericTiff } from "./generic.ts";
import { openNdpi } from "./ndpi.ts";
import { isOmeXml, openOmeTiff } from "./ome-tiff.ts";
import { TAG } from "./tags.ts";

/** Bytes of a description that are read: enough to recognise its writer. */
const HEAD_BYTES = 4096;

/** TIFF dialects that a generic reader would show wrongly (overlapping tiles, several scans). */
const UNREAD_DIALECTS: { name: string; pattern: RegExp }[] = [
  { name: "Leica SCN", pattern: /<scn xmlns/ },
  { name: "Ventana BIF", pattern: /<iScan|level=0 mag=/ },
  { name: "Trestle", pattern: /^OverlapsXY/m },
];

/**
 * Opens any TIFF by what its first page states.
 * @param pagesAs meaning of the pages of a stack, where the file does not state it
 */
export async function openTiff(
  source: ByteSource,
  limits: ImageLimits,
  pagesAs: PagesAs | undefined,
  signal?: AbortSignal,
): Promise<ImageSource> {
  const file = await TiffFile.open(source, limits, signal);
  const directories = await file.directories(signal);
  const first = directories[0]!;
  if (first.has(TAG.ndpiFormat) || first.has(TAG.ndpiSourceLens)) {
    return openNdpi(file, directories, limits, signal);
  }
  // Another page may identify the dialect: a thumbnail may come first.
  for (const directory of directories) {
    const head = await directory.text(TAG.imageDescription, signal, HEAD_BYTES);
    if (head === undefined) continue;
    const dialect = UNREAD_DIALECTS.find(({ pattern }) => pattern.test(head));
    if (dialect) {
      throw new ImageFormatError(
        `${source.key}: ${dialect.name} files are not supported; convert it to OME-TIFF, for instance with bioformats2raw and raw2ometiff`,
      );
    }
    if (isAperio(head)) return openAperio(file, directories, limits, signal);
    if (!/<OME[\s>]/.test(head)) continue;
    const xml = (await directory.text(TAG.imageDescription, signal))!;
    if (isOmeXml(xml)) return openOmeTiff(file, directories, xml, limits, signal);
  }
  return openGenericTiff(file, directories, pagesAs, limits, signal);
}
