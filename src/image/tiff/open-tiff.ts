import type { ByteSource } from "../byte-source.ts";
import { ImageFormatError } from "../errors.ts";
import type { ImageSource } from "../image-source.ts";
import type { ImageLimits } from "../limits.ts";
import { isAperio, openAperio } from "./aperio.ts";
import { TiffFile } from "./directory.ts";
import { openGenericTiff } from "./generic.ts";
import { openNdpi } from "./ndpi.ts";
import { isOmeXml, openOmeTiff } from "./ome-tiff.ts";
import { TAG } from "./tags.ts";

/** TIFF dialects whose pages a generic reading would show wrongly (overlapping tiles, several scans). */
const UNREAD_DIALECTS: { name: string; pattern: RegExp }[] = [
  { name: "Leica SCN", pattern: /<scn xmlns/ },
  { name: "Ventana BIF", pattern: /<iScan|level=0 mag=/ },
  { name: "Trestle", pattern: /^OverlapsXY/m },
];

/** Opens any TIFF by what its first page says of itself. */
export async function openTiff(
  source: ByteSource,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<ImageSource> {
  const file = await TiffFile.open(source, limits, signal);
  const directories = await file.directories(signal);
  const first = directories[0]!;
  if (first.has(TAG.ndpiFormat) || first.has(TAG.ndpiSourceLens)) {
    return openNdpi(file, directories, limits, signal);
  }
  const description = await first.text(TAG.imageDescription, signal);
  if (isAperio(description)) return openAperio(file, directories, description!, limits, signal);
  if (isOmeXml(description)) return openOmeTiff(file, directories, description!, limits, signal);
  const dialect = UNREAD_DIALECTS.find(({ pattern }) => pattern.test(description ?? ""));
  if (dialect) {
    throw new ImageFormatError(
      `${source.key}: ${dialect.name} files are not supported; convert it to OME-TIFF, for instance with bioformats2raw and raw2ometiff`,
    );
  }
  return openGenericTiff(file, directories, limits, signal);
}
