/** Bytes per value of each TIFF field type, by type number (TIFF 6.0 section 2; TechNote 1; BigTIFF). */
const FIELD_BYTES: readonly number[] = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8];

/** Undefined for types that do not exist. */
export function fieldBytes(type: number): number | undefined {
  return FIELD_BYTES[type] || undefined;
}

/** A 64-bit count or offset; no file reaches 2^53. */
export function readCount(view: DataView, at: number, littleEndian: boolean): number {
  return Number(view.getBigUint64(at, littleEndian));
}

/** Values of a tag; rationals as pairs. Undefined for types that are not numbers. */
export function fieldValues(
  bytes: Uint8Array,
  type: number,
  count: number,
  littleEndian: boolean,
): ArrayLike<number> | undefined {
  const le = littleEndian;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (type) {
    case 1:
    case 2:
    case 7:
      return bytes;
    case 3:
      return Uint16Array.from({ length: count }, (_, i) => view.getUint16(2 * i, le));
    case 4:
    case 13:
      return Uint32Array.from({ length: count }, (_, i) => view.getUint32(4 * i, le));
    case 5:
      return Uint32Array.from({ length: 2 * count }, (_, i) => view.getUint32(4 * i, le));
    case 6:
      return Int8Array.from(bytes, (value) => (value << 24) >> 24);
    case 8:
      return Int16Array.from({ length: count }, (_, i) => view.getInt16(2 * i, le));
    case 9:
      return Int32Array.from({ length: count }, (_, i) => view.getInt32(4 * i, le));
    case 10:
      return Int32Array.from({ length: 2 * count }, (_, i) => view.getInt32(4 * i, le));
    case 11:
      return Float32Array.from({ length: count }, (_, i) => view.getFloat32(4 * i, le));
    case 12:
      return Float64Array.from({ length: count }, (_, i) => view.getFloat64(8 * i, le));
    case 16:
    case 18:
      return Float64Array.from({ length: count }, (_, i) => readCount(view, 8 * i, le));
    case 17:
      return Float64Array.from({ length: count }, (_, i) => Number(view.getBigInt64(8 * i, le)));
    default:
      return undefined;
  }
}

/** Text up to its first zero. UTF-8, as OME-TIFF requires; else Latin-1, in which ImageJ and scanners write "µm". */
export function decodeText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  const text = end < 0 ? bytes : bytes.subarray(0, end);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(text);
  } catch {
    let latin = "";
    for (const byte of text) latin += String.fromCharCode(byte);
    return latin;
  }
}
