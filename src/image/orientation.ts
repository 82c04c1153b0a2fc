/** How viewers should turn a picture (TIFF and EXIF tag 274), in words. */
const TURNS: Readonly<Record<number, string>> = {
  2: "mirrored left to right",
  3: "turned by 180°",
  4: "mirrored top to bottom",
  5: "mirrored along its diagonal from top left",
  6: "turned by 90° clockwise",
  7: "mirrored along its diagonal from top right",
  8: "turned by 90° counter-clockwise",
};

/**
 * A note for an orientation other than the stored one. Pixels stay as they are stored, like in QuPath, OpenSlide and
 * Bio-Formats, so that results lie on the same raster there.
 */
export function orientationNote(orientation: number | undefined): string | undefined {
  const turn = orientation === undefined ? undefined : TURNS[orientation];
  return turn && `viewers are asked to show it ${turn} (${orientation}); pixels and results are as stored`;
}

/** The orientation tag of the first directory of a TIFF structure, as EXIF embeds it; undefined without the tag. */
export function exifOrientation(tiff: Uint8Array): number | undefined {
  const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.byteLength);
  if (tiff.length < 14) return undefined;
  const littleEndian = tiff[0] === 0x49;
  if (view.getUint16(2, littleEndian) !== 42) return undefined;
  const at = view.getUint32(4, littleEndian);
  if (at + 2 > tiff.length) return undefined;
  const count = view.getUint16(at, littleEndian);
  for (let i = 0, entry = at + 2; i < count && entry + 12 <= tiff.length; i++, entry += 12) {
    if (view.getUint16(entry, littleEndian) !== 274) continue;
    const value = view.getUint16(entry + 8, littleEndian);
    return value >= 1 && value <= 8 ? value : undefined;
  }
  return undefined;
}
