import { ImageFormatError } from "../image/errors.ts";

export interface Jpeg2000Size {
  width: number;
  height: number;
  components: number;
  tiles: number;
  subsampled: boolean;
}

/** Parses the SIZ marker of a JPEG 2000 codestream, or of the one inside a JP2 file. */
export function parseJpeg2000Size(bytes: Uint8Array): Jpeg2000Size {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Up to its count of components.
  const limit = Math.min(bytes.length - 42, 4096);
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
    const along = (end: number, from: number, tile: number) =>
      Math.ceil((view.getUint32(siz + end) - view.getUint32(siz + from)) / view.getUint32(siz + tile));
    return {
      width: view.getUint32(siz + 2) - view.getUint32(siz + 10),
      height: view.getUint32(siz + 6) - view.getUint32(siz + 14),
      components,
      tiles: along(2, 26, 18) * along(6, 30, 22),
      subsampled,
    };
  }
  throw new ImageFormatError("a JPEG 2000 tile is damaged: its size marker is missing");
}
