import { deflateSync } from "fflate";

/** A value to write: text, numbers by their representation, bytes, or the items of a sequence. */
export type Value = string | number | readonly number[] | Uint8Array | readonly Elements[];

/** Elements by tag, written in the order of tags. */
export type Elements = Readonly<Record<number, readonly [vr: string, value: Value]>>;

export const SYNTAX = {
  implicit: "1.2.840.10008.1.2",
  explicit: "1.2.840.10008.1.2.1",
  deflated: "1.2.840.10008.1.2.1.99",
  bigEndian: "1.2.840.10008.1.2.2",
  rle: "1.2.840.10008.1.2.5",
  jpeg: "1.2.840.10008.1.2.4.50",
  lossless: "1.2.840.10008.1.2.4.70",
  jpegLs: "1.2.840.10008.1.2.4.80",
  jpeg2000: "1.2.840.10008.1.2.4.90",
} as const;

export interface MadeDicom {
  syntax?: string;
  elements: Elements;
  /** Native samples, or the fragments of each frame with their offset tables. */
  pixels?: Uint8Array | { frames: readonly (readonly Uint8Array[])[]; table: "basic" | "extended" | "none" };
  /** Writes sequences and items without a length, as some programs do. */
  undefinedLengths?: boolean;
}

const LONG = new Set(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UC", "UN", "UR", "UT"]);
const UNDEFINED = 0xffffffff;

interface Style {
  explicit: boolean;
  little: boolean;
  undefinedLengths: boolean;
}

/** Writes a DICOM file, element by element. */
export function makeDicom(made: MadeDicom): Uint8Array {
  const syntax = made.syntax ?? SYNTAX.explicit;
  const style: Style = {
    explicit: syntax !== SYNTAX.implicit,
    little: syntax !== SYNTAX.bigEndian,
    undefinedLengths: made.undefinedLengths ?? false,
  };
  const plain = { ...style, explicit: true, little: true };
  const { length } = writeElements({ 131088: ["UI", syntax] }, plain);
  const meta = writeElements({ 131072: ["UL", length], 131088: ["UI", syntax] }, plain);
  let { elements } = made;
  const { pixels } = made;
  const parts: Uint8Array[] = [];
  if (pixels instanceof Uint8Array) parts.push(element(0x7fe00010, "OW", pixels, style));
  else if (pixels) {
    const { frames, table } = pixels;
    const sizes = frames.map((fragments) => fragments.reduce((n, f) => n + 8 + f.length + (f.length & 1), 0));
    const offsets = sizes.map((_, i) => sizes.slice(0, i).reduce((a, b) => a + b, 0));
    if (table === "extended") {
      elements = {
        ...elements,
        2145386497: ["OV", wide(offsets)],
        2145386498: ["OV", wide(sizes.map((n) => n - 8))],
      };
    }
    const basic = new Uint8Array(table === "basic" ? 4 * frames.length : 0);
    if (table === "basic")
      for (const [i, offset] of offsets.entries()) new DataView(basic.buffer).setUint32(4 * i, offset, true);
    parts.push(header(0x7fe00010, "OB", UNDEFINED, style), item(basic));
    for (const fragment of frames.flat()) parts.push(item(fragment));
    parts.push(rawTag(0xfffee0dd, 0, true));
  }
  let body = join([writeElements(elements, style), ...parts]);
  if (syntax === SYNTAX.deflated) body = deflateSync(body);
  return join([new Uint8Array(128), text("DICM"), meta, body]);
}

function wide(values: readonly number[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(values.map(BigInt)).buffer);
}

function item(bytes: Uint8Array): Uint8Array {
  const padded = even(bytes);
  return join([rawTag(0xfffee000, padded.length, true), padded]);
}

function writeElements(elements: Elements, style: Style): Uint8Array {
  const tags = Object.keys(elements)
    .map(Number)
    .sort((a, b) => a - b);
  return join(tags.map((tag) => element(tag, ...elements[tag]!, style)));
}

function element(tag: number, vr: string, value: Value, style: Style): Uint8Array {
  if (vr !== "SQ") {
    const bytes = even(encode(vr, value, style.little), vr === "UI" ? 0 : 32);
    return join([header(tag, vr, bytes.length, style), bytes]);
  }
  const items = (value as readonly Elements[]).map((inner) => {
    const bytes = writeElements(inner, style);
    return style.undefinedLengths
      ? join([rawTag(0xfffee000, UNDEFINED, style.little), bytes, rawTag(0xfffee00d, 0, style.little)])
      : join([rawTag(0xfffee000, bytes.length, style.little), bytes]);
  });
  const content = join(items);
  return style.undefinedLengths
    ? join([header(tag, "SQ", UNDEFINED, style), content, rawTag(0xfffee0dd, 0, style.little)])
    : join([header(tag, "SQ", content.length, style), content]);
}

function header(tag: number, vr: string, length: number, { explicit, little }: Style): Uint8Array {
  if (!explicit) return rawTag(tag, length, little);
  const out = new Uint8Array(LONG.has(vr) ? 12 : 8);
  const view = new DataView(out.buffer);
  view.setUint16(0, tag >>> 16, little);
  view.setUint16(2, tag & 0xffff, little);
  out.set(text(vr), 4);
  if (LONG.has(vr)) view.setUint32(8, length, little);
  else view.setUint16(6, length, little);
  return out;
}

function rawTag(tag: number, length: number, little: boolean): Uint8Array {
  const out = new Uint8Array(8);
  const view = new DataView(out.buffer);
  view.setUint16(0, tag >>> 16, little);
  view.setUint16(2, tag & 0xffff, little);
  view.setUint32(4, length, little);
  return out;
}

function encode(vr: string, value: Value, little: boolean): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (typeof value === "string") return text(value);
  const numbers = (typeof value === "number" ? [value] : value) as readonly number[];
  if (vr === "DS" || vr === "IS") return text(numbers.map(decimal).join("\\"));
  const size = vr === "US" || vr === "SS" ? 2 : 4;
  const out = new Uint8Array(size * numbers.length);
  const view = new DataView(out.buffer);
  for (const [i, v] of numbers.entries()) {
    if (size === 2) view.setUint16(2 * i, v, little);
    else if (vr === "FL") view.setFloat32(4 * i, v, little);
    else view.setInt32(4 * i, v, little);
  }
  return out;
}

const text = (value: string) => Uint8Array.from(value, (c) => c.charCodeAt(0));

function even(bytes: Uint8Array, pad = 0): Uint8Array {
  return bytes.length % 2 === 0 ? bytes : join([bytes, Uint8Array.of(pad)]);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Encodes a frame in RLE: byte planes, most significant first, in runs and literals. */
export function encodeRle(samples: Uint8Array, bytesPerSample: number, components: number): Uint8Array {
  const pixels = samples.length / (bytesPerSample * components);
  const segments: Uint8Array[] = [];
  for (let c = 0; c < components; c++) {
    for (let b = bytesPerSample - 1; b >= 0; b--) {
      const plane = Uint8Array.from(
        { length: pixels },
        (_, p) => samples[(p * components + c) * bytesPerSample + b]!,
      );
      segments.push(even(packBits(plane)));
    }
  }
  const head = new Uint8Array(64);
  const view = new DataView(head.buffer);
  view.setUint32(0, segments.length, true);
  let at = 64;
  for (const [s, segment] of segments.entries()) {
    view.setUint32(4 + 4 * s, at, true);
    at += segment.length;
  }
  return join([head, ...segments]);
}

function packBits(bytes: Uint8Array): Uint8Array {
  const out: number[] = [];
  for (let at = 0; at < bytes.length; ) {
    let run = 1;
    while (run < 128 && bytes[at + run] === bytes[at]) run++;
    if (run > 1) {
      out.push(257 - run, bytes[at]!);
      at += run;
    } else {
      const from = at;
      while (at < bytes.length && at - from < 128 && bytes[at + 1] !== bytes[at]) at++;
      out.push(at - from - 1, ...bytes.subarray(from, at));
    }
  }
  return Uint8Array.from(out);
}

/** At most sixteen characters. */
const decimal = (v: number) => String(Math.abs(v) < 1e-9 ? 0 : Number(v.toPrecision(9)));
