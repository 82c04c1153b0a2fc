import { ImageFormatError } from "../../image/errors.ts";
import type { Spacing } from "../../image/image-source.ts";
import type { ImageLimits } from "../../image/limits.ts";
import { exifOrientation } from "../../image/orientation.ts";
import { plausibleSpacing } from "../../image/spacing.ts";
import type { ByteSource } from "../../storage/byte-source.ts";
import type { TiledImage } from "../base/tiled-image.ts";
import { chunks, PALETTE, type PngHeader, readHeader } from "./png-chunks.ts";
import { decodePng } from "./png-decode.ts";
import { openWhole } from "./whole-image.ts";

/** PNG: grey or RGB of 8 or 16 bits; smaller depths and palettes are widened, alpha is dropped. */
export async function openPng(
  source: ByteSource,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<TiledImage> {
  const head = await source.readUpTo(0, 4096, signal);
  let header: PngHeader;
  try {
    header = readHeader(head);
  } catch (cause) {
    throw new ImageFormatError(
      `${source.key} is damaged or cut short: ${(cause as Error).message}; copy the file again`,
      { cause },
    );
  }
  const { width, height, depth, colorType, samples } = header;
  const channels = colorType === PALETTE || samples >= 3 ? 3 : 1;
  return openWhole(
    source,
    {
      format: "PNG",
      width,
      height,
      dtype: depth === 16 ? "uint16" : "uint8",
      channels,
      decodingBytes: width * height * channels * (depth === 16 ? 2 : 1),
      spacing: physicalSpacing(head),
      orientation: embeddedOrientation(head),
    },
    async (bytes) => decodePng(bytes),
    limits,
  );
}

/** The pHYs chunk, if it is near the front and its unit is the metre. */
function physicalSpacing(head: Uint8Array): Spacing | undefined {
  for (const { type, data } of chunks(head)) {
    if (type === "IDAT") return undefined;
    if (type !== "pHYs" || data.length < 9) continue;
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const [x, y] = [view.getUint32(0), view.getUint32(4)];
    return data[8] === 1 && x > 0 && y > 0 ? plausibleSpacing(1e6 / y, 1e6 / x) : undefined;
  }
  return undefined;
}

function embeddedOrientation(head: Uint8Array): number | undefined {
  for (const { type, data } of chunks(head)) if (type === "eXIf") return exifOrientation(data);
  return undefined;
}
