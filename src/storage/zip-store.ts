import { Inflate, inflateSync } from "fflate";
import { LRUCache } from "lru-cache";
import pLimit from "p-limit";
import { ImageFormatError } from "../image/errors.ts";
import type { ImageLimits } from "../image/limits.ts";
import type { ByteSource } from "./byte-source.ts";
import { StorageError } from "./errors.ts";
import { joinBytes } from "./join-bytes.ts";
import type { ObjectInfo, ObjectStore, ReadOptions, StoredObject } from "./object-store.ts";

interface Entry {
  /** Offset of the entry's local header. */
  offset: number;
  storedBytes: number;
  byteLength: number;
  /** 0 stored, 8 Deflate; reading any other method throws. */
  method: number;
  encrypted: boolean;
  crc: number;
}

const END_BYTES = 22;
const END_SIGNATURE = 0x06054b50;
const END64_LOCATOR_BYTES = 20;
const END64_LOCATOR_SIGNATURE = 0x07064b50;
const END64_BYTES = 56;
const END64_SIGNATURE = 0x06064b50;
const DIRECTORY_BYTES = 46;
const DIRECTORY_SIGNATURE = 0x02014b50;
const LOCAL_BYTES = 30;
const LOCAL_SIGNATURE = 0x04034b50;
const MAX_COMMENT_BYTES = 0xffff;
const STORED = 0;
const DEFLATE = 8;

/** Entries are held by name in memory. */
const MAX_ENTRIES = 100_000;

/**
 * Cache of unpacked entries: a reader returns for the samples after the head. The last entry is kept whatever its
 * size.
 */
const KEPT_BYTES = 16 * 2 ** 20;

/** Largest entry that is unpacked whole: packed and unpacked bytes are in memory together. */
const MAX_ENTRY_BYTES = 256 * 2 ** 20;

/** Reads of an entry's head are limited to this: most files of an archive are only sniffed. */
const HEAD_BYTES = 128 * 1024;
/** Stored bytes read, and unpacked, at a time; Deflate turns the latter into 16 MB at most. */
const HEAD_READ_BYTES = 64 * 1024;
const HEAD_PIECE_BYTES = 16 * 1024;

/**
 * The entries of a zip file as a store (PKWARE APPNOTE 6.3), read by ranges. Keys are `<zip>/<entry>`. A deflated
 * entry is unpacked as far as its head is asked for, else whole, and rejected above a limit.
 *
 * Written by hand: unzipit keeps the offset of an entry private, and without it a stored entry cannot be read by
 * ranges; zip.js adds 105 kB to a Worker, this 5 kB (both minified). Here the directory, the number of entries and
 * their unpacked sizes are bounded before anything is allocated.
 */
export class ZipStore implements ObjectStore {
  readonly #source: ByteSource;
  readonly #entries: Map<string, Entry>;
  readonly #limits: ImageLimits;
  readonly #kept = new LRUCache<string, Uint8Array>({
    maxSize: KEPT_BYTES,
    sizeCalculation: (bytes) => bytes.length || 1,
  });
  /** The last unpacked entry, whatever its size. */
  #last: { key: string; bytes: Uint8Array } | undefined;
  readonly #mutex = pLimit(1);

  /** @throws {ImageFormatError} when the directory of the zip file is damaged or over the limit */
  static async open(source: ByteSource, limits: ImageLimits, signal?: AbortSignal): Promise<ZipStore> {
    return new ZipStore(source, await readDirectory(source, limits, signal), limits);
  }

  private constructor(source: ByteSource, entries: Map<string, Entry>, limits: ImageLimits) {
    this.#source = source;
    this.#entries = entries;
    this.#limits = limits;
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    const entry = this.#entries.get(key);
    return (
      entry && { byteLength: entry.byteLength, etag: `${this.#source.etag}-${entry.offset}-${entry.crc}` }
    );
  }

  async get(key: string, options?: ReadOptions): Promise<StoredObject | undefined> {
    const info = await this.head(key);
    const bytes = info && (await this.getRange(key, 0, info.byteLength, options));
    return bytes && { ...info, bytes };
  }

  async getRange(
    key: string,
    offset: number,
    length: number,
    options?: ReadOptions,
  ): Promise<Uint8Array | undefined> {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const from = offset < 0 ? Math.max(0, entry.byteLength + offset) : Math.min(offset, entry.byteLength);
    const to = Math.min(from + length, entry.byteLength);
    if (entry.method === STORED && !entry.encrypted) {
      const data = await this.#dataOffset(key, entry, options?.signal);
      const [bytes] = await this.#source.readRanges(
        [{ offset: data + from, length: to - from }],
        options?.signal,
      );
      return bytes!.slice();
    }
    const kept = this.#getKept(key);
    if (kept) return kept.slice(from, to);
    if (to <= HEAD_BYTES && entry.byteLength > 2 * HEAD_BYTES)
      return (await this.#unpackHead(key, entry, to, options?.signal)).slice(from);
    // One at a time: unpacking needs twice the memory of the entry.
    const bytes = await this.#mutex(() => this.#getKept(key) ?? this.#unpack(key, entry, options?.signal));
    return bytes.slice(from, to);
  }

  async put(): Promise<boolean> {
    throw new StorageError("zip files are read-only", { retryable: false });
  }

  async *list(prefix: string): AsyncIterable<string> {
    for (const key of [...this.#entries.keys()].sort()) if (key.startsWith(prefix)) yield key;
  }

  /** The first `length` bytes of an entry. */
  async #unpackHead(key: string, entry: Entry, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    checkMethod(key, entry);
    const offset = await this.#dataOffset(key, entry, signal);
    const pieces: Uint8Array[] = [];
    let total = 0;
    const inflate = new Inflate((piece) => {
      pieces.push(piece);
      total += piece.length;
    });
    for (let at = 0; at < entry.storedBytes && total < length; at += HEAD_READ_BYTES) {
      const [stored] = await this.#source.readRanges(
        [{ offset: offset + at, length: Math.min(HEAD_READ_BYTES, entry.storedBytes - at) }],
        signal,
      );
      try {
        for (let from = 0; from < stored!.length && total < length; from += HEAD_PIECE_BYTES)
          inflate.push(stored!.subarray(from, from + HEAD_PIECE_BYTES), false);
      } catch (cause) {
        // Bytes before the damage are valid.
        if (total < length) throw damagedEntry(key, cause);
      }
    }
    if (total < length) throw damagedEntry(key);
    return joinBytes(pieces).subarray(0, length);
  }

  async #unpack(key: string, entry: Entry, signal?: AbortSignal): Promise<Uint8Array> {
    checkMethod(key, entry);
    const limit = Math.min(this.#limits.tileBytes, MAX_ENTRY_BYTES);
    if (entry.byteLength > limit) {
      throw new ImageFormatError(
        `${key} is ${entry.byteLength} bytes deflated in an archive, over the limit of ${limit}; unpack the archive first`,
      );
    }
    const offset = await this.#dataOffset(key, entry, signal);
    const [stored] = await this.#source.readRanges([{ offset, length: entry.storedBytes }], signal);
    let bytes: Uint8Array;
    try {
      // Into a buffer of the stated size, so the output cannot grow without bound.
      bytes = inflateSync(stored!, { out: new Uint8Array(entry.byteLength) });
    } catch (cause) {
      throw damagedEntry(key, cause);
    }
    if (bytes.length !== entry.byteLength) throw damagedEntry(key);
    this.#keep(key, bytes);
    return bytes;
  }

  #keep(key: string, bytes: Uint8Array): void {
    if (bytes.length <= KEPT_BYTES) this.#kept.set(key, bytes);
    this.#last = { key, bytes };
  }

  #getKept(key: string): Uint8Array | undefined {
    return this.#last?.key === key ? this.#last.bytes : this.#kept.get(key);
  }

  async #dataOffset(key: string, { offset, storedBytes }: Entry, signal?: AbortSignal): Promise<number> {
    const header = await this.#source.readUpTo(offset, LOCAL_BYTES, signal);
    const view = toDataView(header);
    const whole = header.length === LOCAL_BYTES && view.getUint32(0, true) === LOCAL_SIGNATURE;
    const data = whole
      ? offset + LOCAL_BYTES + view.getUint16(26, true) + view.getUint16(28, true)
      : Number.NaN;
    if (!(data + storedBytes <= this.#source.byteLength)) throw damagedEntry(key);
    return data;
  }
}

function checkMethod(key: string, { encrypted, method }: Entry): void {
  if (encrypted) throw new ImageFormatError(`${key} is encrypted; unpack the archive first`);
  if (method !== DEFLATE)
    throw new ImageFormatError(`${key} is packed in a way that is not read; unpack the archive first`);
}

function damagedEntry(key: string, cause?: unknown): ImageFormatError {
  return new ImageFormatError(`${key} is damaged in its archive; copy the archive again`, { cause });
}

async function readDirectory(
  source: ByteSource,
  limits: ImageLimits,
  signal?: AbortSignal,
): Promise<Map<string, Entry>> {
  const damaged = () =>
    new ImageFormatError(`${source.key} is a damaged or incomplete zip file; copy it again`);
  const { offset, length } = await findDirectory(source, damaged, signal);
  const tooMany = () =>
    new ImageFormatError(`${source.key} is a zip file with too many entries; unpack it first`);
  if (length > limits.metadataBytes) throw tooMany();
  const bytes = await source.readUpTo(offset, length, signal);
  if (bytes.length < length) throw damaged();
  const view = toDataView(bytes);
  const entries = new Map<string, Entry>();
  let stored = 0;
  for (let at = 0; at + DIRECTORY_BYTES <= length; ) {
    if (view.getUint32(at, true) !== DIRECTORY_SIGNATURE) throw damaged();
    const nameBytes = view.getUint16(at + 28, true);
    const extraBytes = view.getUint16(at + 30, true);
    const end = at + DIRECTORY_BYTES + nameBytes + extraBytes + view.getUint16(at + 32, true);
    if (end > length) throw damaged();
    const name = new TextDecoder().decode(
      bytes.subarray(at + DIRECTORY_BYTES, at + DIRECTORY_BYTES + nameBytes),
    );
    const extraAt = at + DIRECTORY_BYTES + nameBytes;
    const [byteLength, storedBytes, localOffset] = sizes(view, at, extraAt, extraAt + extraBytes);
    // Overlapping entries would unpack to far more than any archive of this size holds.
    stored += storedBytes!;
    if (stored > source.byteLength) throw damaged();
    if (!name.endsWith("/")) {
      if (entries.size === MAX_ENTRIES) throw tooMany();
      entries.set(`${source.key}/${name}`, {
        offset: localOffset!,
        storedBytes: storedBytes!,
        byteLength: byteLength!,
        method: view.getUint16(at + 10, true),
        encrypted: (view.getUint16(at + 8, true) & 1) === 1,
        crc: view.getUint32(at + 16, true),
      });
    }
    at = end;
  }
  return entries;
}

/** Sizes and offset of an entry; those over 32 bits are in the zip64 extra field, in this order. */
function sizes(view: DataView, at: number, extraAt: number, extraEnd: number): number[] {
  const short = [view.getUint32(at + 24, true), view.getUint32(at + 20, true), view.getUint32(at + 42, true)];
  if (!short.includes(0xffffffff)) return short;
  for (let field = extraAt; field + 4 <= extraEnd; field += 4 + view.getUint16(field + 2, true)) {
    if (view.getUint16(field, true) !== 1) continue;
    let value = field + 4;
    return short.map((n) => {
      if (n !== 0xffffffff || value + 8 > extraEnd) return n;
      value += 8;
      return Number(view.getBigUint64(value - 8, true));
    });
  }
  return short;
}

async function findDirectory(
  source: ByteSource,
  damaged: () => Error,
  signal?: AbortSignal,
): Promise<{ offset: number; length: number }> {
  const tailBytes = Math.min(source.byteLength, END_BYTES + MAX_COMMENT_BYTES);
  const tailAt = source.byteLength - tailBytes;
  const tail = await source.readUpTo(tailAt, tailBytes, signal);
  const view = toDataView(tail);
  for (let at = tailBytes - END_BYTES; at >= 0; at--) {
    if (view.getUint32(at, true) !== END_SIGNATURE) continue;
    const length = view.getUint32(at + 12, true);
    const offset = view.getUint32(at + 16, true);
    if (length !== 0xffffffff && offset !== 0xffffffff && view.getUint16(at + 10, true) !== 0xffff)
      return { offset, length };
    const locator = await source.readUpTo(
      Math.max(0, tailAt + at - END64_LOCATOR_BYTES),
      END64_LOCATOR_BYTES,
      signal,
    );
    if (
      locator.length < END64_LOCATOR_BYTES ||
      toDataView(locator).getUint32(0, true) !== END64_LOCATOR_SIGNATURE
    )
      return { offset, length };
    const end64At = Number(toDataView(locator).getBigUint64(8, true));
    const end64 = await source.readUpTo(Math.min(end64At, source.byteLength), END64_BYTES, signal);
    if (end64.length < END64_BYTES || toDataView(end64).getUint32(0, true) !== END64_SIGNATURE)
      throw damaged();
    return {
      length: Number(toDataView(end64).getBigUint64(40, true)),
      offset: Number(toDataView(end64).getBigUint64(48, true)),
    };
  }
  throw damaged();
}

function toDataView(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
