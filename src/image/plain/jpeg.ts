import type { ByteSource } from "../byte-source.ts";
import { decodeJpeg } from "../codecs.ts";
import { ImageFormatError } from "../errors.ts";
import type { Spacing } from "../image-source.ts";
import { completeJpeg, type JpegHeader, parseJpegHeader } from "../jpeg/stream.ts";
import type { ImageLimits } from "../limits.ts";
import { plausibleSpacing } from "../spacing.ts";
import type { TiledImage } from "../tiled-image.ts";
import { openWhole } from "./whole-image.ts";

/** Headers with large embedded profiles, previews and maker notes still fit. */
const HEAD_BYTES = 2 ** 20;

/** JPEG: grey or colour, 8 bits. */
export async function openJpeg(
  source: ByteSource,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<TiledImage> {
  const [head] = await source.readRanges(
    [{ offset: 0, length: Math.min(HEAD_BYTES, source.byteLength) }],
    signal,
  );
  let header: JpegHeader;
  try {
    header = parseJpegHeader(head!);
  } catch (cause) {
    throw new ImageFormatError(`${source.key}: ${(cause as Error).message}; copy the file again`, { cause });
  }
  const channels = header.components.length;
  if (header.bitsPerSample !== 8 || (channels !== 1 && channels !== 3)) {
    throw new ImageFormatError(
      `${source.key}: JPEG with ${channels} components of ${header.bitsPerSample} bits is not supported; convert it to RGB of 8 bits`,
    );
  }
  return openWhole(
    source,
    {
      format: "JPEG",
      width: header.width,
      height: header.height,
      dtype: "uint8",
      channels,
      decodedPixelBytes: channels,
      spacing: densitySpacing(header),
    },
    async (bytes) => {
      const { data, width, height, components } = await decodeJpeg(completeJpeg(bytes));
      return { data, shape: [height, width, components] };
    },
    limits,
  );
}

function densitySpacing({ density }: JpegHeader): Spacing | undefined {
  if (!density || density.x === 0 || density.y === 0) return undefined;
  const unit = density.unit === "inch" ? 25_400 : 10_000;
  return plausibleSpacing(unit / density.y, unit / density.x);
}
