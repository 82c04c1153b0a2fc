import { ImageFormatError } from "../../image/errors.ts";
import { allocate, type DType, type Raster, type SampleArray } from "../../tiling/grid/raster.ts";

/** Use of a colour map: the colours of a picture, or how a grey image was displayed. */
export type Palette =
  | { kind: "colors"; map: ArrayLike<number>; entries: number; eightBit: boolean }
  | { kind: "lut"; color: string | undefined };

/** Tolerance of an even ramp, of 65535: writers round differently, some to 8 bits. */
const RAMP_SLACK = 3 * 257;

/**
 * Microscopes store a grey image with a colour map that runs evenly from black to one colour (a look-up table, as
 * ImageJ and Leica do): then the image is grey, and the colour is its channel's. Any other map makes a colour
 * picture.
 * @param map `[3, 2^bits]`, 16-bit
 */
export function parseColorMap(map: ArrayLike<number>): Palette {
  const entries = Math.floor(map.length / 3);
  let largest = 0;
  for (let i = 0; i < map.length; i++) largest = Math.max(largest, map[i]!);
  // libtiff's rule: old writers stored 8-bit colours where 16 bits belong.
  const eightBit = largest < 256;
  const scale = eightBit ? 257 : 1;
  const last = [0, 1, 2].map((c) => map[(c + 1) * entries - 1]! * scale);
  const brightest = Math.max(...last);
  let ramp = entries >= 16 && brightest > 32768;
  for (let i = 0; ramp && i < 3 * entries; i++) {
    const c = Math.floor(i / entries);
    ramp = Math.abs(map[i]! * scale - (last[c]! * (i % entries)) / (entries - 1)) <= RAMP_SLACK;
  }
  if (!ramp) return { kind: "colors", map, entries, eightBit };
  const hex = last.map((v) => (v >> 8).toString(16).padStart(2, "0")).join("");
  return { kind: "lut", color: `#${hex}` };
}

/** Maps indices to RGB of 8 bits. */
export function resolvePalette(tile: Raster, palette: Palette & { kind: "colors" }): Raster {
  const [height, width] = tile.shape as [number, number];
  const { map, entries } = palette;
  const down = palette.eightBit ? 0 : 8;
  const out = new Uint8Array(height * width * 3);
  const { data } = tile;
  for (let p = 0; p < data.length; p++) {
    const index = data[p]!;
    if (index >= entries)
      throw new ImageFormatError(`a palette image is damaged: colour ${index} of ${entries}`);
    for (let c = 0; c < 3; c++) out[3 * p + c] = map[c * entries + index]! >> down;
  }
  return { data: out, shape: [height, width, 3] };
}

/** Inverts grey that is stored with white as 0, at the largest value of its bits. In place. */
export function invert(data: SampleArray, bits: number): void {
  const max = 2 ** bits - 1;
  for (let i = 0; i < data.length; i++) data[i] = max - data[i]!;
}

/** Widens grey and colours of fewer than 8 bits to 8, so that white stays white. In place. */
export function widen(data: SampleArray, bits: number): void {
  const factor = 255 / (2 ** bits - 1);
  for (let i = 0; i < data.length; i++) data[i] = Math.round(data[i]! * factor);
}

/** Keeps the first channels of `[height, width, samples]`. */
export function firstChannels(tile: Raster, channels: number, dtype: DType): Raster {
  const [height, width, samples] = tile.shape as [number, number, number];
  if (channels === samples) return tile;
  const { data } = tile;
  const out = allocate(dtype, height * width * channels);
  for (let p = 0, from = 0, to = 0; p < height * width; p++, from += samples, to += channels) {
    for (let c = 0; c < channels; c++) out[to + c] = data[from + c]!;
  }
  return { data: out, shape: [height, width, channels] };
}
