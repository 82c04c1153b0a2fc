import { GeoTIFF, type ImageFileDirectory } from "geotiff";
import type { ByteSource } from "../byte-source.ts";
import { ImageFormatError } from "../errors.ts";
import type { ImageLimits } from "../limits.ts";
import { TagArray } from "./tag-array.ts";

/** Directories followed before the chain is taken for damaged: far above any scanner's page count. */
const MAX_DIRECTORIES = 4096;

/** Bytes per value of each TIFF field type, by type number. */
const TYPE_BYTES = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8];

/** The tags of one page. Values beyond the directory are read when asked for, at most once. */
export class TiffDirectory {
  /** Where the directory begins in the file: its identity. */
  readonly offset: number;
  readonly #ifd: ImageFileDirectory;
  readonly #file: TiffFile;
  readonly #values = new Map<number, unknown>();

  constructor(offset: number, ifd: ImageFileDirectory, file: TiffFile) {
    this.offset = offset;
    this.#ifd = ifd;
    this.#file = file;
  }

  has(tag: number): boolean {
    return this.#ifd.hasTag(tag);
  }

  /** The first value of a numeric tag. */
  async number(tag: number, signal?: AbortSignal): Promise<number | undefined> {
    const values = await this.numbers(tag, signal);
    return values?.[0];
  }

  async numbers(tag: number, signal?: AbortSignal): Promise<ArrayLike<number> | undefined> {
    const value = await this.#value(tag, signal);
    if (value === undefined || typeof value === "string") return undefined;
    return typeof value === "number" ? [value] : (value as ArrayLike<number>);
  }

  /** A long array whose values are read as they are asked for. */
  array(tag: number): TagArray | undefined {
    if (!this.#ifd.hasTag(tag)) return undefined;
    const deferred = this.#ifd.deferredArrays.get(tag);
    if (deferred === undefined) {
      const value = this.#ifd.actualizedFields.get(tag);
      const values = typeof value === "number" ? [value] : (value as unknown as ArrayLike<number>);
      return TagArray.of(values);
    }
    const { arrayOffset, fieldType, length } = deferred;
    return new TagArray(length, (first, count, signal) =>
      this.#file.readValues(arrayOffset + first * TYPE_BYTES[fieldType]!, fieldType, count, signal),
    );
  }

  async text(tag: number, signal?: AbortSignal): Promise<string | undefined> {
    const value = await this.#value(tag, signal);
    return typeof value === "string" ? value.replace(/\0[\s\S]*$/, "") : undefined;
  }

  async bytes(tag: number, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    const values = await this.numbers(tag, signal);
    return values && (values instanceof Uint8Array ? values : Uint8Array.from(values));
  }

  /** Numerator over denominator; undefined also where the denominator is 0. */
  async rational(tag: number, signal?: AbortSignal): Promise<number | undefined> {
    const value = await this.numbers(tag, signal);
    if (value === undefined || value.length < 2 || value[1] === 0) return undefined;
    return value[0]! / value[1]!;
  }

  async #value(tag: number, signal?: AbortSignal): Promise<unknown> {
    if (!this.#ifd.hasTag(tag)) return undefined;
    if (!this.#values.has(tag)) {
      const deferred = this.#ifd.deferredArrays.get(tag);
      const value = deferred
        ? await this.#file.readValues(deferred.arrayOffset, deferred.fieldType, deferred.length, signal)
        : await this.#file.guard(() => this.#ifd.loadValue(tag));
      this.#values.set(tag, value);
    }
    return this.#values.get(tag);
  }
}

/**
 * A TIFF or BigTIFF file's directories, parsed by geotiff.js over range reads.
 *
 * Around the parser stand three guards. Each directory is checked before it is parsed, for the parser allocates
 * what a header claims; the chain is followed here, so that a loop in it ends; and arrays that lie outside the
 * directory are read here, for geotiff 3.0.5 takes them for little-endian in any file.
 */
export class TiffFile {
  readonly source: ByteSource;
  readonly littleEndian: boolean;
  readonly bigTiff: boolean;
  readonly #tiff: GeoTIFF;
  readonly #limits: ImageLimits;

  private constructor(source: ByteSource, tiff: GeoTIFF, limits: ImageLimits) {
    this.source = source;
    this.#tiff = tiff;
    this.#limits = limits;
    this.littleEndian = tiff.littleEndian;
    this.bigTiff = tiff.bigTiff;
  }

  static async open(source: ByteSource, limits: ImageLimits, signal?: AbortSignal): Promise<TiffFile> {
    const adapter = {
      async fetch(slices: { offset: number; length: number }[]): Promise<ArrayBufferLike[]> {
        return Promise.all(
          slices.map(
            async ({ offset, length }) => (await source.readUpTo(offset, length, signal)).slice().buffer,
          ),
        );
      },
    };
    try {
      const tiff = await GeoTIFF.fromSource(
        adapter as unknown as Parameters<typeof GeoTIFF.fromSource>[0],
        {},
        signal,
      );
      return new TiffFile(source, tiff, limits);
    } catch (cause) {
      throw asFormatError(cause, source.key);
    }
  }

  /** The main chain, in file order. */
  async directories(signal?: AbortSignal): Promise<TiffDirectory[]> {
    const found: TiffDirectory[] = [];
    const seen = new Set<number>();
    let offset = this.#tiff.firstIFDOffset;
    while (offset !== 0) {
      if (seen.has(offset)) throw this.#damaged("its directories form a loop");
      if (seen.size === MAX_DIRECTORIES)
        throw this.#damaged(`it has more than ${MAX_DIRECTORIES} directories`);
      seen.add(offset);
      const { directory, next } = await this.#parse(offset, signal);
      found.push(directory);
      offset = next;
    }
    if (found.length === 0) throw this.#damaged("it has no directory");
    return found;
  }

  /** The directory at an offset that another one points to (SubIFD). */
  async directoryAt(offset: number, signal?: AbortSignal): Promise<TiffDirectory> {
    return (await this.#parse(offset, signal)).directory;
  }

  /** Values of a tag that lie outside its directory, in the file's own byte order. Rationals as pairs. */
  async readValues(
    offset: number,
    type: number,
    count: number,
    signal?: AbortSignal,
  ): Promise<ArrayLike<number>> {
    const bytes = await this.source.read(offset, count * TYPE_BYTES[type]!, signal);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const le = this.littleEndian;
    switch (type) {
      case 1:
      case 2:
      case 7:
        return bytes;
      case 3:
        return Uint16Array.from({ length: count }, (_, i) => view.getUint16(2 * i, le));
      case 4:
      case 13:
        return Uint32Array.from({ length: count }, (_, i) => view.getUint32(4 * i, le));
      case 9:
        return Int32Array.from({ length: count }, (_, i) => view.getInt32(4 * i, le));
      case 5:
        return Uint32Array.from({ length: 2 * count }, (_, i) => view.getUint32(4 * i, le));
      case 11:
        return Float32Array.from({ length: count }, (_, i) => view.getFloat32(4 * i, le));
      case 12:
        return Float64Array.from({ length: count }, (_, i) => view.getFloat64(8 * i, le));
      case 16:
      case 18:
        return Float64Array.from({ length: count }, (_, i) => Number(view.getBigUint64(8 * i, le)));
      default:
        throw this.#damaged(`a tag has values of type ${type}, which no array has`);
    }
  }

  /** Runs a call into geotiff.js; what it throws on damaged input becomes an `ImageFormatError`. */
  async guard<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (cause) {
      throw asFormatError(cause, this.source.key);
    }
  }

  async #parse(offset: number, signal?: AbortSignal): Promise<{ directory: TiffDirectory; next: number }> {
    await this.#checkDirectory(offset, signal);
    const ifd = await this.guard(() => this.#tiff.parser.parseFileDirectoryAt(offset));
    return { directory: new TiffDirectory(offset, ifd, this), next: ifd.nextIFDByteOffset };
  }

  /** Every value a directory points to must lie inside the file and within the metadata limit. */
  async #checkDirectory(offset: number, signal?: AbortSignal): Promise<void> {
    const { bigTiff, littleEndian: le } = this;
    const entryBytes = bigTiff ? 20 : 12;
    const countBytes = bigTiff ? 8 : 2;
    const head = await this.source.read(offset, countBytes, signal);
    const headView = new DataView(head.buffer, head.byteOffset, head.byteLength);
    const entries = bigTiff ? Number(headView.getBigUint64(0, le)) : headView.getUint16(0, le);
    if (entries > 65535) throw this.#damaged(`a directory claims ${entries} tags`);
    const bytes = await this.source.read(offset + countBytes, entries * entryBytes, signal);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let i = 0; i < entries; i++) {
      const at = i * entryBytes;
      const tag = view.getUint16(at, le);
      const type = view.getUint16(at + 2, le);
      const count = bigTiff ? Number(view.getBigUint64(at + 4, le)) : view.getUint32(at + 4, le);
      const size = TYPE_BYTES[type];
      if (!size) throw this.#damaged(`tag ${tag} has the unknown type ${type}`);
      const byteLength = size * count;
      if (byteLength <= (bigTiff ? 8 : 4)) continue;
      const valueAt = bigTiff ? Number(view.getBigUint64(at + 12, le)) : view.getUint32(at + 8, le);
      if (valueAt + byteLength > this.source.byteLength) {
        throw this.#damaged(`tag ${tag} points beyond the end of the file`);
      }
      if (byteLength > this.#limits.metadataBytes) {
        throw this.#damaged(
          `tag ${tag} claims ${byteLength} bytes, over the limit of ${this.#limits.metadataBytes}`,
        );
      }
    }
  }

  #damaged(reason: string): ImageFormatError {
    return new ImageFormatError(
      `${this.source.key} is damaged or cut short: ${reason}; copy the file again or export it anew`,
    );
  }
}

/** geotiff.js answers damaged input with RangeError, TypeError and plain Error; storage errors pass through. */
function asFormatError(cause: unknown, key: string): unknown {
  const name = (cause as Error)?.name;
  if (name !== "Error" && name !== "RangeError" && name !== "TypeError") return cause;
  return new ImageFormatError(
    `${key} is a damaged or cut-short TIFF (${(cause as Error).message}); copy the file again or export it anew`,
    { cause },
  );
}
