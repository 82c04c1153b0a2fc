import type { SampleArray } from "../../tiling/grid/raster.ts";
import type { AttributeName } from "./attributes.ts";
import type { DataSet } from "./data-set.ts";
import { UnsupportedDicomError } from "./errors.ts";

/** Palette of a PALETTE COLOR image (PS3.3 section C.7.6.3.1.5), 8 bits per channel. */
export interface DicomPalette {
  /** The value of the first colour; lower values have it too. */
  first: number;
  /** `[entries, 3]`. */
  colors: Uint8Array;
}

const CHANNELS: readonly (readonly [descriptor: AttributeName, data: AttributeName])[] = [
  ["redDescriptor", "redPalette"],
  ["greenDescriptor", "greenPalette"],
  ["blueDescriptor", "bluePalette"],
];

/** @throws {UnsupportedDicomError} when the palette is incomplete */
export function readPalette(dataSet: DataSet): DicomPalette {
  const channels = CHANNELS.map(([descriptor, data]) => {
    const [stated, first, bits] = dataSet.numbers(descriptor);
    // 0 means 65536, which 16 bits cannot hold.
    const entries = stated === 0 ? 65536 : (stated ?? 0);
    const bytes = dataSet.bytes(data);
    if (!(entries >= 1 && first !== undefined) || bytes.length === 0)
      throw new UnsupportedDicomError(
        "its colours come from a palette that is missing or stored in segments, which is not supported; convert it to RGB",
      );
    if (bytes.length < entries)
      throw new UnsupportedDicomError(`its palette holds ${bytes.length} bytes for ${entries} colours`);
    return { entries, first, wide: bytes.length >= 2 * entries, bits, bytes };
  });
  const { entries, first } = channels[0]!;
  if (channels.some((channel) => channel.entries !== entries || channel.first !== first))
    throw new UnsupportedDicomError("its palettes of red, green and blue are of different sizes");
  const littleEndian = dataSet.isLittleEndian("redPalette");
  const colors = new Uint8Array(3 * entries);
  for (const [c, { wide, bits, bytes }] of channels.entries()) {
    const value = (i: number) => {
      // Two bytes per word, the first in its lower half.
      if (!wide) return bytes[littleEndian ? i : i ^ 1]!;
      const [low, high] = littleEndian ? [2 * i, 2 * i + 1] : [2 * i + 1, 2 * i];
      return bytes[high]! * 256 + bytes[low]!;
    };
    const values = Array.from({ length: entries }, (_, i) => value(i));
    // Some files state 16 bits and use 8.
    const shift = wide && bits !== 8 && values.some((v) => v > 255) ? 8 : 0;
    for (const [i, v] of values.entries()) colors[3 * i + c] = v >> shift;
  }
  return { first: signedFirst(first, dataSet), colors };
}

/** Descriptors are unsigned in files without value representations, also where samples are signed. */
function signedFirst(first: number, dataSet: DataSet): number {
  return dataSet.number("pixelRepresentation") === 1 && first > 32767 ? first - 65536 : first;
}

/** Maps values to RGB; values beyond either end get the colour of that end. */
export function paint(values: SampleArray, { first, colors }: DicomPalette): Uint8Array {
  const last = colors.length / 3 - 1;
  const out = new Uint8Array(3 * values.length);
  for (let i = 0, to = 0; i < values.length; i++, to += 3) {
    const at = 3 * Math.max(0, Math.min(last, values[i]! - first));
    out[to] = colors[at]!;
    out[to + 1] = colors[at + 1]!;
    out[to + 2] = colors[at + 2]!;
  }
  return out;
}
