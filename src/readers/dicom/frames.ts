import type { ByteSource } from "../../storage/byte-source.ts";
import { joinBytes } from "../../storage/join-bytes.ts";
import { UnsupportedDicomError } from "./errors.ts";
import type { Instance } from "./open-instance.ts";
import { frameBytes, type PixelFormat } from "./pixel-format.ts";

const ITEM = 0xfffee000;
const SEQUENCE_END = 0xfffee0dd;
const ITEM_HEADER_BYTES = 8;
const UNDEFINED_LENGTH = 0xffffffff;

/** A fragment's header, and enough of its content to recognise the start of a frame. */
const PROBE_BYTES = 12;

/** Byte ranges of the frames of a file. Plain data: it is kept for every slice of a series. */
export interface FrameIndex {
  /** Frame f (or its items, if coded) spans the bytes from `starts[f]` to `starts[f + 1]`. */
  starts: Float64Array;
  encapsulated: boolean;
  /** Whether the basic offset table comes first: with a single frame it is read together with it. */
  withTable: boolean;
}

/**
 * Finds the frames of a file: by arithmetic if they are native, else by its offset tables, else by walking over the
 * headers of the fragments (PS3.5 annex A.4).
 * @throws {UnsupportedDicomError} when frames are missing
 */
export async function indexFrames(
  { source, dataSet, syntax, pixels }: Instance,
  format: PixelFormat,
  count: number,
  signal?: AbortSignal,
): Promise<FrameIndex> {
  if (pixels === undefined) throw new UnsupportedDicomError("it holds no image");
  const { offset } = pixels;
  if (syntax.coding === "native") {
    if (pixels.length === undefined)
      throw new UnsupportedDicomError("its header does not state how its frames are coded (transfer syntax)");
    const bytes = frameBytes(format);
    if (offset + count * bytes > source.byteLength || count * bytes > pixels.length) {
      throw new UnsupportedDicomError(
        `it is cut short: it ends before its ${count} frames of ${bytes} bytes do`,
      );
    }
    const starts = Float64Array.from({ length: count + 1 }, (_, frame) => offset + frame * bytes);
    return { starts, encapsulated: false, withTable: false };
  }
  if (pixels.length !== undefined) throw new UnsupportedDicomError("its coded frames are not encapsulated");
  if (count === 1) {
    return { starts: Float64Array.of(offset, source.byteLength), encapsulated: true, withTable: true };
  }

  const table = await readItemHeader(source, offset, signal);
  if (table === undefined) throw new UnsupportedDicomError("it is cut short: its frames are missing");
  const base = offset + ITEM_HEADER_BYTES + table.length;
  if (base > source.byteLength) throw new UnsupportedDicomError("it is cut short: its frames are missing");

  const extended = dataSet.numbers("extendedOffsets");
  if (extended.length > 0) {
    if (extended.length !== count) throw wrongTable(extended.length, count);
    return fromStarts(source, count, (frame) => base + extended[frame]!);
  }
  // Beyond 4 GiB its entries of 32 bits are too short.
  if (table.length > 0 && source.byteLength < 2 ** 32) {
    if (table.length !== 4 * count) throw wrongTable(table.length / 4, count);
    const [bytes] = await source.readRanges(
      [{ offset: offset + ITEM_HEADER_BYTES, length: table.length }],
      signal,
    );
    const view = new DataView(bytes!.buffer, bytes!.byteOffset, bytes!.byteLength);
    return fromStarts(source, count, (frame) => base + view.getUint32(4 * frame, true));
  }
  return fromStarts(source, count, await scanFragments(source, base, count, signal));
}

/**
 * Reads whole frames, as `decodeFrame` takes them; neighbours share a request.
 * @param maxBytes of one frame
 */
export function readFrames(
  source: ByteSource,
  index: FrameIndex,
  frames: readonly number[],
  maxBytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array>[] {
  const read = async () => {
    const ranges = frames.map((frame) => {
      const offset = index.starts[frame]!;
      const length = index.starts[frame + 1]! - offset;
      if (length > maxBytes)
        throw new UnsupportedDicomError(`a frame takes ${length} bytes, over the limit of ${maxBytes}`);
      return { offset, length };
    });
    return source.readRanges(ranges, signal);
  };
  const all = read();
  return frames.map((_, i) =>
    all.then((bytes) => (index.encapsulated ? joinFragments(bytes[i]!, index.withTable) : bytes[i]!)),
  );
}

function joinFragments(bytes: Uint8Array, withTable: boolean): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts: Uint8Array[] = [];
  for (let at = 0; at + ITEM_HEADER_BYTES <= bytes.length; ) {
    const tag = tagAt(view, at);
    if (tag === SEQUENCE_END) break;
    const length = view.getUint32(at + 4, true);
    at += ITEM_HEADER_BYTES;
    if (tag !== ITEM || at + length > bytes.length)
      throw new UnsupportedDicomError("a coded frame is damaged or cut short");
    parts.push(bytes.subarray(at, at + length));
    at += length;
  }
  if (withTable) parts.shift();
  if (parts.length === 0) throw new UnsupportedDicomError("a coded frame is empty");
  if (parts.length === 1) return parts[0]!;
  return joinBytes(parts);
}

/** @throws {UnsupportedDicomError} when the frames are not in order inside the file */
function fromStarts(source: ByteSource, count: number, start: (frame: number) => number): FrameIndex {
  const starts = new Float64Array(count + 1);
  starts[count] = source.byteLength;
  for (let frame = count - 1; frame >= 0; frame--) {
    starts[frame] = start(frame);
    if (!(starts[frame]! + ITEM_HEADER_BYTES <= starts[frame + 1]!))
      throw new UnsupportedDicomError("its table of frames points outside the file or out of order");
  }
  return { starts, encapsulated: true, withTable: false };
}

/** A frame begins where a fragment's content begins a stream; with as many fragments as frames, at each fragment. */
async function scanFragments(
  source: ByteSource,
  base: number,
  count: number,
  signal?: AbortSignal,
): Promise<(frame: number) => number> {
  const starts: number[] = [];
  const all: number[] = [];
  for (let at = base; at + ITEM_HEADER_BYTES <= source.byteLength; ) {
    const item = await readItemHeader(source, at, signal);
    if (item === undefined) break;
    if (item.beginsFrame) starts.push(at);
    // No slide splits a frame into more fragments.
    if (all.push(at) > 16 * count) break;
    at += ITEM_HEADER_BYTES + item.length;
  }
  const found = all.length === count ? all : starts;
  if (found.length !== count)
    throw new UnsupportedDicomError(`it has no table of its ${count} frames, and ${found.length} are found`);
  return (frame) => found[frame]!;
}

async function readItemHeader(
  source: ByteSource,
  at: number,
  signal?: AbortSignal,
): Promise<{ length: number; beginsFrame: boolean } | undefined> {
  const bytes = await source.readUpTo(at, PROBE_BYTES, signal);
  if (bytes.length < ITEM_HEADER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (tagAt(view, 0) === SEQUENCE_END) return undefined;
  const length = view.getUint32(4, true);
  if (tagAt(view, 0) !== ITEM || length === UNDEFINED_LENGTH)
    throw new UnsupportedDicomError("its coded frames are damaged");
  // JPEG and JPEG-LS begin with ffd8, JPEG 2000 with ff4f.
  const beginsFrame = bytes[8] === 0xff && (bytes[9] === 0xd8 || bytes[9] === 0x4f);
  return { length, beginsFrame };
}

function tagAt(view: DataView, at: number): number {
  return view.getUint16(at, true) * 0x10000 + view.getUint16(at + 2, true);
}

function wrongTable(found: number, count: number): UnsupportedDicomError {
  return new UnsupportedDicomError(`its table of frames has ${found} entries for ${count} frames`);
}
