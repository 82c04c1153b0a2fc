import { Unzlib } from "fflate";
import { ImageFormatError } from "../../image/errors.ts";
import type { Raster } from "../../tiling/grid/raster.ts";
import { chunks, PALETTE, type PngHeader, readHeader } from "./png-chunks.ts";

/** Stored bytes inflated at a time: their output, at most 1032 times as much, is all that is held. */
const PIECE_BYTES = 16 * 1024;

/** Adam7: start and step of each pass (PNG 3rd edition, section 8). */
const PASSES = [
  { x: 0, y: 0, dx: 8, dy: 8 },
  { x: 4, y: 0, dx: 8, dy: 8 },
  { x: 0, y: 4, dx: 4, dy: 8 },
  { x: 2, y: 0, dx: 4, dy: 4 },
  { x: 0, y: 2, dx: 2, dy: 4 },
  { x: 1, y: 0, dx: 2, dy: 2 },
  { x: 0, y: 1, dx: 1, dy: 2 },
] as const;
const WHOLE = [{ x: 0, y: 0, dx: 1, dy: 1 }] as const;

/**
 * Decodes a PNG to grey or RGB of 8 or 16 bits: smaller depths and palettes are widened, alpha is dropped.
 *
 * Written by hand beside fast-png, which encodes: its decoder holds a picture three times and rejects rare pictures (a
 * suggested palette, interlaced grey of 2 bits). Here each row is written as it is inflated.
 * @throws {ImageFormatError} when it is damaged or cut short
 */
export function decodePng(bytes: Uint8Array): Raster {
  const header = readHeader(bytes);
  const rows = new RowWriter(header, findPalette(bytes, header));
  const inflate = new Unzlib((piece) => rows.write(piece));
  for (const { type, data } of chunks(bytes)) {
    if (type !== "IDAT") continue;
    for (let at = 0; at < data.length && !rows.done; at += PIECE_BYTES) {
      try {
        inflate.push(data.subarray(at, at + PIECE_BYTES));
      } catch (cause) {
        if (cause instanceof ImageFormatError) throw cause;
        throw new ImageFormatError(`its compressed data cannot be unpacked (${(cause as Error).message})`, {
          cause,
        });
      }
    }
  }
  if (!rows.done) throw new ImageFormatError(`its image data ends after ${rows.finished} rows`);
  return rows.raster;
}

function findPalette(bytes: Uint8Array, { colorType }: PngHeader): Uint8Array | undefined {
  if (colorType !== PALETTE) return undefined;
  for (const { type, data } of chunks(bytes)) if (type === "PLTE") return data;
  throw new ImageFormatError("its palette is missing");
}

/** Collects inflated bytes to rows, removes the filter, and places the samples. */
class RowWriter {
  readonly raster: Raster<Uint8Array | Uint16Array>;
  finished = 0;
  done = false;
  readonly #header: PngHeader;
  readonly #palette: Uint8Array | undefined;
  readonly #passes: readonly { x: number; y: number; dx: number; dy: number }[];
  /** Bytes from a sample to the previous one, for the filters. */
  readonly #step: number;
  #pass = -1;
  #row = 0;
  #rows = 0;
  #columns = 0;
  /** The filter's number, then the row's bytes. */
  #line = new Uint8Array(0);
  #above = new Uint8Array(0);
  #filled = 0;

  constructor(header: PngHeader, palette: Uint8Array | undefined) {
    const { width, height, depth, colorType, samples } = header;
    this.#header = header;
    this.#palette = palette;
    this.#passes = header.interlaced ? PASSES : WHOLE;
    this.#step = Math.max(1, (samples * depth) / 8);
    const channels = colorType === PALETTE || samples >= 3 ? 3 : 1;
    const length = width * height * channels;
    const data = depth === 16 ? new Uint16Array(length) : new Uint8Array(length);
    this.raster = { data, shape: [height, width, channels] };
    this.#nextPass();
  }

  write(piece: Uint8Array): void {
    for (let at = 0; at < piece.length && !this.done; ) {
      const some = Math.min(this.#line.length - this.#filled, piece.length - at);
      this.#line.set(piece.subarray(at, at + some), this.#filled);
      this.#filled += some;
      at += some;
      if (this.#filled === this.#line.length) this.#endRow();
    }
  }

  #nextPass(): void {
    const { width, height, depth, samples } = this.#header;
    for (this.#pass++; this.#pass < this.#passes.length; this.#pass++) {
      const { x, y, dx, dy } = this.#passes[this.#pass]!;
      this.#columns = Math.max(0, Math.ceil((width - x) / dx));
      this.#rows = Math.max(0, Math.ceil((height - y) / dy));
      if (this.#columns === 0 || this.#rows === 0) continue;
      const length = 1 + Math.ceil((this.#columns * samples * depth) / 8);
      this.#line = new Uint8Array(length);
      this.#above = new Uint8Array(length);
      this.#row = 0;
      this.#filled = 0;
      return;
    }
    this.done = true;
  }

  #endRow(): void {
    unfilter(this.#line, this.#above, this.#step);
    this.#store();
    [this.#line, this.#above] = [this.#above, this.#line];
    this.#filled = 0;
    this.finished++;
    if (++this.#row === this.#rows) this.#nextPass();
  }

  #store(): void {
    const { width, depth, samples } = this.#header;
    const { data, shape } = this.raster;
    const channels = shape[2]!;
    const { x, y, dx, dy } = this.#passes[this.#pass]!;
    const line = this.#line;
    let to = ((y + this.#row * dy) * width + x) * channels;
    const step = dx * channels;
    if (this.#palette) {
      const entries = Math.floor(this.#palette.length / 3);
      for (let i = 0; i < this.#columns; i++, to += step) {
        const index = packed(line, i, depth);
        if (index >= entries) throw new ImageFormatError(`colour ${index} of a palette of ${entries}`);
        for (let c = 0; c < 3; c++) data[to + c] = this.#palette[3 * index + c]!;
      }
    } else if (depth < 8) {
      // White stays white.
      const factor = 255 / (2 ** depth - 1);
      for (let i = 0; i < this.#columns; i++, to += step) data[to] = packed(line, i, depth) * factor;
    } else if (depth === 8) {
      if (dx === 1 && channels === samples) data.set(line.subarray(1), to);
      else
        for (let i = 0, from = 1; i < this.#columns; i++, from += samples, to += step)
          for (let c = 0; c < channels; c++) data[to + c] = line[from + c]!;
    } else {
      for (let i = 0, from = 1; i < this.#columns; i++, from += 2 * samples, to += step)
        for (let c = 0; c < channels; c++) data[to + c] = line[from + 2 * c]! * 256 + line[from + 2 * c + 1]!;
    }
  }
}

/** Sample `i` of a row behind its filter byte. */
function packed(line: Uint8Array, i: number, depth: number): number {
  const bit = i * depth;
  return (line[1 + (bit >> 3)]! >> (8 - depth - (bit & 7))) & (2 ** depth - 1);
}

/**
 * Reverses a filter (PNG 3rd edition, section 9). In place; the row above is unfiltered already, and zero above the
 * first.
 */
function unfilter(line: Uint8Array, above: Uint8Array, step: number): void {
  const end = line.length;
  switch (line[0]) {
    case 0:
      return;
    case 1:
      for (let i = 1 + step; i < end; i++) line[i] = line[i]! + line[i - step]!;
      return;
    case 2:
      for (let i = 1; i < end; i++) line[i] = line[i]! + above[i]!;
      return;
    case 3:
      for (let i = 1; i < end; i++) {
        const left = i > step ? line[i - step]! : 0;
        line[i] = line[i]! + ((left + above[i]!) >> 1);
      }
      return;
    case 4:
      for (let i = 1; i < end; i++) {
        const left = i > step ? line[i - step]! : 0;
        const up = above[i]!;
        const corner = i > step ? above[i - step]! : 0;
        const estimate = left + up - corner;
        const a = Math.abs(estimate - left);
        const b = Math.abs(estimate - up);
        const c = Math.abs(estimate - corner);
        line[i] = line[i]! + (a <= b && a <= c ? left : b <= c ? up : corner);
      }
      return;
    default:
      throw new ImageFormatError(`PNG filter ${line[0]} does not exist`);
  }
}
