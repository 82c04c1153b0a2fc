import { ImageFormatError } from "../image/errors.ts";
import type { DecodedImage } from "./decoders.ts";

/** Converts in place, full-range BT.601, as JFIF and Aperio's 33003 use it. */
export function ycbcrToRgb(image: DecodedImage): void {
  const { data } = image;
  if (image.components < 3 || !(data instanceof Uint8Array)) {
    throw new ImageFormatError("a YCbCr tile does not hold three 8-bit channels");
  }
  const step = image.components;
  const clamped = new Uint8ClampedArray(data.buffer, data.byteOffset, data.length);
  for (let i = 0; i + 2 < data.length; i += step) {
    const y = data[i]!;
    const cb = data[i + 1]! - 128;
    const cr = data[i + 2]! - 128;
    clamped[i] = y + 1.402 * cr;
    clamped[i + 1] = y - 0.344136 * cb - 0.714136 * cr;
    clamped[i + 2] = y + 1.772 * cb;
  }
}
