import { convertIndexedToRgb, type DecodedPng, decode } from "fast-png";
import { Unzlib } from "fflate";
import { joinBytes } from "../../storage/join-bytes.ts";
import type { Raster } from "../../tiling/raster.ts";
import type { ByteSource } from "../byte-source.ts";
import { ImageFormatError } from "../errors.ts";
import type { Spacing } from "../image-source.ts";
import type { ImageLimits } from "../limits.ts";
import { plausibleSpacing } from "../spacing.ts";
import type { TiledImage } from "../tiled-image.ts";
import { openWhole } from "./whole-image.ts";

/** PNG colour types (PNG 3rd edition, table 12). */
const SAMPLES: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const PALETTE = 3;

/** PNG: grey or RGB of 8 or 16 bits; smaller depths and palettes are widened, alpha is left off. */
export async function openPng(
  source: ByteSource,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<TiledImage> {
  const head = await source.readUpTo(0, 4096, signal);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (head.length < 33 || view.getUint32(12) !== 0x49484452) {
    throw new ImageFormatError(`${source.key} is cut short: its PNG header is missing; copy the file again`);
  }
  const width = view.getUint32(16);
  const height = view.getUint32(20);
  const depth = head[24]!;
  const colorType = head[25]!;
  const samples = SAMPLES[colorType];
  if (samples === undefined) {
    throw new ImageFormatError(`${source.key} is damaged: PNG colour type ${colorType} does not exist`);
  }
  const channels = colorType === PALETTE || samples >= 3 ? 3 : 1;
  const bytesPerSample = depth === 16 ? 2 : 1;
  return openWhole(
    source,
    {
      format: "PNG",
      width,
      height,
      dtype: depth === 16 ? "uint16" : "uint8",
      channels,
      decodedPixelBytes: Math.max(channels, samples) * bytesPerSample,
      spacing: physicalSpacing(head),
    },
    async (bytes) => {
      // Filter bytes and Adam7 passes add less than this.
      const rowBytes = Math.ceil((width * samples * depth) / 8) + 8;
      checkInflatedSize(bytes, rowBytes * height * 2 + 65536);
      return toRaster(decode(pixelChunks(bytes)), channels);
    },
    limits,
  );
}

/** The pHYs chunk, when it stands near the front and its unit is the metre. */
function physicalSpacing(head: Uint8Array): Spacing | undefined {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  for (let at = 8; at + 21 <= head.length; ) {
    const length = view.getUint32(at);
    const type = view.getUint32(at + 4);
    if (type === 0x70485973 /* pHYs */) {
      const [x, y, unit] = [view.getUint32(at + 8), view.getUint32(at + 12), head[at + 16]];
      return unit === 1 && x > 0 && y > 0 ? plausibleSpacing(1e6 / y, 1e6 / x) : undefined;
    }
    if (type === 0x49444154 /* IDAT */) return undefined;
    at += 12 + length;
  }
  return undefined;
}

const PIXEL_CHUNKS = new Set(["IHDR", "PLTE", "tRNS", "IDAT", "IEND"]);

/** The file without what does not make pixels: compressed profiles and texts may unpack to any size. */
function pixelChunks(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kept = [bytes.subarray(0, 8)];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const end = at + 12 + view.getUint32(at);
    if (PIXEL_CHUNKS.has(String.fromCharCode(...bytes.subarray(at + 4, at + 8))))
      kept.push(bytes.subarray(at, end));
    at = end;
  }
  return joinBytes(kept);
}

/** Unpacks the image data into nothing, so that a small file cannot unpack to more than its header states. */
function checkInflatedSize(bytes: Uint8Array, limit: number): void {
  let total = 0;
  const inflate = new Unzlib((chunk) => {
    total += chunk.length;
    if (total > limit) throw new ImageFormatError("its data unpacks to more than its header states");
  });
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    if (view.getUint32(at + 4) === 0x49444154) {
      // In small steps: the inflater hands out what one step unpacks to at once.
      const end = Math.min(at + 8 + length, bytes.length);
      for (let from = at + 8; from < end; from += 65536)
        inflate.push(bytes.subarray(from, Math.min(from + 65536, end)));
    }
    at += 12 + length;
  }
}

function toRaster(png: DecodedPng, channels: number): Raster {
  const { width, height, depth } = png;
  let data = png.data instanceof Uint8ClampedArray ? new Uint8Array(png.data) : png.data;
  let samples = png.channels;
  if (png.palette) {
    data = convertIndexedToRgb(png) as Uint8Array;
    samples = png.palette[0]!.length;
  } else if (depth < 8) {
    data = widen(data as Uint8Array, width, height, depth);
    samples = 1;
  }
  if (samples !== channels) {
    const out =
      data instanceof Uint16Array
        ? new Uint16Array(width * height * channels)
        : new Uint8Array(width * height * channels);
    for (let p = 0; p < width * height; p++) {
      for (let c = 0; c < channels; c++) out[p * channels + c] = data[p * samples + c]!;
    }
    data = out;
  }
  return { data, shape: [height, width, channels] };
}

/** Packed grey of 1, 2 or 4 bits to 8, white staying white. */
function widen(packed: Uint8Array, width: number, height: number, depth: number): Uint8Array {
  const max = 2 ** depth - 1;
  const rowBytes = Math.ceil((width * depth) / 8);
  const out = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      const byte = packed[y * rowBytes + (bit >> 3)]!;
      out[y * width + x] = (((byte >> (8 - depth - (bit & 7))) & max) * 255) / max;
    }
  }
  return out;
}
