import { ImageFormatError } from "../../image/errors.ts";
import { type HuffmanTable, JpegBits, readHuffmanTables } from "./bits.ts";
import { parseJpegHeader, SOS, segments } from "./stream.ts";

const DHT = 0xc4;
const DRI = 0xdd;

/** One scan of a lossless picture: its components, by their index in the picture. */
interface LosslessScan {
  components: { index: number; table: HuffmanTable }[];
  predictor: number;
  pointTransform: number;
  restartInterval: number;
  dataOffset: number;
}

/**
 * A lossless JPEG (ITU-T T.81 annex H, Huffman coded: SOF3) to its samples `[height, width, components]`, without a
 * colour transform.
 *
 * Written by hand: the libjpeg-turbo package is built for lossy JPEG of 8 bits. The bit reader is that of
 * extended.ts, and sizes are checked before anything is allocated.
 * @throws {ImageFormatError} when it is damaged, cut short, or has subsampled components
 */
export function decodeLosslessJpeg(stream: Uint8Array) {
  const header = parseJpegHeader(stream);
  const { width, height, bitsPerSample } = header;
  const count = header.components.length;
  if (header.components.some(({ horizontal, vertical }) => horizontal !== 1 || vertical !== 1))
    throw new ImageFormatError("lossless JPEG with subsampled components is not supported");
  if (bitsPerSample < 2 || bitsPerSample > 16 || count === 0)
    throw new ImageFormatError(`lossless JPEG with ${count} components of ${bitsPerSample} bits is damaged`);
  const data =
    bitsPerSample <= 8 ? new Uint8Array(width * height * count) : new Uint16Array(width * height * count);
  const tables = new Map<number, HuffmanTable>();
  const seen = new Set<number>();
  let restartInterval = 0;
  for (const { marker, at, end } of segments(stream)) {
    const body = stream.subarray(at + 4, end);
    if (marker === DHT) readHuffmanTables(body, tables);
    else if (marker === DRI && body.length >= 2) restartInterval = body[0]! * 256 + body[1]!;
    else if (marker === SOS) {
      const some = body[0]!;
      const components = Array.from({ length: some }, (_, i) => {
        const index = header.components.findIndex(({ id }) => id === body[1 + 2 * i]);
        const table = tables.get(body[2 + 2 * i]! >> 4);
        if (index < 0 || table === undefined || seen.has(index))
          throw damaged("its scans do not fit its frame");
        seen.add(index);
        return { index, table };
      });
      const [predictor, pointTransform] = [body[1 + 2 * some]!, body[3 + 2 * some]! & 15];
      if (predictor < 1 || predictor > 7) throw damaged(`predictor ${predictor} does not exist`);
      const scan = { components, predictor, pointTransform, restartInterval, dataOffset: end };
      decodeScan(stream, scan, { data, width, height, count, bitsPerSample });
    }
  }
  if (seen.size < count) throw damaged("it ends before its last component");
  return { width, height, components: count, bitsPerSample, data };
}

interface Target {
  data: Uint8Array | Uint16Array;
  width: number;
  height: number;
  count: number;
  bitsPerSample: number;
}

function decodeScan(stream: Uint8Array, scan: LosslessScan, target: Target): void {
  const { data, width, height, count, bitsPerSample } = target;
  const { predictor, pointTransform, restartInterval } = scan;
  const bits = new JpegBits(stream, scan.dataOffset);
  const middle = 2 ** (bitsPerSample - pointTransform - 1);
  const rowSamples = width * count;
  // Samples are kept without the point transform until their row is complete.
  let fresh = true;
  let left = restartInterval;
  let firstRow = 0;
  let restarts = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (restartInterval > 0 && left-- === 0) {
        if (!bits.restart(restarts++ % 8)) throw damaged("a restart marker is missing");
        left = restartInterval - 1;
        fresh = true;
        firstRow = y;
      }
      for (const { index, table } of scan.components) {
        const at = y * rowSamples + x * count + index;
        let prediction: number;
        if (fresh) prediction = middle;
        else if (y === firstRow) prediction = data[at - count]!;
        else if (x === 0) prediction = data[at - rowSamples]!;
        else
          prediction = predict(
            predictor,
            data[at - count]!,
            data[at - rowSamples]!,
            data[at - rowSamples - count]!,
          );
        data[at] = (prediction + difference(bits, table)) & 0xffff;
      }
      fresh = false;
    }
  }
  if (pointTransform === 0) return;
  for (const { index } of scan.components)
    for (let at = index; at < data.length; at += count) data[at] = data[at]! << pointTransform;
}

function predict(predictor: number, left: number, above: number, corner: number): number {
  switch (predictor) {
    case 1:
      return left;
    case 2:
      return above;
    case 3:
      return corner;
    case 4:
      return left + above - corner;
    case 5:
      return left + ((above - corner) >> 1);
    case 6:
      return above + ((left - corner) >> 1);
    default:
      return (left + above) >> 1;
  }
}

function difference(bits: JpegBits, table: HuffmanTable): number {
  const size = table.decode(bits);
  if (size === 0) return 0;
  if (size === 16) return 32768;
  const value = size > 0 && size < 16 ? bits.bits(size) : -1;
  if (value < 0) throw damaged("its data ends early or has an invalid code");
  return value < 2 ** (size - 1) ? value - 2 ** size + 1 : value;
}

function damaged(reason: string): ImageFormatError {
  return new ImageFormatError(`a lossless JPEG is damaged or cut short: ${reason}`);
}
