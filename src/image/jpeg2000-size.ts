import { ImageFormatError } from "./errors.ts";

/** The SIZ marker of a JPEG 2000 codestream, or of the one inside a JP2 file. */
export function parseJpeg2000Size(bytes: Uint8Array): { width: number; height: number; subsampled: boolean } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const limit = Math.min(bytes.length - 40, 4096);
  for (let i = 0; i <= limit; i++) {
    // SOC directly followed by SIZ
    if (view.getUint32(i) !== 0xff4fff51) continue;
    const siz = i + 6;
    const components = view.getUint16(siz + 34);
    if (siz + 36 + 3 * components > bytes.length) break;
    let subsampled = false;
    for (let c = 0; c < components; c++) {
      const at = siz + 36 + 3 * c;
      if (bytes[at + 1] !== 1 || bytes[at + 2] !== 1) subsampled = true;
    }
    return {
      width: view.getUint32(siz + 2) - view.getUint32(siz + 10),
      height: view.getUint32(siz + 6) - view.getUint32(siz + 14),
      subsampled,
    };
  }
  throw new ImageFormatError("a JPEG 2000 tile is damaged: its size marker is missing");
}
