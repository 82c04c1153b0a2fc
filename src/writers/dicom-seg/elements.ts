/** Value representations with a 32-bit length (PS3.5 section 7.1.2), among those written here. */
const LONG = new Set(["OB", "SQ"]);
const UNDEFINED_LENGTH = 0xffffffff;
const ITEM = 0xfffee000;
const SEQUENCE_END = 0xfffee0dd;

/**
 * Encodes an element with explicit value representation, little-endian.
 *
 * Written by hand beside dcmjs, which writes the head: dcmjs holds a whole file in memory, and frames are appended
 * here as they come.
 */
export function element(tag: number, vr: string, value: Uint8Array): Uint8Array {
  const padded = value.length + (value.length & 1);
  const head = elementHead(tag, vr, padded);
  const out = new Uint8Array(head.length + padded);
  out.set(head);
  out.set(value, head.length);
  return out;
}

/** Encodes the part of an element before its value of `length` bytes. */
export function elementHead(tag: number, vr: string, length: number): Uint8Array {
  const long = LONG.has(vr);
  const out = new Uint8Array(long ? 12 : 8);
  const view = new DataView(out.buffer);
  setTag(view, tag);
  out[4] = vr.charCodeAt(0);
  out[5] = vr.charCodeAt(1);
  if (long) view.setUint32(8, length, true);
  else view.setUint16(6, length, true);
  return out;
}

/** ASCII, padded with spaces, or with a zero for a UID. */
export function textElement(tag: number, vr: string, text: string): Uint8Array {
  const even = text.length & 1 ? text + (vr === "UI" ? "\0" : " ") : text;
  return element(tag, vr, new TextEncoder().encode(even));
}

export function numberElement(tag: number, vr: "US" | "UL" | "SL", ...values: readonly number[]): Uint8Array {
  const bytes = vr === "US" ? 2 : 4;
  const out = new Uint8Array(values.length * bytes);
  const view = new DataView(out.buffer);
  values.forEach((value, i) => {
    if (vr === "US") view.setUint16(2 * i, value, true);
    else if (vr === "UL") view.setUint32(4 * i, value, true);
    else view.setInt32(4 * i, value, true);
  });
  return element(tag, vr, out);
}

/** A sequence of one item. */
export function oneItem(tag: number, ...elements: readonly Uint8Array[]): Uint8Array {
  return element(tag, "SQ", item(...elements));
}

export function item(...elements: readonly Uint8Array[]): Uint8Array {
  const content = elements.reduce((n, e) => n + e.length, 0);
  const out = new Uint8Array(8 + content);
  const view = new DataView(out.buffer);
  setTag(view, ITEM);
  view.setUint32(4, content, true);
  let at = 8;
  for (const e of elements) {
    out.set(e, at);
    at += e.length;
  }
  return out;
}

/** Begins a sequence whose items are appended one by one. */
export function openSequence(tag: number): Uint8Array {
  return elementHead(tag, "SQ", UNDEFINED_LENGTH);
}

export function closeSequence(): Uint8Array {
  const out = new Uint8Array(8);
  setTag(new DataView(out.buffer), SEQUENCE_END);
  return out;
}

function setTag(view: DataView, tag: number): void {
  view.setUint16(0, tag >>> 16, true);
  view.setUint16(2, tag & 0xffff, true);
}

/** A number in at most 16 characters (DS). */
export function decimalString(value: number): string {
  for (let digits = 15; ; digits--) {
    const text = String(Number(value.toPrecision(digits)));
    if (text.length <= 16) return text;
  }
}
