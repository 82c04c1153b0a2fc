import { zlibSync } from "fflate";
import type { Raster, SampleArray } from "../../src/tiling/grid/raster.ts";

/** One page of a generated TIFF. Samples `[height, width, samples]`. */
export interface MadePage {
  image: Raster;
  /** `[height, width]` of tiles; strips of `rowsPerStrip` rows when absent. */
  tile?: [number, number];
  rowsPerStrip?: number;
  planar?: 1 | 2;
  compression?: "none" | "deflate";
  predictor?: 1 | 2;
  photometric?: number;
  extraSamples?: number[];
  subfileType?: number;
  description?: string;
  /** Pixels per centimetre. */
  resolution?: number;
  /** Pages listed in this page's SubIFD tag. */
  subPages?: MadePage[];
  /** Packs each block for storage, given its samples in the file's byte order: any compression, or damage. */
  pack?: (bytes: Uint8Array) => Uint8Array;
  /** Raw values that replace computed ones, by tag; undefined omits the tag: for unusual and damaged files. */
  override?: Record<number, { type: number; values: number[] } | string | undefined>;
}

export interface MadeOptions {
  littleEndian?: boolean;
  bigTiff?: boolean;
}

const FORMATS: Record<string, number> = { Uint: 1, Int: 2, Float: 3 };

/** A TIFF or BigTIFF file of these pages. */
export function makeTiff(pages: readonly MadePage[], options: MadeOptions = {}): Uint8Array {
  const { littleEndian = true, bigTiff = false } = options;
  const parts: Uint8Array[] = [];
  let size = 0;
  const append = (bytes: Uint8Array): number => {
    const at = size;
    parts.push(bytes);
    size += bytes.length;
    if (size % 2 === 1) {
      parts.push(new Uint8Array(1));
      size++;
    }
    return at;
  };
  const header = new Uint8Array(bigTiff ? 16 : 8);
  append(header);

  const writePage = (page: MadePage): { offset: number; setNext: (next: number) => void } => {
    const tags = tagsOf(page, littleEndian, append, (sub) => writePage(sub).offset);
    const entryBytes = bigTiff ? 20 : 12;
    const countBytes = bigTiff ? 8 : 2;
    const ifd = new Uint8Array(countBytes + tags.length * entryBytes + (bigTiff ? 8 : 4));
    const view = new DataView(ifd.buffer);
    const setOffset = (at: number, value: number) =>
      bigTiff ? view.setBigUint64(at, BigInt(value), littleEndian) : view.setUint32(at, value, littleEndian);
    if (bigTiff) view.setBigUint64(0, BigInt(tags.length), littleEndian);
    else view.setUint16(0, tags.length, littleEndian);
    tags.forEach(({ tag, type, count, bytes }, i) => {
      const at = countBytes + i * entryBytes;
      view.setUint16(at, tag, littleEndian);
      view.setUint16(at + 2, type, littleEndian);
      setOffset(at + 4, count);
      const inline = bigTiff ? 8 : 4;
      const valueAt = at + (bigTiff ? 12 : 8);
      if (bytes.length <= inline) ifd.set(bytes, valueAt);
      else setOffset(valueAt, append(bytes));
    });
    const offset = append(ifd);
    return { offset, setNext: (next) => setOffset(ifd.length - (bigTiff ? 8 : 4), next) };
  };

  let setPrevious = (next: number) => {
    const view = new DataView(header.buffer);
    header.set(littleEndian ? [0x49, 0x49] : [0x4d, 0x4d]);
    view.setUint16(2, bigTiff ? 43 : 42, littleEndian);
    if (bigTiff) {
      view.setUint16(4, 8, littleEndian);
      view.setBigUint64(8, BigInt(next), littleEndian);
    } else {
      view.setUint32(4, next, littleEndian);
    }
  };
  for (const page of pages) {
    const { offset, setNext } = writePage(page);
    setPrevious(offset);
    setPrevious = setNext;
  }

  const out = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

interface Tag {
  tag: number;
  type: number;
  count: number;
  bytes: Uint8Array;
}

function tagsOf(
  page: MadePage,
  littleEndian: boolean,
  append: (bytes: Uint8Array) => number,
  writeSub: (page: MadePage) => number,
): Tag[] {
  const { image, tile, planar = 1, compression = "none", predictor = 1 } = page;
  const [height, width, samples] = image.shape as [number, number, number];
  const bits = image.data.BYTES_PER_ELEMENT * 8;
  const kind = image.data.constructor.name.replace(/(8|16|32|64)(Clamped)?Array$/, "");
  const tags: Tag[] = [];
  const short = (tag: number, ...values: number[]) => tags.push(numbers(tag, 3, values, littleEndian));
  const long = (tag: number, ...values: number[]) => tags.push(numbers(tag, 4, values, littleEndian));

  const rows = tile?.[0] ?? page.rowsPerStrip ?? height;
  const columns = tile?.[1] ?? width;
  const offsets: number[] = [];
  const counts: number[] = [];
  for (let plane = 0; plane < (planar === 2 ? samples : 1); plane++) {
    for (let y = 0; y < height; y += rows) {
      for (let x = 0; x < width; x += columns) {
        const stored = tile ? rows : Math.min(rows, height - y);
        const block = cut(image, y, x, stored, columns, planar === 2 ? plane : undefined);
        if (predictor === 2) differences(block, stored, columns, planar === 2 ? 1 : samples);
        let bytes = toBytes(block, littleEndian);
        if (compression === "deflate") bytes = zlibSync(bytes);
        if (page.pack) bytes = page.pack(bytes);
        counts.push(bytes.length);
        offsets.push(append(bytes));
      }
    }
  }

  if (page.subfileType !== undefined) long(254, page.subfileType);
  long(256, width);
  long(257, height);
  short(258, ...new Array<number>(samples).fill(bits));
  short(259, compression === "deflate" ? 8 : 1);
  short(262, page.photometric ?? (samples >= 3 ? 2 : 1));
  if (page.description !== undefined) {
    const bytes = new TextEncoder().encode(`${page.description}\0`);
    tags.push({ tag: 270, type: 2, count: bytes.length, bytes });
  }
  if (!tile) long(273, ...offsets);
  short(277, samples);
  if (!tile) {
    long(278, rows);
    long(279, ...counts);
  }
  if (page.resolution !== undefined) {
    const pair = [Math.round(page.resolution * 1000), 1000];
    tags.push({ ...numbers(282, 4, pair, littleEndian), type: 5, count: 1 });
    tags.push({ ...numbers(283, 4, pair, littleEndian), type: 5, count: 1 });
  }
  short(284, planar);
  if (page.resolution !== undefined) short(296, 3);
  if (predictor !== 1) short(317, predictor);
  if (tile) {
    long(322, columns);
    long(323, rows);
    long(324, ...offsets);
    long(325, ...counts);
  }
  if (page.subPages) long(330, ...page.subPages.map(writeSub));
  if (page.extraSamples) short(338, ...page.extraSamples);
  short(339, ...new Array<number>(samples).fill(FORMATS[kind]!));
  for (const [number, value] of Object.entries(page.override ?? {})) {
    const tag = Number(number);
    const at = tags.findIndex((t) => t.tag === tag);
    if (at >= 0) tags.splice(at, 1);
    if (typeof value === "string") {
      const bytes = new TextEncoder().encode(`${value}\0`);
      tags.push({ tag, type: 2, count: bytes.length, bytes });
    } else if (value) tags.push(numbers(tag, value.type, value.values, littleEndian));
  }
  return tags.sort((a, b) => a.tag - b.tag);
}

/** Longs for type 4, shorts for any other type, also unknown ones. */
function numbers(tag: number, type: number, values: number[], littleEndian: boolean): Tag {
  const step = type === 4 ? 4 : 2;
  const bytes = new Uint8Array(values.length * step);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    if (step === 2) view.setUint16(i * step, value, littleEndian);
    else view.setUint32(i * step, value, littleEndian);
  });
  return { tag, type, count: values.length, bytes };
}

/** A block of the image, 0 beyond its border; one sample of each pixel when `plane` is given. */
function cut(
  image: Raster,
  y0: number,
  x0: number,
  rows: number,
  columns: number,
  plane?: number,
): SampleArray {
  const [height, width, samples] = image.shape as [number, number, number];
  const kept = plane === undefined ? samples : 1;
  const block = new (image.data.constructor as new (n: number) => SampleArray)(rows * columns * kept);
  for (let y = 0; y < rows && y0 + y < height; y++) {
    for (let x = 0; x < columns && x0 + x < width; x++) {
      for (let c = 0; c < kept; c++) {
        block[(y * columns + x) * kept + c] =
          image.data[((y0 + y) * width + x0 + x) * samples + (plane ?? c)]!;
      }
    }
  }
  return block;
}

function differences(block: SampleArray, rows: number, columns: number, samples: number): void {
  for (let y = 0; y < rows; y++) {
    const start = y * columns * samples;
    for (let i = columns * samples - 1; i >= samples; i--) {
      block[start + i] = block[start + i]! - block[start + i - samples]!;
    }
  }
}

function toBytes(block: SampleArray, littleEndian: boolean): Uint8Array {
  const bytes = new Uint8Array(
    block.buffer.slice(block.byteOffset, block.byteOffset + block.byteLength) as ArrayBuffer,
  );
  const size = block.BYTES_PER_ELEMENT;
  if (!littleEndian && size > 1) {
    for (let i = 0; i < bytes.length; i += size) bytes.subarray(i, i + size).reverse();
  }
  return bytes;
}
