import type { ByteSink } from "../../image/byte-sink.ts";
import type { LabelMapInfo, LabelSink, LabelTile, WrittenOutput } from "../../image/label-sink.ts";
import { product } from "../../tiling/grid/raster.ts";
import { pyramidLevels } from "../../tiling/objects/label-pyramid.ts";
import { zlibTile } from "../base/label-tile.ts";
import { labelOmeXml, micrometersPerSample } from "./ome-xml.ts";
import {
  ASCII,
  HEADER_BYTES,
  LONG,
  LONG8,
  RATIONAL,
  SHORT,
  type TiffField,
  tiffDirectory,
  tiffHeader,
} from "./tiff-directory.ts";

/** Above this a classic TIFF's 32-bit offsets could overflow. */
const CLASSIC_LIMIT_BYTES = 2 ** 32 - 2 ** 20;

/** Deflate's stored blocks cost 5 bytes per 16 KB at worst; wrapping 6. */
const WORST_EXPANSION = 1.001;

/**
 * Writes a label pyramid as OME-TIFF: one plane, tiles of one chunk, deflate, levels 1.. in SubIFDs (the layout of
 * Bio-Formats 6 and later). Tiles of all levels are appended as they come, so memory is the tile tables alone.
 * Background tiles all point at one shared tile: readers that do not know sparse TIFF open it too.
 *
 * Written by hand: no JavaScript library writes pyramids, or tiles as they come.
 */
export async function createOmeTiff(
  sink: ByteSink,
  info: LabelMapInfo,
  options: { bigTiff?: boolean } = {},
): Promise<LabelSink> {
  if (info.axes !== "yx") {
    throw new RangeError("an OME-TIFF label map is 2-D; choose the .ome.zarr output for a volume");
  }
  if (info.chunk.some((c) => c % 16 !== 0)) {
    throw new RangeError(`TIFF tiles must be multiples of 16 samples, the chunk is ${info.chunk.join("x")}`);
  }
  const levels = pyramidLevels(info.shape, info.chunk);
  const tileBytes = product(info.chunk) * (info.dtype === "uint8" ? 1 : 4);
  const tiles = levels.reduce((n, { shape }) => n + product(tileGrid(shape, info.chunk)), 0);
  const big = options.bigTiff ?? tiles * tileBytes * WORST_EXPANSION > CLASSIC_LIMIT_BYTES;
  // The header is known only at the end, when the directories are in place.
  await sink.append(new Uint8Array(big ? HEADER_BYTES.big : HEADER_BYTES.classic));
  return new OmeTiff(sink, info, big, levels);
}

class OmeTiff implements LabelSink {
  readonly #sink: ByteSink;
  readonly #info: LabelMapInfo;
  readonly #big: boolean;
  #appended: Promise<void> = Promise.resolve();
  readonly #levels: {
    shape: readonly number[];
    grid: number[];
    offsets: Float64Array;
    byteCounts: Uint32Array;
  }[];

  constructor(
    sink: ByteSink,
    info: LabelMapInfo,
    big: boolean,
    levels: readonly { shape: readonly number[] }[],
  ) {
    this.#sink = sink;
    this.#info = info;
    this.#big = big;
    this.#levels = levels.map(({ shape }) => {
      const grid = tileGrid(shape, info.chunk);
      const count = product(grid);
      return { shape, grid, offsets: new Float64Array(count), byteCounts: new Uint32Array(count) };
    });
  }

  writeTile(level: number, index: readonly number[], tile: LabelTile): Promise<void> {
    const { grid, offsets, byteCounts } = this.#levels[level]!;
    const at = index[0]! * grid[1]! + index[1]!;
    const bytes = zlibTile(tile, this.#info.chunk.at(-1)!);
    // Calls may overlap: each reserves its place in the file when called, and appends run one after the other.
    this.#appended = this.#appended.then(() => {
      offsets[at] = this.#sink.byteLength;
      byteCounts[at] = bytes.length;
      return this.#sink.append(bytes);
    });
    return this.#appended;
  }

  async finalize(): Promise<WrittenOutput> {
    await this.#appended;
    await this.#fillBackground();
    await this.#align();
    const subDirectories: number[] = [];
    for (let level = this.#levels.length - 1; level > 0; level--) {
      subDirectories.unshift(await this.#directory(this.#fields(level, [])));
    }
    const first = await this.#directory(this.#fields(0, subDirectories));
    return this.#sink.finish(tiffHeader(this.#big, first));
  }

  async abort(): Promise<void> {
    await this.#appended.catch(() => undefined);
    await this.#sink.abort();
  }

  async #fillBackground(): Promise<void> {
    if (this.#levels.every(({ byteCounts }) => !byteCounts.includes(0))) return;
    const length = product(this.#info.chunk);
    const empty = this.#info.dtype === "uint8" ? new Uint8Array(length) : new Uint32Array(length);
    const bytes = zlibTile({ data: empty }, this.#info.chunk.at(-1)!);
    const offset = this.#sink.byteLength;
    await this.#sink.append(bytes);
    for (const { offsets, byteCounts } of this.#levels) {
      for (let i = 0; i < byteCounts.length; i++) {
        if (byteCounts[i] !== 0) continue;
        offsets[i] = offset;
        byteCounts[i] = bytes.length;
      }
    }
  }

  async #align(): Promise<void> {
    const over = this.#sink.byteLength % 8;
    if (over > 0) await this.#sink.append(new Uint8Array(8 - over));
  }

  async #directory(fields: TiffField[]): Promise<number> {
    const { bytes, directory } = tiffDirectory(fields, this.#sink.byteLength, this.#big);
    await this.#sink.append(bytes);
    await this.#align();
    return directory;
  }

  #fields(level: number, subDirectories: number[]): TiffField[] {
    const { shape, offsets, byteCounts } = this.#levels[level]!;
    const info = this.#info;
    const offset = this.#big ? LONG8 : LONG;
    const fields: TiffField[] = [
      { tag: 254, type: LONG, values: [level === 0 ? 0 : 1] }, // NewSubfileType: reduced resolution
      { tag: 256, type: LONG, values: [shape[1]!] },
      { tag: 257, type: LONG, values: [shape[0]!] },
      { tag: 258, type: SHORT, values: [info.dtype === "uint8" ? 8 : 32] },
      { tag: 259, type: SHORT, values: [8] }, // Compression: Adobe deflate
      { tag: 262, type: SHORT, values: [1] }, // PhotometricInterpretation: BlackIsZero
      { tag: 277, type: SHORT, values: [1] },
      { tag: 284, type: SHORT, values: [1] },
      { tag: 322, type: LONG, values: [info.chunk[1]!] },
      { tag: 323, type: LONG, values: [info.chunk[0]!] },
      { tag: 324, type: offset, values: offsets },
      { tag: 325, type: LONG, values: byteCounts },
      { tag: 339, type: SHORT, values: [1] }, // SampleFormat: unsigned
    ];
    const um = micrometersPerSample(info);
    if (um !== undefined) {
      const factor = [0, 1].map((a) => this.#levels[0]!.shape[a]! / shape[a]!);
      fields.push(
        { tag: 282, type: RATIONAL, values: rational(10_000 / (um[1] * factor[1]!)) },
        { tag: 283, type: RATIONAL, values: rational(10_000 / (um[0] * factor[0]!)) },
        { tag: 296, type: SHORT, values: [3] }, // ResolutionUnit: centimetre
      );
    }
    if (level === 0) {
      fields.push(
        { tag: 270, type: ASCII, values: asciiZ(labelOmeXml(info)) },
        { tag: 305, type: ASCII, values: asciiZ("Tilewright") },
      );
      if (subDirectories.length > 0) fields.push({ tag: 330, type: offset, values: subDirectories });
    }
    return fields;
  }
}

function tileGrid(shape: readonly number[], chunk: readonly number[]): number[] {
  return shape.map((n, a) => Math.ceil(n / chunk[a]!));
}

function asciiZ(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}

/** Numerator and denominator, both below 2^32, with as many decimals as fit. */
function rational(value: number): [number, number] {
  let denominator = 1_000_000;
  while (value * denominator >= 2 ** 32 && denominator > 1) denominator /= 10;
  return [Math.min(Math.round(value * denominator), 2 ** 32 - 1), denominator];
}
