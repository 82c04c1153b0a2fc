import {
  type DecodedImage,
  decodeHtj2k,
  decodeJpeg,
  decodeJpeg2000,
  decodeJpegLs,
} from "../../codecs/decoders.ts";
import { decodeExtendedJpeg } from "../../codecs/jpeg/extended.ts";
import { decodeLosslessJpeg } from "../../codecs/jpeg/lossless.ts";
import { completeJpeg, parseJpegHeader } from "../../codecs/jpeg/stream.ts";
import { parseJpeg2000Size } from "../../codecs/jpeg2000-size.ts";
import { ycbcrToRgb } from "../../codecs/ycbcr.ts";
import { allocate, type Raster, type SampleArray } from "../../tiling/grid/raster.ts";
import { UnsupportedDicomError } from "./errors.ts";
import { paint } from "./palette.ts";
import { formatDtype, frameBytes, type PixelFormat, unsupportedJpegError } from "./pixel-format.ts";
import { decodeRle } from "./rle.ts";
import type { TransferSyntax } from "./transfer-syntax.ts";

const SOF_BASELINE = 0xc0;
const SOF_EXTENDED = 0xc1;
const SOF_LOSSLESS = 0xc3;

/**
 * Decodes one frame to `[rows, columns, samples]`: sign and unused bits are resolved, and colours are RGB, also those
 * of a palette.
 * @param bytes native samples, or one coded frame
 * @throws {UnsupportedDicomError | ImageFormatError} when the frame is damaged or differs from its header
 */
export async function decodeFrame(
  bytes: Uint8Array,
  format: PixelFormat,
  syntax: TransferSyntax,
): Promise<Raster> {
  const frame = await decodeStored(bytes, format, syntax);
  if (format.palette === undefined) return frame;
  return { data: paint(frame.data, format.palette), shape: [format.rows, format.columns, 3] };
}

async function decodeStored(bytes: Uint8Array, format: PixelFormat, syntax: TransferSyntax): Promise<Raster> {
  const shape = [format.rows, format.columns, format.samples];
  switch (syntax.coding) {
    case "unread":
      throw new UnsupportedDicomError(syntax.refusal ?? "its coding is not supported");
    case "native":
      return { data: toRgb(nativeSamples(bytes, format, syntax.littleEndian), format), shape };
    case "rle":
      return { data: toRgb(rleSamples(bytes, format), format), shape };
    case "jpeg":
    case "jpeg-lossless":
      return { data: await jpegSamples(bytes, format), shape };
    case "jpeg-ls": {
      checkCodedSize(jpegLsSize(bytes), format);
      const image = await decodeJpegLs(bytes);
      return { data: toRgb(codedSamples(image, format), format), shape };
    }
    case "htj2k": {
      const coded = parseJpeg2000Size(bytes);
      checkCodedSize(coded, format);
      if (coded.components !== format.samples) throw wrongComponents(coded.components, format);
      return { data: codedSamples(await decodeHtj2k(bytes), format), shape };
    }
    case "jpeg2000": {
      const size = parseJpeg2000Size(bytes);
      checkCodedSize(size, format);
      const image = await decodeJpeg2000(bytes, { allowSigned: true });
      const data = codedSamples(image, format);
      // The codec undoes JPEG 2000's own transforms and upsamples chroma.
      return {
        data: size.subsampled || format.photometric !== "YBR_FULL" ? data : toRgb(data, format),
        shape,
      };
    }
  }
}

function nativeSamples(bytes: Uint8Array, format: PixelFormat, littleEndian: boolean): SampleArray {
  const expected = frameBytes(format);
  if (bytes.length < expected)
    throw new UnsupportedDicomError(
      `a frame holds ${bytes.length} bytes where its header announces ${expected}`,
    );
  if (format.photometric === "YBR_FULL_422") return upsample422(bytes.subarray(0, expected));
  // An aligned copy.
  const own = bytes.slice(0, expected);
  const size = format.bitsAllocated / 8;
  if (!littleEndian && size > 1)
    for (let i = 0; i < own.length; i += size) own.subarray(i, i + size).reverse();
  const data = view(own, format);
  maskBits(data, format);
  return format.planar ? interleave(data, format.samples) : data;
}

/** Two pixels share Cb and Cr, stored as Y Y Cb Cr (PS3.3 section C.7.6.3.1.2). */
function upsample422(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array((bytes.length / 2) * 3);
  for (let from = 0, to = 0; from < bytes.length; from += 4, to += 6) {
    out[to] = bytes[from]!;
    out[to + 3] = bytes[from + 1]!;
    out[to + 1] = bytes[from + 2]!;
    out[to + 4] = bytes[from + 2]!;
    out[to + 2] = bytes[from + 3]!;
    out[to + 5] = bytes[from + 3]!;
  }
  return out;
}

function rleSamples(bytes: Uint8Array, format: PixelFormat): SampleArray {
  const { rows, columns, samples, bitsAllocated } = format;
  const pixels = rows * columns;
  const size = bitsAllocated / 8;
  const planes = decodeRle(bytes, samples * size, pixels);
  const own = new Uint8Array(planes.length);
  for (let c = 0; c < samples; c++) {
    for (let b = 0; b < size; b++) {
      // Little-endian, like the platform.
      const plane = planes.subarray((c * size + b) * pixels, (c * size + b + 1) * pixels);
      for (let p = 0, to = c * size + size - 1 - b; p < pixels; p++, to += samples * size)
        own[to] = plane[p]!;
    }
  }
  const data = view(own, format);
  maskBits(data, format);
  return data;
}

async function jpegSamples(bytes: Uint8Array, format: PixelFormat): Promise<SampleArray> {
  const color = format.photometric === "RGB" ? "rgb" : "ycbcr";
  const stream = completeJpeg(bytes, undefined, color);
  const header = parseJpegHeader(stream);
  checkCodedSize(header, format);
  const { components, bitsPerSample, frame } = header;
  if (components.length !== format.samples) throw wrongComponents(components.length, format);
  if (frame === SOF_LOSSLESS) return toRgb(codedSamples(decodeLosslessJpeg(stream), format), format);
  if (bitsPerSample !== 8) {
    const sequential = frame === SOF_BASELINE || frame === SOF_EXTENDED;
    if (!sequential || bitsPerSample > 12 || format.samples > 1) throw unsupportedJpegError(bitsPerSample);
    return codedSamples(decodeExtendedJpeg(stream), format);
  }
  return codedSamples(await decodeJpeg(stream), format);
}

/** Compares the sizes in the stream's own header, so that a small frame cannot make a huge picture be decoded. */
function checkCodedSize(size: { width: number; height: number }, { rows, columns }: PixelFormat): void {
  if (size.width !== columns || size.height !== rows) {
    throw new UnsupportedDicomError(
      `a frame holds ${size.width} × ${size.height} pixels where its header announces ${columns} × ${rows}`,
    );
  }
}

/** Finds the frame marker of JPEG-LS (SOF55); segments before it state their length. */
function jpegLsSize(bytes: Uint8Array): { width: number; height: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 2; at + 9 <= bytes.length && bytes[at] === 0xff; at += 2 + view.getUint16(at + 2)) {
    if (bytes[at + 1] === 0xf7) return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
  }
  throw new UnsupportedDicomError("a JPEG-LS frame is damaged: its header is missing");
}

/** Converts the codec's samples to the type that the header states. */
function codedSamples(image: DecodedImage, format: PixelFormat): SampleArray {
  if (image.components !== format.samples) throw wrongComponents(image.components, format);
  const count = format.rows * format.columns * format.samples;
  if (image.data.length < count)
    throw new UnsupportedDicomError("a frame holds fewer pixels than its header announces");
  const dtype = formatDtype(format);
  const data = allocate(dtype, count);
  // Typed arrays wrap around: unsigned samples of a codec become signed where the header says so.
  data.set(image.data.length === count ? image.data : image.data.subarray(0, count));
  maskBits(data, { ...format, highBit: format.bitsStored - 1 });
  return data;
}

function wrongComponents(components: number, { samples }: PixelFormat): UnsupportedDicomError {
  return new UnsupportedDicomError(
    `a frame holds ${components} components where its header announces ${samples}`,
  );
}

function view(own: Uint8Array, format: PixelFormat): SampleArray {
  const Samples = allocate(formatDtype(format), 0).constructor as new (
    buffer: ArrayBufferLike,
    offset: number,
    length: number,
  ) => SampleArray;
  return new Samples(own.buffer, own.byteOffset, own.length / (format.bitsAllocated / 8));
}

/** Keeps the stored bits, with their sign; other bits may hold overlays. In place. */
function maskBits(data: SampleArray, { bitsAllocated, bitsStored, highBit, signed }: PixelFormat): void {
  if (bitsStored === bitsAllocated) return;
  const up = 32 - (highBit + 1);
  const down = 32 - bitsStored;
  if (signed) for (let i = 0; i < data.length; i++) data[i] = (data[i]! << up) >> down;
  else for (let i = 0; i < data.length; i++) data[i] = (data[i]! << up) >>> down;
}

function interleave(planes: SampleArray, samples: number): SampleArray {
  const out = planes.slice();
  const pixels = planes.length / samples;
  for (let c = 0; c < samples; c++) {
    for (let p = 0; p < pixels; p++) out[p * samples + c] = planes[c * pixels + p]!;
  }
  return out;
}

/** Converts luminance and chroma to RGB. In place. */
function toRgb(data: SampleArray, { photometric, columns, rows }: PixelFormat): SampleArray {
  if ((photometric === "YBR_FULL" || photometric === "YBR_FULL_422") && data instanceof Uint8Array)
    ycbcrToRgb({ width: columns, height: rows, components: 3, data });
  return data;
}
