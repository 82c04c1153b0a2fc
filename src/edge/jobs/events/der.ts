/**
 * One element of DER (X.690): `content` and `whole` are views of the bytes that were read.
 *
 * Written by hand: 40 strict lines instead of @peculiar/x509 with its eleven dependencies.
 */
export interface DerElement {
  tag: number;
  content: Uint8Array;
  /** With tag and length. */
  whole: Uint8Array;
}

export const DER_SEQUENCE = 0x30;

/** @throws {TypeError} where the bytes are not DER */
export function readDer(bytes: Uint8Array): DerElement {
  if (bytes.length < 2) throw new TypeError("DER ends early");
  const tag = bytes[0]!;
  if ((tag & 0x1f) === 0x1f) throw new TypeError("DER tags of several bytes are not supported");
  const first = bytes[1]!;
  let start = 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    // 0 is the indefinite length of BER; certificates have no lengths of more than three bytes.
    if (count === 0 || count > 3) throw new TypeError("invalid DER length");
    length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + (bytes[start + i] ?? Number.NaN);
    start += count;
  }
  if (!(start + length <= bytes.length)) throw new TypeError("DER ends early");
  return { tag, content: bytes.subarray(start, start + length), whole: bytes.subarray(0, start + length) };
}

/** The elements of a SEQUENCE. @throws {TypeError} */
export function readSequence({ tag, content }: DerElement): DerElement[] {
  if (tag !== DER_SEQUENCE) throw new TypeError(`DER has tag ${tag} instead of that of a sequence`);
  const elements: DerElement[] = [];
  for (let at = 0; at < content.length; ) {
    const element = readDer(content.subarray(at));
    elements.push(element);
    at += element.whole.length;
  }
  return elements;
}
