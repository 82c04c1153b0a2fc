import { inflateBounded } from "../../codecs/inflate.ts";
import { ImageFormatError } from "../../image/errors.ts";
import type { ImageLimits } from "../../image/limits.ts";
import { ByteSource } from "../../storage/byte-source.ts";
import { MemoryStore } from "../../storage/memory-store.ts";
import {
  type DataSet,
  DataSetError,
  type Encoding,
  type ParsedDataSet,
  parseDataSet,
  parseFileMeta,
} from "./data-set.ts";
import { NeedMoreBytesError, UnsupportedDicomError } from "./errors.ts";
import { impliedSyntax, parseTransferSyntax, type TransferSyntax } from "./transfer-syntax.ts";

/** Covers the head of most files with one request. */
const FIRST_READ_BYTES = 32 * 1024;
/** A slide of two million frames, each with its position, has less. */
const MAX_HEAD_BYTES = 256 * 2 ** 20;
/** Limit of a deflated file: it is unpacked whole, and held three times meanwhile. */
const MAX_DEFLATED_BYTES = 128 * 2 ** 20;

/** One DICOM file, read up to its samples. */
export interface Instance {
  key: string;
  dataSet: DataSet;
  syntax: TransferSyntax;
  pixels: NonNullable<ParsedDataSet["pixels"]> | undefined;
  /** The file, or the unpacked bytes of a deflated one in memory. */
  source: ByteSource;
}

/** Bytes of the preamble and the letters "DICM" behind it (PS3.10 section 7.1). */
const PREAMBLE_BYTES = 132;
/** Longest first element of a file that only this element identifies as DICOM. */
const PLAUSIBLE_BYTES = 256;

/** Whether these are the first bytes of a DICOM file, with or without a preamble. */
export function isDicom(head: Uint8Array): boolean {
  return hasPreamble(head) || firstElement(head, 0) !== undefined;
}

function hasPreamble(head: Uint8Array): boolean {
  return (
    head.length >= PREAMBLE_BYTES &&
    head[128] === 0x44 &&
    head[129] === 0x49 &&
    head[130] === 0x43 &&
    head[131] === 0x4d
  );
}

/**
 * The encoding of an element that could begin a data set: of group 0002, or of group 0008 where older programs omit
 * the preamble and group 0002. Undefined if there is none.
 */
function firstElement(bytes: Uint8Array, at: number): Encoding | undefined {
  if (bytes.length < at + 12) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const littleEndian of [true, false]) {
    const group = view.getUint16(at, littleEndian);
    const element = view.getUint16(at + 2, littleEndian);
    if (!((group === 2 && element <= 0x16) || (group === 8 && element <= 0x70))) continue;
    const vr = String.fromCharCode(bytes[at + 4]!, bytes[at + 5]!);
    const explicit = FIRST_KINDS.has(vr);
    // Group 0002 is always explicit and little-endian.
    if (group === 2 && !(explicit && littleEndian)) continue;
    const length = explicit ? view.getUint16(at + 6, littleEndian) : view.getUint32(at + 4, littleEndian);
    const long = explicit && vr === "OB";
    if (long || (length > 0 && length <= PLAUSIBLE_BYTES && length % 2 === 0))
      return { explicit, littleEndian };
  }
  return undefined;
}

/** Value representations of the elements that can come first. */
const FIRST_KINDS: ReadonlySet<string> = new Set([
  "UL",
  "OB",
  "UI",
  "SH",
  "CS",
  "DA",
  "TM",
  "DT",
  "LO",
  "AE",
]);

/**
 * @param onFrame receives the functional groups of each frame in order, again from the first when more had to be
 * read: `restart` tells
 * @throws {ImageFormatError} with a message that begins with the key and reveals nothing about the patient
 */
export async function openInstance(
  file: ByteSource,
  limits: ImageLimits,
  onFrame: { restart(): void; add(item: DataSet): void },
  signal?: AbortSignal,
): Promise<Instance> {
  const { key } = file;
  const maxHead = Math.min(limits.metadataBytes, MAX_HEAD_BYTES);
  let source = file;
  for (let length = FIRST_READ_BYTES; ; length *= 4) {
    const bytes = await source.readUpTo(0, Math.min(length, maxHead), signal);
    const whole = bytes.length === source.byteLength;
    let syntax: TransferSyntax | undefined;
    try {
      const { meta, end } = parseFileMeta(bytes, hasPreamble(bytes) ? PREAMBLE_BYTES : 0, whole);
      const stated = meta.text("transferSyntax");
      const found = stated === undefined ? firstElement(bytes, end) : undefined;
      syntax = found ? impliedSyntax(found) : parseTransferSyntax(stated);
      if (syntax.deflated && source === file) {
        source = await inflated(file, end, limits, signal);
        length = FIRST_READ_BYTES / 4;
        continue;
      }
      onFrame.restart();
      const { dataSet, pixels } = parseDataSet(bytes, end, whole, syntax, onFrame.add);
      return { key, dataSet, syntax, pixels, source };
    } catch (cause) {
      if (cause instanceof NeedMoreBytesError && length < maxHead) continue;
      throw toFormatError(key, cause, syntax, maxHead);
    }
  }
}

/** Why the head of a file cannot be read, as an error for the user. */
function toFormatError(
  key: string,
  cause: unknown,
  syntax: TransferSyntax | undefined,
  maxHead: number,
): unknown {
  if (cause instanceof NeedMoreBytesError) {
    return new ImageFormatError(
      `${key} has a DICOM header of more than ${maxHead} bytes, which is over the limit`,
      { cause },
    );
  }
  if (cause instanceof DataSetError && syntax?.refusal !== undefined)
    return new ImageFormatError(`${key} cannot be read: ${syntax.refusal}`, { cause });
  if (cause instanceof DataSetError)
    return new ImageFormatError(`${key} is damaged: ${cause.message}; copy the file again`, { cause });
  if (cause instanceof UnsupportedDicomError)
    return new ImageFormatError(`${key} cannot be read: ${cause.message}`, { cause });
  return cause;
}

/** The same file with its data set inflated (PS3.5 annex A.5). */
async function inflated(
  file: ByteSource,
  from: number,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<ByteSource> {
  const { key, byteLength, etag } = file;
  const limit = Math.min(limits.tileBytes, MAX_DEFLATED_BYTES);
  if (byteLength > limit) throw new UnsupportedDicomError(`it is deflated and larger than ${limit} bytes`);
  const [stored] = await file.readRanges([{ offset: 0, length: byteLength }], signal);
  let rest: Uint8Array;
  try {
    rest = inflateBounded(stored!.subarray(from), limit);
  } catch (cause) {
    if (cause instanceof RangeError)
      throw new UnsupportedDicomError(`it is deflated and unpacks to ${cause.message}, over the limit`, {
        cause,
      });
    throw new DataSetError("its deflated data cannot be unpacked");
  }
  const bytes = new Uint8Array(from + rest.length);
  bytes.set(stored!.subarray(0, from));
  bytes.set(rest, from);
  const store = new MemoryStore({ [key]: bytes });
  const info = await store.head(key);
  return new ByteSource(store, key, { byteLength: bytes.length, etag: info?.etag ?? etag });
}
