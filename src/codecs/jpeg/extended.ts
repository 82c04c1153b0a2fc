import { ImageFormatError } from "../../image/errors.ts";
import { type HuffmanTable, JpegBits, readHuffmanTables } from "./bits.ts";
import { parseJpegHeader, SOS, segments } from "./stream.ts";

const DQT = 0xdb;
const DHT = 0xc4;
const DRI = 0xdd;

/** Where each coefficient of a scan lies in its block, row by row (ITU-T T.81, figure A.6). */
const ZIGZAG = Uint8Array.of(
  ...[
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21,
  ],
  ...[
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53,
    60, 61,
  ],
  ...[54, 47, 55, 62, 63],
);

/** Value x of the cosine of frequency u, with its norm. */
const COSINES = Float64Array.from({ length: 64 }, (_, i) => {
  const [x, u] = [i >> 3, i & 7];
  return (u === 0 ? Math.SQRT1_2 : 1) * 0.5 * Math.cos(((2 * x + 1) * u * Math.PI) / 16);
});

interface ScanComponent {
  index: number;
  dc: HuffmanTable;
  ac: HuffmanTable;
  quantisation: Float64Array;
  predicted: number;
}

interface Picture {
  width: number;
  height: number;
  components: number;
  bitsPerSample: number;
  data: Uint16Array;
}

/**
 * A sequential JPEG of more than 8 bits (ITU-T T.81, extended: SOF1, Huffman coded) to its samples
 * `[height, width, components]`, without a colour transform. Old and new medical scanners write these.
 *
 * Written by hand: the libjpeg-turbo package is built for 8 bits, and no maintained package for the Web decodes 12.
 * @throws {ImageFormatError} when it is damaged, cut short, or has subsampled components
 */
export function decodeExtendedJpeg(stream: Uint8Array): Picture {
  const header = parseJpegHeader(stream);
  const { width, height, bitsPerSample } = header;
  const components = header.components.length;
  // A single component is coded in plain blocks, whatever its factors say.
  if (components > 1 && header.components.some((c) => c.horizontal !== 1 || c.vertical !== 1))
    throw new ImageFormatError(`a JPEG of ${bitsPerSample} bits with subsampled components is not supported`);
  if (bitsPerSample < 8 || bitsPerSample > 12 || components === 0) throw damaged("its header is invalid");
  const data = new Uint16Array(width * height * components);
  const picture = { width, height, components, bitsPerSample, data };
  const tables = new Map<number, HuffmanTable>();
  const quantisation = new Map<number, Float64Array>();
  const seen = new Set<number>();
  let restartInterval = 0;
  for (const { marker, at, end } of segments(stream)) {
    const body = stream.subarray(at + 4, end);
    if (marker === DHT) readHuffmanTables(body, tables);
    else if (marker === DQT) readQuantisation(body, quantisation);
    else if (marker === DRI && body.length >= 2) restartInterval = body[0]! * 256 + body[1]!;
    else if (marker === SOS) {
      const scan: ScanComponent[] = [];
      for (let i = 0; i < body[0]! && 2 + 2 * i < body.length; i++) {
        const index = header.components.findIndex(({ id }) => id === body[1 + 2 * i]);
        const which = body[2 + 2 * i]!;
        const dc = tables.get(which >> 4);
        const ac = tables.get(0x10 + (which & 15));
        // The frame names the table of each component in its third byte.
        const steps = quantisation.get(stream[header.frameOffset + 12 + 3 * index]! & 3);
        if (index < 0 || seen.has(index) || !dc || !ac || !steps)
          throw damaged("its scans do not fit its frame");
        seen.add(index);
        scan.push({ index, dc, ac, quantisation: steps, predicted: 0 });
      }
      decodeScan(new JpegBits(stream, end), scan, restartInterval, picture);
    }
  }
  if (seen.size < components) throw damaged("it ends before its last component");
  return picture;
}

function readQuantisation(body: Uint8Array, into: Map<number, Float64Array>): void {
  for (let at = 0; at < body.length; ) {
    const wide = body[at]! >> 4 !== 0;
    const steps = new Float64Array(64);
    for (let i = 0; i < 64; i++) {
      const from = at + 1 + (wide ? 2 * i : i);
      steps[ZIGZAG[i]!] = wide ? (body[from] ?? 0) * 256 + (body[from + 1] ?? 0) : (body[from] ?? 0);
    }
    into.set(body[at]! & 15, steps);
    at += wide ? 129 : 65;
  }
}

function decodeScan(
  bits: JpegBits,
  scan: readonly ScanComponent[],
  restartInterval: number,
  picture: Picture,
): void {
  const across = Math.ceil(picture.width / 8);
  const count = across * Math.ceil(picture.height / 8);
  const block = new Float64Array(64);
  const half = new Float64Array(64);
  for (let mcu = 0; mcu < count; mcu++) {
    if (restartInterval > 0 && mcu > 0 && mcu % restartInterval === 0) {
      if (!bits.restart((mcu / restartInterval - 1) % 8)) throw damaged("a restart marker is missing");
      for (const component of scan) component.predicted = 0;
    }
    for (const component of scan) {
      readBlock(bits, component, block);
      transform(block, half);
      putBlock(block, component.index, (mcu % across) * 8, Math.floor(mcu / across) * 8, picture);
    }
  }
}

function readBlock(bits: JpegBits, component: ScanComponent, block: Float64Array): void {
  const { dc, ac, quantisation } = component;
  block.fill(0);
  component.predicted += signed(bits, dc.decode(bits));
  block[0] = component.predicted * quantisation[0]!;
  for (let k = 1; k < 64; k++) {
    const code = ac.decode(bits);
    if (code < 0) throw damaged("its data ends early or has an invalid code");
    const size = code & 15;
    if (size === 0) {
      if (code !== 0xf0) return;
      k += 15;
      continue;
    }
    k += code >> 4;
    if (k > 63) throw damaged("a block holds more than 64 coefficients");
    const at = ZIGZAG[k]!;
    block[at] = signed(bits, size) * quantisation[at]!;
  }
}

/** A number of this many bits; negative when its first bit is 0 (ITU-T T.81, F.2.2.1). */
function signed(bits: JpegBits, size: number): number {
  if (size === 0) return 0;
  const value = size > 0 && size <= 16 ? bits.bits(size) : -1;
  if (value < 0) throw damaged("its data ends early or has an invalid code");
  return value < 2 ** (size - 1) ? value - 2 ** size + 1 : value;
}

/** The inverse cosine transform: rows into `half`, columns back. */
function transform(block: Float64Array, half: Float64Array): void {
  for (let v = 0; v < 8; v++) {
    for (let x = 0; x < 8; x++) {
      let sum = 0;
      for (let u = 0; u < 8; u++) sum += block[8 * v + u]! * COSINES[8 * x + u]!;
      half[8 * v + x] = sum;
    }
  }
  for (let y = 0; y < 8; y++) {
    for (let x = 0; x < 8; x++) {
      let sum = 0;
      for (let v = 0; v < 8; v++) sum += half[8 * v + x]! * COSINES[8 * y + v]!;
      block[8 * y + x] = sum;
    }
  }
}

function putBlock(block: Float64Array, index: number, x0: number, y0: number, picture: Picture): void {
  const { width, height, components, bitsPerSample, data } = picture;
  const middle = 2 ** (bitsPerSample - 1);
  const most = 2 ** bitsPerSample - 1;
  const rows = Math.min(8, height - y0);
  const columns = Math.min(8, width - x0);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const value = Math.round(block[8 * y + x]!) + middle;
      data[((y0 + y) * width + x0 + x) * components + index] = Math.max(0, Math.min(value, most));
    }
  }
}

function damaged(reason: string): ImageFormatError {
  return new ImageFormatError(`a JPEG of 12 bits is damaged or cut short: ${reason}`);
}
