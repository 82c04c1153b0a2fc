import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeLzw } from "../../src/codecs/lzw.ts";
import { ImageFormatError } from "../../src/image/errors.ts";

/**
 * The encoder of TIFF 6.0, section 13, word for word: the decoder's law is that it undoes this.
 * @param old as libtiff before 1991: least significant bit first, and no early change of the width
 */
function encodeLzw(input: Uint8Array, old = false): Uint8Array {
  const out: number[] = [];
  let buffer = 0;
  let held = 0;
  let bits = 9;
  let table = new Map<string, number>();
  let next = 258;
  const write = (code: number) => {
    if (old) {
      buffer |= code << held;
      for (held += bits; held >= 8; held -= 8, buffer >>= 8) out.push(buffer & 255);
      return;
    }
    buffer = (buffer << bits) | code;
    held += bits;
    while (held >= 8) {
      out.push((buffer >> (held - 8)) & 255);
      held -= 8;
    }
    buffer &= (1 << held) - 1;
  };
  const codeOf = (text: string) => (text.length === 1 ? text.charCodeAt(0) : table.get(text)!);
  write(256);
  let omega = "";
  for (const byte of input) {
    const k = String.fromCharCode(byte);
    if (omega === "" || table.has(omega + k)) {
      omega += k;
      continue;
    }
    write(codeOf(omega));
    table.set(omega + k, next++);
    if (next === 4095) {
      write(256);
      table = new Map();
      next = 258;
      bits = 9;
    } else if (next === (1 << bits) + (old ? 1 : 0)) {
      // "As soon as we add table entry 511, we switch to 10-bit codes": one early, since the decoder lags by one.
      bits++;
    }
    omega = k;
  }
  if (omega !== "") write(codeOf(omega));
  write(257);
  if (held > 0) out.push(old ? buffer & 255 : (buffer << (8 - held)) & 255);
  return Uint8Array.from(out);
}

test("decodes what was encoded, through every code width and a full table", () => {
  const flat = new Uint8Array(50_000);
  const noisy = Uint8Array.from({ length: 30_000 }, (_, i) => (i * 7919 + (i >> 3) * 31) & 255);
  for (const data of [new Uint8Array(0), Uint8Array.of(7), flat, noisy]) {
    for (const old of [false, true]) expect(decodeLzw(encodeLzw(data, old), data.length)).toEqual(data);
  }
  fc.assert(
    fc.property(fc.array(fc.nat(3), { maxLength: 3000 }), (values) => {
      const data = Uint8Array.from(values);
      for (const old of [false, true]) expect(decodeLzw(encodeLzw(data, old), data.length)).toEqual(data);
    }),
    { seed: 3, numRuns: 50 },
  );
});

test("never returns more bytes than expected, for any input", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(1000), (input, expected) => {
      try {
        expect(decodeLzw(input, expected).length).toBeLessThanOrEqual(expected);
      } catch (error) {
        expect(error).toBeInstanceOf(ImageFormatError);
      }
    }),
  );
});
