import { MemoryStore } from "../../storage/memory-store.ts";
import { ByteSource } from "../byte-source.ts";
import { ImageFormatError } from "../errors.ts";
import { inflateBounded } from "../inflate-bounded.ts";
import type { ImageLimits } from "../limits.ts";
import {
  type DataSet,
  DataSetError,
  MoreBytesNeeded,
  type ParsedDataSet,
  parseDataSet,
  parseFileMeta,
} from "./data-set.ts";
import { DicomRefusal } from "./refusal.ts";
import { type TransferSyntax, transferSyntaxOf } from "./transfer-syntax.ts";

/** Enough for the head of most files, with one request. */
const FIRST_READ_BYTES = 32 * 1024;
/** A slide of two million frames, each with its place, is below. */
const MAX_HEAD_BYTES = 256 * 2 ** 20;

/** One DICOM file, read as far as its samples. */
export interface Instance {
  key: string;
  dataSet: DataSet;
  syntax: TransferSyntax;
  pixels: NonNullable<ParsedDataSet["pixels"]> | undefined;
  /** The file, or in memory what a deflated one holds. */
  source: ByteSource;
}

/** Whether these first bytes are those of a DICOM file. */
export function isDicom(head: Uint8Array): boolean {
  return (
    head.length >= 132 && head[128] === 0x44 && head[129] === 0x49 && head[130] === 0x43 && head[131] === 0x4d
  );
}

/**
 * @param onFrame is handed the functional groups of each frame in turn, again from the first when more had to be read:
 *   `restart` tells
 * @throws {ImageFormatError} in a sentence that begins with the key and tells nothing of the patient
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
    try {
      const { meta, end } = parseFileMeta(bytes, whole);
      const syntax = transferSyntaxOf(meta.text("transferSyntax"));
      if (syntax.deflated && source === file) {
        source = await inflated(file, end, limits, signal);
        length = FIRST_READ_BYTES / 4;
        continue;
      }
      onFrame.restart();
      const { dataSet, pixels } = parseDataSet(bytes, end, whole, syntax, onFrame.add);
      return { key, dataSet, syntax, pixels, source };
    } catch (cause) {
      if (cause instanceof MoreBytesNeeded) {
        if (length < maxHead) continue;
        throw new ImageFormatError(
          `${key} has a DICOM header of more than ${maxHead} bytes, which is over the limit`,
          { cause },
        );
      }
      if (cause instanceof DataSetError) {
        throw new ImageFormatError(`${key} is damaged: ${cause.message}; copy the file again`, { cause });
      }
      if (!(cause instanceof DicomRefusal)) throw cause;
      throw new ImageFormatError(`${key} cannot be read: ${cause.message}`, { cause });
    }
  }
}

/** The same file with its data set as it was before it was deflated (PS3.5 annex A.5). */
async function inflated(
  file: ByteSource,
  from: number,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<ByteSource> {
  const { key, byteLength, etag } = file;
  if (byteLength > limits.tileBytes)
    throw new DicomRefusal(`it is deflated and larger than ${limits.tileBytes} bytes`);
  const [stored] = await file.readRanges([{ offset: 0, length: byteLength }], signal);
  let rest: Uint8Array;
  try {
    rest = inflateBounded(stored!.subarray(from), limits.tileBytes);
  } catch (cause) {
    if (cause instanceof RangeError)
      throw new DicomRefusal(`it is deflated and unpacks to ${cause.message}, over the limit`, { cause });
    throw new DataSetError("its deflated data cannot be unpacked");
  }
  const bytes = new Uint8Array(from + rest.length);
  bytes.set(stored!.subarray(0, from));
  bytes.set(rest, from);
  const store = new MemoryStore({ [key]: bytes });
  const info = await store.head(key);
  return new ByteSource(store, key, { byteLength: bytes.length, etag: info?.etag ?? etag });
}
