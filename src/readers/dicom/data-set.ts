import {
  ATTRIBUTE_BY_TAG,
  ATTRIBUTES,
  type AttributeName,
  FLOAT_PIXEL_DATA,
  PIXEL_DATA,
} from "./attributes.ts";
import { NeedMoreBytesError } from "./errors.ts";

/** The bytes are not a valid data set; the message completes "<file> is damaged: …". */
export class DataSetError extends Error {
  override readonly name = "DataSetError";
  /** The elements that were parsed before the error. */
  dataSet: DataSet | undefined;
}

interface Element {
  vr: string;
  littleEndian: boolean;
  value: Uint8Array;
  items: DataSet[];
}

/** Longest value that is kept, except offset tables. */
const MAX_VALUE_BYTES = 4096;
/** Limit of an extended offset table: eight million frames. */
const MAX_TABLE_BYTES = 64 * 2 ** 20;
/** Limit of opaque values: a palette, a private header. Longer ones are dropped. */
const MAX_OPAQUE_BYTES = 2 ** 20;
const MAX_DEPTH = 16;
/** Most items of a sequence that is kept; the items of frames are handed on one by one. */
const MAX_ITEMS = 64;

const NO_BYTES = new Uint8Array(0);

const UNDEFINED_LENGTH = 0xffffffff;
const ITEM = 0xfffee000;
const ITEM_END = 0xfffee00d;
const SEQUENCE_END = 0xfffee0dd;

/** Value representations with a 32-bit length behind two reserved bytes (PS3.5 section 7.1.2). */
const LONG: ReadonlySet<string> = new Set([
  "OB",
  "OD",
  "OF",
  "OL",
  "OV",
  "OW",
  "SQ",
  "SV",
  "UC",
  "UN",
  "UR",
  "UT",
  "UV",
]);

/**
 * The attributes of `ATTRIBUTES` that a data set or an item of a sequence holds.
 *
 * Written by hand beside dcmjs, which the DICOM SEG writer uses to copy all attributes of a source: dcmjs and
 * dicom-parser take the bytes as one array and keep every element. This parser reads the head alone, in growing
 * ranges; it keeps an allow-list of attributes, so no patient data can reach a message; it bounds every length; and
 * it hands on the items of two million frames one by one.
 */
export class DataSet {
  readonly #elements = new Map<AttributeName, Element>();

  set(name: AttributeName, element: Element): void {
    this.#elements.set(name, element);
  }

  has(name: AttributeName): boolean {
    return this.#elements.has(name);
  }

  /** The values of a text, without padding. */
  texts(name: AttributeName): string[] {
    const element = this.#elements.get(name);
    if (element === undefined) return [];
    // ASCII: the attributes that are read have no other character set.
    const text = String.fromCharCode(...element.value).replace(/[\0 ]+$/, "");
    return text === "" ? [] : text.split("\\").map((part) => part.trim());
  }

  text(name: AttributeName): string | undefined {
    return this.texts(name)[0];
  }

  numbers(name: AttributeName): number[] {
    const element = this.#elements.get(name);
    if (element === undefined) return [];
    const { vr, value, littleEndian } = element;
    const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
    const several = (bytes: number, at: (offset: number) => number) =>
      Array.from({ length: Math.floor(value.length / bytes) }, (_, i) => at(i * bytes));
    switch (vr) {
      case "US":
        return several(2, (at) => view.getUint16(at, littleEndian));
      case "SS":
        return several(2, (at) => view.getInt16(at, littleEndian));
      case "UL":
        return several(4, (at) => view.getUint32(at, littleEndian));
      case "SL":
        return several(4, (at) => view.getInt32(at, littleEndian));
      case "FL":
        return several(4, (at) => view.getFloat32(at, littleEndian));
      case "FD":
        return several(8, (at) => view.getFloat64(at, littleEndian));
      case "OV":
        return several(8, (at) => Number(view.getBigUint64(at, littleEndian)));
      default:
        return this.texts(name).map((part) => (part === "" ? Number.NaN : Number(part)));
    }
  }

  number(name: AttributeName): number | undefined {
    return this.numbers(name)[0];
  }

  /** A value as stored. */
  bytes(name: AttributeName): Uint8Array {
    return this.#elements.get(name)?.value ?? NO_BYTES;
  }

  isLittleEndian(name: AttributeName): boolean {
    return this.#elements.get(name)?.littleEndian ?? true;
  }

  items(name: AttributeName): readonly DataSet[] {
    return this.#elements.get(name)?.items ?? [];
  }

  /** The only item of a functional group, or an empty one. */
  group(name: AttributeName): DataSet {
    return this.items(name)[0] ?? EMPTY;
  }
}

const EMPTY = new DataSet();

export interface ParsedDataSet {
  dataSet: DataSet;
  /** Undefined when there are no samples. `length` is undefined when they are encapsulated. */
  pixels: { tagOffset: number; offset: number; length: number | undefined; float: boolean } | undefined;
}

export interface Encoding {
  explicit: boolean;
  littleEndian: boolean;
}

/**
 * Parses a data set up to its samples (PS3.5 section 7), keeping `ATTRIBUTES` and skipping other elements.
 * @param bytes from the file's beginning; `from` is the offset of the data set in them
 * @param whole whether the file ends with `bytes`
 * @param onFrame receives the item of each frame of the per-frame functional groups, in order
 * @throws {NeedMoreBytesError} when `bytes` end before the samples and the file does not
 * @throws {DataSetError} when it is damaged
 */
export function parseDataSet(
  bytes: Uint8Array,
  from: number,
  whole: boolean,
  encoding: Encoding,
  onFrame: (item: DataSet) => void,
): ParsedDataSet {
  const reader = new ElementReader(bytes, from, whole, onFrame);
  const dataSet = new DataSet();
  let pixels: ParsedDataSet["pixels"];
  try {
    pixels = reader.readUntil(bytes.length, dataSet, encoding, 0);
  } catch (cause) {
    if (cause instanceof DataSetError) cause.dataSet = dataSet;
    throw cause;
  }
  if (pixels === undefined && !whole) throw new NeedMoreBytesError();
  return { dataSet, pixels };
}

/** Parses the file meta information (PS3.10), always explicit and little-endian; the data set begins behind it. */
export function parseFileMeta(
  bytes: Uint8Array,
  from: number,
  whole: boolean,
): { meta: DataSet; end: number } {
  const reader = new ElementReader(bytes, from, whole, () => {});
  const meta = new DataSet();
  const end = reader.readFileMeta(meta);
  return { meta, end };
}

class ElementReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #whole: boolean;
  readonly #onFrame: (item: DataSet) => void;
  #at: number;

  constructor(bytes: Uint8Array, from: number, whole: boolean, onFrame: (item: DataSet) => void) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = from;
    this.#whole = whole;
    this.#onFrame = onFrame;
  }

  readFileMeta(meta: DataSet): number {
    const encoding = { explicit: true, littleEndian: true };
    while (this.#at + 8 <= this.#bytes.length && this.#view.getUint16(this.#at, true) === 2)
      this.#readElement(meta, encoding, 0, this.#bytes.length);
    if (this.#at + 8 > this.#bytes.length && !this.#whole) throw new NeedMoreBytesError();
    return this.#at;
  }

  /**
   * Parses elements up to `end`, or to the end of an item of undefined length. @returns the position of the samples
   */
  readUntil(
    end: number,
    into: DataSet | undefined,
    encoding: Encoding,
    depth: number,
  ): ParsedDataSet["pixels"] {
    if (depth > MAX_DEPTH) throw new DataSetError(`its sequences lie more than ${MAX_DEPTH} deep`);
    while (this.#at < end) {
      const tagOffset = this.#at;
      const tag = this.#peekTag(encoding);
      if (tag === ITEM_END) {
        this.#need(8);
        this.#at += 8;
        return undefined;
      }
      if (depth === 0 && (tag === PIXEL_DATA || FLOAT_PIXEL_DATA.has(tag))) {
        const { length } = this.#readHeader(encoding);
        const stated = length === UNDEFINED_LENGTH ? undefined : length;
        return { tagOffset, offset: this.#at, length: stated, float: tag !== PIXEL_DATA };
      }
      this.#readElement(into, encoding, depth, end);
    }
    return undefined;
  }

  #readElement(into: DataSet | undefined, encoding: Encoding, depth: number, end: number): void {
    const { tag, vr, length } = this.#readHeader(encoding);
    const name = into && ATTRIBUTE_BY_TAG.get(tag);
    const wanted = name && ATTRIBUTES[name][1];
    if (
      vr === "SQ" ||
      length === UNDEFINED_LENGTH ||
      ((vr === undefined || vr === "UN") && wanted === "SQ")
    ) {
      // A writer that did not know the sequence's representation wrote it implicit and little-endian (PS3.5 section
      // 6.2.2).
      const inner = vr === "UN" ? { explicit: false, littleEndian: true } : encoding;
      if (length !== UNDEFINED_LENGTH && name === undefined) {
        this.#skip(length, end);
        return;
      }
      const items = this.#readItems(length, name, inner, depth + 1, end);
      if (name) into?.set(name, { vr: "SQ", littleEndian: true, value: NO_BYTES, items });
      return;
    }
    const from = this.#at;
    this.#skip(length, end);
    if (name === undefined || wanted === "SQ") return;
    const opaque = wanted === "OB" || wanted === "OW";
    if (opaque && length > MAX_OPAQUE_BYTES) return;
    if (!opaque && length > (wanted === "OV" ? MAX_TABLE_BYTES : MAX_VALUE_BYTES))
      throw new DataSetError(`the value of its element ${hex(tag)} is ${length} bytes long`);
    this.#need(0);
    into?.set(name, {
      vr: vr === undefined || vr === "UN" ? wanted! : vr,
      littleEndian: encoding.littleEndian,
      // A copy, so that the rest of the file's head can be freed.
      value: this.#bytes.slice(from, from + length),
      items: [],
    });
  }

  #readItems(
    length: number,
    name: AttributeName | undefined,
    encoding: Encoding,
    depth: number,
    outerEnd: number,
  ): DataSet[] {
    const end = length === UNDEFINED_LENGTH ? outerEnd : this.#at + length;
    if (end > outerEnd && this.#whole) throw new DataSetError("a sequence reaches beyond what holds it");
    const items: DataSet[] = [];
    while (this.#at < end || length === UNDEFINED_LENGTH) {
      const { tag, length: itemLength } = this.#readHeader(encoding);
      if (tag === SEQUENCE_END) return items;
      if (tag !== ITEM) throw new DataSetError(`a sequence holds ${hex(tag)} where an item must be`);
      if (name === undefined && itemLength !== UNDEFINED_LENGTH) {
        this.#skip(itemLength, end);
        continue;
      }
      const item = name === undefined ? undefined : new DataSet();
      const itemEnd = itemLength === UNDEFINED_LENGTH ? end : this.#at + itemLength;
      if (itemEnd > this.#bytes.length) this.#fail();
      if (itemEnd > end) throw new DataSetError("an item reaches beyond its sequence");
      this.readUntil(itemEnd, item, encoding, depth);
      if (item === undefined) continue;
      if (name === "perFrameGroups") this.#onFrame(item);
      else if (items.length < MAX_ITEMS) items.push(item);
    }
    return items;
  }

  #peekTag({ littleEndian }: Encoding): number {
    this.#need(4);
    return (
      this.#view.getUint16(this.#at, littleEndian) * 0x10000 +
      this.#view.getUint16(this.#at + 2, littleEndian)
    );
  }

  #readHeader(encoding: Encoding): { tag: number; vr: string | undefined; length: number } {
    const tag = this.#peekTag(encoding);
    this.#need(8);
    const { explicit, littleEndian } = encoding;
    if (!explicit || tag >>> 16 === 0xfffe) {
      const length = this.#view.getUint32(this.#at + 4, littleEndian);
      this.#at += 8;
      return { tag, vr: undefined, length };
    }
    const vr = String.fromCharCode(this.#bytes[this.#at + 4]!, this.#bytes[this.#at + 5]!);
    if (!/^[A-Z]{2}$/.test(vr)) throw new DataSetError(`its element ${hex(tag)} is of no known kind`);
    if (!LONG.has(vr)) {
      const length = this.#view.getUint16(this.#at + 6, littleEndian);
      this.#at += 8;
      return { tag, vr, length };
    }
    this.#need(12);
    const length = this.#view.getUint32(this.#at + 8, littleEndian);
    this.#at += 12;
    return { tag, vr, length };
  }

  #skip(length: number, end: number): void {
    if (this.#at + length > this.#bytes.length) this.#fail();
    if (this.#at + length > end) throw new DataSetError("an element reaches beyond what holds it");
    this.#at += length;
  }

  #need(length: number): void {
    if (this.#at + length > this.#bytes.length) this.#fail();
  }

  #fail(): never {
    if (!this.#whole) throw new NeedMoreBytesError();
    throw new DataSetError("it ends inside an element");
  }
}

function hex(tag: number): string {
  const digits = (tag >>> 0).toString(16).padStart(8, "0");
  return `(${digits.slice(0, 4)},${digits.slice(4)})`;
}
