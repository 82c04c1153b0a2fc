import { ImageFormatError } from "../../image/errors.ts";

/** PNG's colour types (PNG 3rd edition, table 12). */
const GREY = 0;
const RGB = 2;
export const PALETTE = 3;
const SAMPLES: Readonly<Record<number, number>> = { [GREY]: 1, [RGB]: 3, [PALETTE]: 1, 4: 2, 6: 4 };

const DEPTHS: Readonly<Record<number, readonly number[]>> = {
  [GREY]: [1, 2, 4, 8, 16],
  [RGB]: [8, 16],
  [PALETTE]: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
};

export interface PngHeader {
  width: number;
  height: number;
  depth: number;
  colorType: number;
  samples: number;
  interlaced: boolean;
}

/** @throws {ImageFormatError} whose message completes "… is damaged: " */
export function readHeader(bytes: Uint8Array): PngHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 33 || view.getUint32(12) !== 0x49484452) {
    throw new ImageFormatError("its PNG header is missing");
  }
  const [depth, colorType, compression, filter, interlace] = bytes.subarray(24, 29);
  const samples = SAMPLES[colorType!];
  if (samples === undefined) throw new ImageFormatError(`PNG colour type ${colorType} does not exist`);
  if (!DEPTHS[colorType!]!.includes(depth!))
    throw new ImageFormatError(`PNG colour type ${colorType} has no depth of ${depth} bits`);
  if (compression !== 0 || filter !== 0 || interlace! > 1)
    throw new ImageFormatError(`PNG method ${compression}, ${filter}, ${interlace} does not exist`);
  return {
    width: view.getUint32(16),
    height: view.getUint32(20),
    depth: depth!,
    colorType: colorType!,
    samples,
    interlaced: interlace === 1,
  };
}

export interface PngChunk {
  type: string;
  data: Uint8Array;
}

/** The chunks up to the end; the last one may be incomplete. Checksums are not verified. */
export function* chunks(bytes: Uint8Array): Generator<PngChunk> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    yield { type, data: bytes.subarray(at + 8, Math.min(at + 8 + length, bytes.length)) };
    if (type === "IEND") return;
    at += 12 + length;
  }
}
