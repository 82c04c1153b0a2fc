/// <reference path="./codec-modules.d.ts" />
import createCharLs from "@cornerstonejs/codec-charls/decodewasmjs";
import createJpegTurbo from "@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs";
import createOpenJpeg from "@cornerstonejs/codec-openjpeg/decodewasmjs";
import { ImageFormatError } from "../image/errors.ts";
import { emscriptenOptions } from "./compiled-codecs.ts";
import { hasAllRestarts, repairJpeg } from "./jpeg/repair.ts";
import { parseJpegHeader } from "./jpeg/stream.ts";
import { parseJpeg2000Size } from "./jpeg2000-size.ts";

/** Decoded samples, interleaved: `[height, width, components]`. */
export interface DecodedImage {
  width: number;
  height: number;
  components: number;
  data: Uint8Array | Uint16Array | Int16Array;
}

/** The used part of the Emscripten decoder classes. Buffers are views into the WebAssembly heap. */
interface Decoder {
  getEncodedBuffer(byteLength: number): Uint8Array;
  decode(): void;
  getDecodedBuffer(): Uint8Array;
  getFrameInfo(): {
    width: number;
    height: number;
    bitsPerSample: number;
    componentCount: number;
    isSigned: boolean;
  };
}

/** Lines that openjpeg printed since the last decode; the wrapper reports failure in no other way. */
const openJpegComplaints: string[] = [];

// Instances are cached, not promises: on Workers a promise belongs to the request that made it. Two first requests at
// once may both instantiate; one instance is dropped.
let jpegDecoder: Decoder | undefined;
let jpeg2000Decoder: Decoder | undefined;
let jpegLsDecoder: JpegLsDecoder | undefined;

interface JpegLsDecoder extends Decoder {
  /** 0: by component, 1: by line, 2: by sample. Lines and samples are returned interleaved. */
  getInterleaveMode(): number;
}

async function loadJpeg(): Promise<Decoder> {
  if (jpegDecoder) return jpegDecoder;
  const decoder = await newJpegDecoder();
  jpegDecoder ??= decoder;
  return jpegDecoder;
}

async function newJpegDecoder(): Promise<Decoder> {
  const module = await createJpegTurbo(await emscriptenOptions("jpeg", () => {}));
  return new module.JPEGDecoder();
}

async function loadJpeg2000(): Promise<Decoder> {
  if (jpeg2000Decoder) return jpeg2000Decoder;
  const print = (line: string) => {
    // Called once per [INFO] line per tile: keep only warnings and errors.
    if (!line.startsWith("[INFO]")) openJpegComplaints.push(line);
  };
  const module = await createOpenJpeg(await emscriptenOptions("jpeg2000", print));
  const decoder: Decoder = new module.J2KDecoder();
  jpeg2000Decoder ??= decoder;
  return jpeg2000Decoder;
}

async function loadJpegLs(): Promise<JpegLsDecoder> {
  if (jpegLsDecoder) return jpegLsDecoder;
  const module = await createCharLs(await emscriptenOptions("jpegls", () => {}));
  const decoder: JpegLsDecoder = new module.JpegLSDecoder();
  jpegLsDecoder ??= decoder;
  return jpegLsDecoder;
}

/**
 * A larger picture gets a decoder of its own and is returned as a view of its heap, so it is held once, not twice.
 */
const OWN_DECODER_BYTES = 32 * 2 ** 20;

/**
 * Decodes a complete JPEG stream (with its own tables, see `jpeg/stream.ts`) to grey or RGB, 8 bits. YCbCr becomes
 * RGB as the stream's own markers say.
 * @param onDamage called when parts between restart markers are damaged; libjpeg then guesses their samples. Without
 * it damage is an error
 * @throws {ImageFormatError} when the stream is damaged or cut short
 */
export async function decodeJpeg(stream: Uint8Array, onDamage?: () => void): Promise<DecodedImage> {
  const header = parseJpegHeader(stream);
  const { width, height, components } = header;
  const large = width * height * components.length > OWN_DECODER_BYTES;
  const decoder = large ? await newJpegDecoder() : (jpegDecoder ?? (await loadJpeg()));
  try {
    return decodeWith(decoder, stream, !large);
  } catch (cause) {
    const repaired = repairJpeg(stream);
    if (repaired !== undefined) {
      try {
        return decodeWith(decoder, repaired, !large);
      } catch {
        // The repair did not help.
      }
    }
    if (onDamage === undefined || !hasAllRestarts(stream, header)) throw cause;
    // The codec has reported the damage and continued behind it.
    const decoded = decodedBy(decoder, !large);
    onDamage();
    return decoded;
  }
}

function decodeWith(decoder: Decoder, stream: Uint8Array, shared: boolean): DecodedImage {
  decoder.getEncodedBuffer(stream.length).set(stream);
  try {
    decoder.decode();
  } catch (cause) {
    // The codec throws a bare C++ pointer: its number says nothing.
    throw new ImageFormatError("JPEG data is damaged or cut short", {
      cause: cause instanceof Error ? cause : undefined,
    });
  }
  return decodedBy(decoder, shared);
}

function decodedBy(decoder: Decoder, shared: boolean): DecodedImage {
  const { width, height, componentCount } = decoder.getFrameInfo();
  const samples = width * height * componentCount;
  const decoded = decoder.getDecodedBuffer();
  const data = shared
    ? copyBytes(decoded, samples)
    : new Uint8Array(decoded.buffer, decoded.byteOffset, samples);
  return { width, height, components: componentCount, data };
}

/**
 * Decodes a JPEG 2000 codestream or JP2 file, colour as stored (YCbCr is converted only if chroma is subsampled).
 * @throws {ImageFormatError} when the stream is damaged, cut short, has more than 16 bits, or unexpected signed
 * samples
 */
export async function decodeJpeg2000(
  stream: Uint8Array,
  options: { allowSigned?: boolean } = {},
): Promise<DecodedImage> {
  const decoder = jpeg2000Decoder ?? (await loadJpeg2000());
  openJpegComplaints.length = 0;
  try {
    decoder.getEncodedBuffer(stream.length).set(stream);
    decoder.decode();
  } catch (cause) {
    // After a trap the codec's memory may be in any state.
    jpeg2000Decoder = undefined;
    openJpegComplaints.push(`[ERROR] ${cause instanceof Error ? cause.message : "decoding stopped"}`);
  }
  // On failure the wrapper keeps the samples of the previous tile: the printed lines are the only sign.
  const error = openJpegComplaints.find((line) => line.startsWith("[ERROR]"));
  if (error !== undefined) {
    throw new ImageFormatError(
      `a JPEG 2000 tile is damaged or cut short (${error.slice(8).trim().replace(/\.$/, "")})`,
    );
  }
  const { width, height, componentCount, bitsPerSample, isSigned } = decoder.getFrameInfo();
  // For eight bits or fewer the wrapper turns negative samples into 0.
  const isUnsupportedSign = isSigned && (!options.allowSigned || bitsPerSample <= 8);
  if (isUnsupportedSign || bitsPerSample > 16) {
    throw new ImageFormatError(
      `JPEG 2000 tiles with ${isUnsupportedSign ? "signed" : `${bitsPerSample}-bit`} samples are not supported`,
    );
  }
  const samples = width * height * componentCount;
  const decoded = decoder.getDecodedBuffer();
  const { buffer } = copyBytes(decoded, bitsPerSample <= 8 ? samples : samples * 2);
  return { width, height, components: componentCount, data: viewSamples(buffer, bitsPerSample, isSigned) };
}

/** Most tiles that a JPEG 2000 stream can number. */
const MAX_TILES = 65_535;

/**
 * Decodes a codestream of high-throughput JPEG 2000 (ITU-T T.814), colour as RGB. OpenJPEG decodes both kinds of JPEG 2000.
 * @throws {ImageFormatError} when the stream is damaged, cut short, has more than 16 bits, or signed samples of 8
 * bits or fewer
 */
export async function decodeHtj2k(stream: Uint8Array): Promise<DecodedImage> {
  const size = parseJpeg2000Size(stream);
  // The codec decodes a truncated stream as far as it goes, so check the end marker. Frames are padded to an even
  // length.
  const end = stream.at(-1) === 0 ? stream.length - 1 : stream.length;
  if (size.tiles > MAX_TILES || stream[end - 2] !== 0xff || stream[end - 1] !== 0xd9)
    throw new ImageFormatError("a frame of high-throughput JPEG 2000 is damaged or cut short");
  return decodeJpeg2000(stream, { allowSigned: true });
}

/**
 * Decodes a JPEG-LS stream, lossless or near-lossless, colour as stored.
 * @throws {ImageFormatError} when the stream is damaged or cut short
 */
export async function decodeJpegLs(stream: Uint8Array): Promise<DecodedImage> {
  const used = jpegLsDecoder !== undefined;
  const decoder = jpegLsDecoder ?? (await loadJpegLs());
  try {
    // No await before the samples are copied: other calls share the decoder.
    return jpegLsWith(decoder, stream);
  } catch (cause) {
    // CharLS traps on some damaged streams, and then fails for all later ones: a new instance decides whether this
    // stream is at fault.
    const trapped = cause instanceof WebAssembly.RuntimeError;
    if (trapped && jpegLsDecoder === decoder) jpegLsDecoder = undefined;
    if (trapped && used) return decodeJpegLs(stream);
    if (cause instanceof ImageFormatError) throw cause;
    throw new ImageFormatError("a JPEG-LS frame is damaged or cut short", {
      cause: cause instanceof Error ? cause : undefined,
    });
  }
}

function jpegLsWith(decoder: JpegLsDecoder, stream: Uint8Array): DecodedImage {
  decoder.getEncodedBuffer(stream.length).set(stream);
  decoder.decode();
  const { width, height, componentCount: components, bitsPerSample } = decoder.getFrameInfo();
  const samples = width * height * components;
  const { buffer } = copyBytes(decoder.getDecodedBuffer(), bitsPerSample <= 8 ? samples : samples * 2);
  const data = viewSamples(buffer, bitsPerSample, false);
  if (components === 1 || decoder.getInterleaveMode() !== 0) return { width, height, components, data };
  const interleaved = data.slice();
  const pixels = width * height;
  for (let c = 0; c < components; c++) {
    for (let p = 0; p < pixels; p++) interleaved[p * components + c] = data[c * pixels + p]!;
  }
  return { width, height, components, data: interleaved };
}

function viewSamples(buffer: ArrayBuffer, bitsPerSample: number, signed: boolean): DecodedImage["data"] {
  if (bitsPerSample <= 8) return new Uint8Array(buffer);
  return signed ? new Int16Array(buffer) : new Uint16Array(buffer);
}

/** A copy from the WebAssembly heap, which the next decode overwrites. */
function copyBytes(view: Uint8Array, byteLength: number): Uint8Array<ArrayBuffer> {
  if (view.byteLength < byteLength)
    throw new ImageFormatError("a tile holds fewer samples than its header says");
  return new Uint8Array(view.buffer, view.byteOffset, byteLength).slice() as Uint8Array<ArrayBuffer>;
}
