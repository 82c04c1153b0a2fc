import { zlibSync } from "fflate";

export interface MadePng {
  width: number;
  height: number;
  depth: number;
  colorType: 0 | 2 | 3 | 4 | 6;
  interlaced: boolean;
  /** The filter of each row. */
  filter: (row: number) => number;
  palette?: number[];
  /** Chunks inserted before the image data. */
  before?: { type: string; data: number[] }[];
}

const SAMPLES = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const PASSES = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
];

/** Encodes samples `[height, width, samples]` as PNG. Checksums are 0. */
export function makePng(made: MadePng, samples: ArrayLike<number>): Uint8Array {
  const { width, height, depth, colorType, interlaced } = made;
  const count = SAMPLES[colorType];
  const step = Math.max(1, (count * depth) / 8);
  const data: number[] = [];
  for (const [x0, y0, dx, dy] of interlaced ? PASSES : [[0, 0, 1, 1]]) {
    const columns = Math.ceil((width - x0!) / dx!);
    if (columns <= 0) continue;
    let above = new Uint8Array(Math.ceil((columns * count * depth) / 8));
    for (let y = y0!, row = 0; y < height; y += dy!, row++) {
      const line = new Uint8Array(above.length);
      let bit = 0;
      for (let x = x0!; x < width; x += dx!) {
        for (let c = 0; c < count; c++, bit += depth) {
          const value = samples[(y * width + x) * count + c]!;
          if (depth === 16) line.set([value >> 8, value & 255], bit / 8);
          else line[bit >> 3] = line[bit >> 3]! | (value << (8 - depth - (bit & 7)));
        }
      }
      const filter = made.filter(row);
      data.push(filter, ...filtered(line, above, step, filter));
      above = line;
    }
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([depth, colorType, 0, 0, interlaced ? 1 : 0], 8);
  const packed = zlibSync(Uint8Array.from(data));
  return Uint8Array.from([
    ...[0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10],
    ...chunk("IHDR", header),
    ...(made.palette ? chunk("PLTE", made.palette) : []),
    ...(made.before ?? []).flatMap(({ type, data }) => chunk(type, data)),
    // In two parts, like large files.
    ...chunk("IDAT", packed.subarray(0, 5)),
    ...chunk("IDAT", packed.subarray(5)),
    ...chunk("IEND", []),
  ]);
}

function chunk(type: string, data: ArrayLike<number>): number[] {
  const length = [data.length >>> 24, (data.length >> 16) & 255, (data.length >> 8) & 255, data.length & 255];
  return [...length, ...[...type].map((c) => c.charCodeAt(0)), ...Array.from(data), 0, 0, 0, 0];
}

function filtered(line: Uint8Array, above: Uint8Array, step: number, filter: number): Uint8Array {
  return line.map((value, i) => {
    const a = i >= step ? line[i - step]! : 0;
    const b = above[i]!;
    const c = i >= step ? above[i - step]! : 0;
    const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
    const paeth = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
    return value - [0, a, b, (a + b) >> 1, paeth][filter]!;
  });
}
