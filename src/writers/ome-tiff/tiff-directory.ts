/** TIFF 6.0 field types, and BigTIFF's 64-bit integer. */
export const ASCII = 2;
export const SHORT = 3;
export const LONG = 4;
export const RATIONAL = 5;
export const LONG8 = 16;
const TYPE_BYTES: Record<number, number> = { [ASCII]: 1, [SHORT]: 2, [LONG]: 4, [RATIONAL]: 8, [LONG8]: 8 };

/** One tag; a RATIONAL value is a pair of entries: numerator, denominator. */
export interface TiffField {
  tag: number;
  type: number;
  values: ArrayLike<number>;
}

export const HEADER_BYTES = { classic: 8, big: 16 } as const;

/** File header (little-endian) that points at the first directory. */
export function tiffHeader(big: boolean, firstDirectory: number): Uint8Array {
  const out = new Uint8Array(big ? HEADER_BYTES.big : HEADER_BYTES.classic);
  const view = new DataView(out.buffer);
  view.setUint16(0, 0x4949, true);
  view.setUint16(2, big ? 43 : 42, true);
  if (big) {
    view.setUint16(4, 8, true);
    view.setBigUint64(8, BigInt(firstDirectory), true);
  } else view.setUint32(4, firstDirectory, true);
  return out;
}

/**
 * Encodes one image file directory with the values that do not fit in it, for file offset `at` (which must be even).
 * No directory follows it.
 * @returns the bytes, and the offset of the directory itself in the file
 */
export function tiffDirectory(
  fields: readonly TiffField[],
  at: number,
  big: boolean,
): { bytes: Uint8Array; directory: number } {
  const inline = big ? 8 : 4;
  const entryBytes = big ? 20 : 12;
  const sorted = [...fields].sort((a, b) => a.tag - b.tag);
  let external = 0;
  const externalAt = sorted.map(({ type, values }) => {
    const bytes = values.length * TYPE_BYTES[type]! * (type === RATIONAL ? 0.5 : 1);
    if (bytes <= inline) return -1;
    const offset = external;
    external += Math.ceil(bytes / 8) * 8;
    return offset;
  });
  const head = big ? 8 : 2;
  const out = new Uint8Array(external + head + sorted.length * entryBytes + inline);
  const view = new DataView(out.buffer);
  if (big) view.setBigUint64(external, BigInt(sorted.length), true);
  else view.setUint16(external, sorted.length, true);
  sorted.forEach(({ tag, type, values }, i) => {
    const entry = external + head + i * entryBytes;
    const count = type === RATIONAL ? values.length / 2 : values.length;
    view.setUint16(entry, tag, true);
    view.setUint16(entry + 2, type, true);
    if (big) view.setBigUint64(entry + 4, BigInt(count), true);
    else view.setUint32(entry + 4, count, true);
    const valueAt = entry + (big ? 12 : 8);
    const offset = externalAt[i]!;
    if (offset < 0) writeValues(view, valueAt, type, values);
    else {
      writeValues(view, offset, type, values);
      if (big) view.setBigUint64(valueAt, BigInt(at + offset), true);
      else view.setUint32(valueAt, at + offset, true);
    }
  });
  return { bytes: out, directory: at + external };
}

function writeValues(view: DataView, at: number, type: number, values: ArrayLike<number>): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (type === ASCII) view.setUint8(at + i, value);
    else if (type === SHORT) view.setUint16(at + i * 2, value, true);
    else if (type === LONG8) view.setBigUint64(at + i * 8, BigInt(value), true);
    else view.setUint32(at + i * 4, value, true);
  }
}
