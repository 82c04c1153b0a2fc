import { getDecoder } from "geotiff";
import { ImageFormatError } from "../image/errors.ts";
import { type DecodedImage, decodeJpeg } from "./decoders.ts";
import { decodeLosslessJpeg } from "./jpeg/lossless.ts";
import { parseJpegHeader } from "./jpeg/stream.ts";

const LOSSLESS = 0xc3;

/** The JavaScript decoder keeps each sample in several forms: it is for tiles, not for pictures. */
const MAX_SCRIPT_SAMPLES = 2 ** 24;

/**
 * Decodes any JPEG that TIFF allows: 8 bits of 1 to 4 components, or lossless. Three components become RGB as the
 * stream's markers say; two and four stay as stored.
 * @param stream complete (`completeJpeg`)
 * @param onDamage as for `decodeJpeg`
 * @throws {ImageFormatError} when it is damaged or not supported
 */
export async function decodeAnyJpeg(stream: Uint8Array, onDamage?: () => void): Promise<DecodedImage> {
  const { frame, bitsPerSample, components, width, height } = parseJpegHeader(stream);
  if (frame === LOSSLESS) return decodeLosslessJpeg(stream);
  if (bitsPerSample !== 8) {
    throw new ImageFormatError(
      `a JPEG tile has samples of ${bitsPerSample} bits, which is not supported; convert to 8 or 16 bits without JPEG`,
    );
  }
  const count = components.length;
  if (count === 1 || count === 3) return decodeJpeg(stream, onDamage);
  if (count > 4 || count * width * height > MAX_SCRIPT_SAMPLES) {
    throw new ImageFormatError(
      `a JPEG tile of ${width} × ${height} pixels with ${count} components is not supported; convert it to Deflate`,
    );
  }
  try {
    const decoder = await getDecoder(7, {
      tileWidth: width,
      tileHeight: height,
      predictor: 1,
      bitsPerSample: 8,
      planarConfiguration: 1,
    });
    const data = new Uint8Array(await decoder.decodeBlock(stream.slice().buffer));
    if (data.length < count * width * height) throw new RangeError("fewer samples than its header states");
    return { width, height, components: count, data };
  } catch (cause) {
    throw new ImageFormatError("JPEG data is damaged or cut short", { cause });
  }
}
