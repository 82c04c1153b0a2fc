import { ImageFormatError } from "../../image/errors.ts";
import type { ImageLimits } from "../../image/limits.ts";
import type { ByteRange, ByteSource } from "../../storage/byte-source.ts";
import { TagArray } from "./tag-array.ts";
import { decodeText, fieldBytes, fieldValues, readCount } from "./tag-values.ts";

/**
 * Bytes that are read with a directory: most have their values right behind them. Label and macro pictures may follow, which
 * are never read: a kilobyte of one is hardly more than its header.
 */
const AHEAD_BYTES = 1024;
/** Where directories follow each other without pixels between them, more of them are read at once. */
const MAX_AHEAD_BYTES = 64 * 1024;
/** Values of a directory that lie this close are read together. */
const VALUE_GAP_BYTES = 64;
/** Most directories of a chain: far above any scanner's page count. */
const MAX_DIRECTORIES = 4096;

/** Most tags of one directory; the standard and all private tags together are a few hundred. */
const MAX_TAGS = 4096;

/** Most values of a tag that is read at once and does not grow with the file: samples, levels, a colour map. */
const MAX_VALUES = 3 * 65536;

/** Position of the values of a tag, as its directory states it. */
interface TagEntry {
  type: number;
  count: number;
  /** Offset of the first value in the file, inside the directory or outside it. */
  offset: number;
}

/** The tags of one page. Values are read on demand, at most once. */
export class TiffDirectory {
  /** Offset of the directory in the file: its identity. */
  readonly offset: number;
  readonly #tags: ReadonlyMap<number, TagEntry>;
  readonly #file: TiffFile;
  readonly #values = new Map<number, ArrayLike<number>>();

  constructor(offset: number, tags: ReadonlyMap<number, TagEntry>, file: TiffFile) {
    this.offset = offset;
    this.#tags = tags;
    this.#file = file;
  }

  has(tag: number): boolean {
    return this.#tags.has(tag);
  }

  /** The first value of a numeric tag. */
  async number(tag: number, signal?: AbortSignal): Promise<number | undefined> {
    const known = this.#values.get(tag);
    if (known) return known[0];
    const entry = this.#tags.get(tag);
    if (entry === undefined || entry.count === 0) return undefined;
    return (await this.#file.readValues(tag, { ...entry, count: 1 }, signal))[0];
  }

  /** @param most values that the tag can have; more count as damage */
  async numbers(
    tag: number,
    signal?: AbortSignal,
    most = MAX_VALUES,
  ): Promise<ArrayLike<number> | undefined> {
    const known = this.#values.get(tag);
    if (known) return known;
    const entry = this.#tags.get(tag);
    if (entry === undefined || entry.count === 0) return undefined;
    if (entry.count > most)
      throw this.#file.damaged(`tag ${tag} claims ${entry.count} values, over the limit of ${most}`);
    const values = await this.#file.readValues(tag, entry, signal);
    this.#values.set(tag, values);
    return values;
  }

  /** A long array whose values are read on demand. */
  array(tag: number): TagArray | undefined {
    const entry = this.#tags.get(tag);
    if (entry === undefined) return undefined;
    this.#file.checkInside(tag, entry);
    const { type, count, offset } = entry;
    return new TagArray(count, (first, some, signal) =>
      this.#file.readValues(tag, { type, count: some, offset: offset + first * fieldBytes(type)! }, signal),
    );
  }

  /** @param most bytes to read */
  async text(
    tag: number,
    signal?: AbortSignal,
    most = Number.POSITIVE_INFINITY,
  ): Promise<string | undefined> {
    const entry = this.#tags.get(tag);
    if (entry === undefined || fieldBytes(entry.type) !== 1) return undefined;
    const count = Math.min(entry.count, most);
    return decodeText(await this.#file.readBytes(tag, { ...entry, count }, signal));
  }

  async bytes(tag: number, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    const entry = this.#tags.get(tag);
    if (entry === undefined || entry.count === 0 || fieldBytes(entry.type) !== 1) return undefined;
    if (entry.count > MAX_VALUES)
      throw this.#file.damaged(`tag ${tag} claims ${entry.count} bytes, over the limit of ${MAX_VALUES}`);
    return this.#file.readBytes(tag, entry, signal);
  }

  /** A rational as numerator over denominator, undefined for denominator 0; other numbers unchanged. */
  async rational(tag: number, signal?: AbortSignal): Promise<number | undefined> {
    const entry = this.#tags.get(tag);
    if (entry === undefined || entry.count === 0) return undefined;
    const values = await this.#file.readValues(tag, { ...entry, count: 1 }, signal);
    if (values.length < 2) return values[0];
    return values[1] === 0 ? undefined : values[0]! / values[1]!;
  }
}

/**
 * The directories of a TIFF or BigTIFF file, read by ranges.
 *
 * No writer makes directories overlap, so together they are at most as long as the file: this bounds the work,
 * whatever the pointers say. Tags of unknown types are skipped, as TIFF 6.0 (section 2) asks, and values are read on
 * demand.
 */
export class TiffFile {
  readonly source: ByteSource;
  readonly littleEndian: boolean;
  readonly bigTiff: boolean;
  /** Notes on what was skipped, for the image's details. */
  readonly notes: Record<string, string> = {};
  readonly #first: number;
  readonly #limits: ImageLimits;
  readonly #parsed = new Map<number, { directory: TiffDirectory; next: number }>();
  #directoryBytes = 0;
  /** Ranges of values that lie together, by the offset of each. */
  readonly #groups = new Map<number, ByteRange>();
  #ahead = AHEAD_BYTES;
  /** End of the directory that was read last. */
  #end = Number.NaN;
  #chainFault: string | undefined;

  private constructor(
    source: ByteSource,
    limits: ImageLimits,
    about: { littleEndian: boolean; bigTiff: boolean; first: number },
  ) {
    this.source = source;
    this.#limits = limits;
    this.littleEndian = about.littleEndian;
    this.bigTiff = about.bigTiff;
    this.#first = about.first;
  }

  static async open(source: ByteSource, limits: ImageLimits, signal?: AbortSignal): Promise<TiffFile> {
    const head = await source.readUpTo(0, 16, signal);
    const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
    const littleEndian = head[0] === 0x49;
    const bigTiff = head.length >= 4 && view.getUint16(2, littleEndian) === 43;
    if (head.length < (bigTiff ? 16 : 8)) {
      throw new ImageFormatError(
        `${source.key} is damaged or cut short: it ends inside its TIFF header; copy the file again or export it again`,
      );
    }
    const first = bigTiff ? readCount(view, 8, littleEndian) : view.getUint32(4, littleEndian);
    return new TiffFile(source, limits, { littleEndian, bigTiff, first });
  }

  /**
   * The main chain, in file order. If a pointer to the next directory is invalid, the earlier directories are
   * returned, as in other readers, and `chainFault` says so.
   */
  async directories(signal?: AbortSignal): Promise<TiffDirectory[]> {
    const found: TiffDirectory[] = [];
    const seen = new Set<number>();
    let offset = this.#first;
    while (offset !== 0) {
      const fault = seen.has(offset) ? "leads back to an earlier one" : undefined;
      if (seen.size === MAX_DIRECTORIES) {
        throw new ImageFormatError(
          `${this.source.key}: it has more than ${MAX_DIRECTORIES} pages, which is over the limit; split it, or convert it to OME-Zarr`,
        );
      }
      try {
        if (fault) throw this.damaged(`the pointer to page ${found.length + 1} ${fault}`);
        seen.add(offset);
        const { directory, next } = await this.#parse(offset, signal);
        found.push(directory);
        offset = next;
      } catch (error) {
        if (!(error instanceof ImageFormatError) || found.length === 0) throw error;
        this.#chainFault = `the pointer to page ${found.length + 1} ${fault ?? "leads nowhere"}`;
        this.notes.pages = `${found.length}, for ${this.#chainFault}: the file may be cut short`;
        break;
      }
    }
    if (found.length === 0) throw this.damaged("it has no directory");
    return found;
  }

  /** What is wrong with the chain, if anything: a reader that needs all pages must reject the file then. */
  get chainFault(): string | undefined {
    return this.#chainFault;
  }

  /** Reads the directory at an offset that another one points to (SubIFD). */
  async directoryAt(offset: number, signal?: AbortSignal): Promise<TiffDirectory> {
    return (await this.#parse(offset, signal)).directory;
  }

  /** Values of a tag, converted from the file's byte order. Rationals as pairs. */
  async readValues(tag: number, entry: TagEntry, signal?: AbortSignal): Promise<ArrayLike<number>> {
    const bytes = await this.readBytes(tag, entry, signal);
    const values = fieldValues(bytes, entry.type, entry.count, this.littleEndian);
    if (values === undefined) throw this.damaged(`tag ${tag} has values of type ${entry.type}`);
    return values;
  }

  async readBytes(tag: number, entry: TagEntry, signal?: AbortSignal): Promise<Uint8Array> {
    this.checkInside(tag, entry);
    const range = { offset: entry.offset, length: entry.count * fieldBytes(entry.type)! };
    const group = this.#groups.get(entry.offset);
    const covers = group && group.offset + group.length >= range.offset + range.length;
    return this.source.readWithin(range, covers ? group : range, signal);
  }

  /** @throws {ImageFormatError} when values lie outside the file or exceed the metadata limit */
  checkInside(tag: number, { type, count, offset }: TagEntry): void {
    const byteLength = count * fieldBytes(type)!;
    if (offset + byteLength > this.source.byteLength)
      throw this.damaged(`tag ${tag} points beyond the end of the file`);
    if (byteLength > this.#limits.metadataBytes) {
      throw this.damaged(
        `tag ${tag} claims ${byteLength} bytes, over the limit of ${this.#limits.metadataBytes}`,
      );
    }
  }

  damaged(reason: string): ImageFormatError {
    return new ImageFormatError(
      `${this.source.key} is damaged or cut short: ${reason}; copy the file again or export it again`,
    );
  }

  async #parse(offset: number, signal?: AbortSignal): Promise<{ directory: TiffDirectory; next: number }> {
    const known = this.#parsed.get(offset);
    if (known) return known;
    const { bigTiff, littleEndian: le, source } = this;
    const entryBytes = bigTiff ? 20 : 12;
    const countBytes = bigTiff ? 8 : 2;
    const inlineBytes = bigTiff ? 8 : 4;
    const gap = offset - this.#end;
    this.#ahead = gap >= 0 && gap <= AHEAD_BYTES ? Math.min(2 * this.#ahead, MAX_AHEAD_BYTES) : AHEAD_BYTES;
    const readUpTo = (at: number, length: number) =>
      source.readWithin(
        { offset: at, length },
        { offset: at, length: Math.max(length, this.#ahead) },
        signal,
      );
    const read = async (at: number, length: number) => {
      source.checkInside({ offset: at, length });
      return readUpTo(at, length);
    };
    const head = await read(offset, countBytes);
    const headView = new DataView(head.buffer, head.byteOffset, head.byteLength);
    const entries = bigTiff ? readCount(headView, 0, le) : headView.getUint16(0, le);
    if (entries > MAX_TAGS) throw this.damaged(`a directory claims ${entries} tags`);
    if (entries === 0) throw this.damaged("a directory has no tags");
    this.#directoryBytes += entries * entryBytes;
    if (this.#directoryBytes > source.byteLength)
      throw this.damaged("its directories overlap: together they are longer than the file");
    const begin = offset + countBytes;
    await read(begin, entries * entryBytes);
    // Some writers omit the pointer behind the last directory of a file.
    const bytes = await readUpTo(begin, entries * entryBytes + inlineBytes);
    this.#end = begin + bytes.length;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const word = (at: number) => (bigTiff ? readCount(view, at, le) : view.getUint32(at, le));
    const tags = new Map<number, TagEntry>();
    for (let i = 0; i < entries; i++) {
      const at = i * entryBytes;
      const tag = view.getUint16(at, le);
      const type = view.getUint16(at + 2, le);
      const size = fieldBytes(type);
      if (size === undefined || tags.has(tag)) continue;
      const count = word(at + 4);
      const valueAt = at + 4 + inlineBytes;
      tags.set(tag, { type, count, offset: size * count <= inlineBytes ? begin + valueAt : word(valueAt) });
    }
    const end = entries * entryBytes;
    const next = bytes.length >= end + inlineBytes ? word(end) : 0;
    this.#groupValues(tags);
    const parsed = { directory: new TiffDirectory(offset, tags, this), next };
    this.#parsed.set(offset, parsed);
    return parsed;
  }

  #groupValues(tags: ReadonlyMap<number, TagEntry>): void {
    const ranges = [...tags.values()]
      .map(({ type, count, offset }) => ({ offset, length: count * fieldBytes(type)! }))
      .filter(({ offset, length }) => length > 0 && offset + length <= this.source.byteLength)
      .sort((a, b) => a.offset - b.offset);
    let group: ByteRange | undefined;
    for (const { offset, length } of ranges) {
      const end = group ? group.offset + group.length : Number.NEGATIVE_INFINITY;
      const all = group ? Math.max(end, offset + length) - group.offset : 0;
      if (group && offset - end <= VALUE_GAP_BYTES && all <= MAX_AHEAD_BYTES) group.length = all;
      else group = { offset, length };
      this.#groups.set(offset, group);
    }
  }
}
