import { decodeAnyJpeg } from "../../codecs/decode-jpeg.ts";
import { completeJpeg, type JpegHeader, parseJpegHeader } from "../../codecs/jpeg/stream.ts";
import { ImageFormatError } from "../../image/errors.ts";
import type { Spacing } from "../../image/image-source.ts";
import type { ImageLimits } from "../../image/limits.ts";
import { plausibleSpacing } from "../../image/spacing.ts";
import type { ByteSource } from "../../storage/byte-source.ts";
import type { TiledImage } from "../base/tiled-image.ts";
import { openWhole } from "./whole-image.ts";

/** Covers headers with large embedded profiles, previews and maker notes. */
const HEAD_BYTES = 2 ** 20;

const LOSSLESS = 0xc3;
const PROGRESSIVE: readonly number[] = [0xc2, 0xc6, 0xca, 0xce];

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
  const read = header.bitsPerSample === 8 || header.frame === LOSSLESS;
  if (!read || (channels !== 1 && channels !== 3)) {
    throw new ImageFormatError(
      `${source.key}: JPEG with ${channels} components of ${header.bitsPerSample} bits is not supported; convert it to RGB of 8 bits`,
    );
  }
  const { width, height } = header;
  return openWhole(
    source,
    {
      format: "JPEG",
      width,
      height,
      dtype: header.bitsPerSample > 8 ? "uint16" : "uint8",
      channels,
      decodingBytes: decodingBytes(header),
      spacing: densitySpacing(header),
      orientation: header.orientation,
    },
    async (bytes, warn) => {
      const { data, components, ...size } = await decodeAnyJpeg(completeJpeg(bytes), () =>
        warn(
          "parts of the picture are damaged: its data holds undefined codes, for which libjpeg guesses samples; copy the file again or export it again",
        ),
      );
      return { data, shape: [size.height, size.width, components] };
    },
    limits,
  );
}

/** The codec holds a picture twice; a progressive one also as 16-bit coefficients until its last scan. */
function decodingBytes({ width, height, components, frame, bitsPerSample }: JpegHeader): number {
  const samples = width * height * components.length;
  const pixels = samples * (bitsPerSample > 8 ? 2 : 1);
  return PROGRESSIVE.includes(frame) ? 2 * pixels + 2 * samples : 2 * pixels;
}

function densitySpacing({ density }: JpegHeader): Spacing | undefined {
  if (!density || density.x === 0 || density.y === 0) return undefined;
  const unit = density.unit === "inch" ? 25_400 : 10_000;
  return plausibleSpacing(unit / density.y, unit / density.x);
}
