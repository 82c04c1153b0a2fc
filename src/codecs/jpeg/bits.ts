/**
 * The bits of entropy-coded JPEG data: stuffed zeros are removed, and the data ends at the first marker.
 *
 * Written by hand: input of lossless.ts, extended.ts and clean-scan.ts.
 */
export class JpegBits {
  readonly #bytes: Uint8Array;
  #at: number;
  #value = 0;
  #held = 0;

  constructor(bytes: Uint8Array, offset: number) {
    this.#bytes = bytes;
    this.#at = offset;
  }

  /** Offset behind the last byte that a bit was taken from. */
  get offset(): number {
    return this.#at;
  }

  /** One bit, or -1 at the end of the data. */
  bit(): number {
    if (this.#held === 0 && !this.#fill()) return -1;
    this.#held--;
    return (this.#value >> this.#held) & 1;
  }

  /** Up to 16 bits as a number, or -1 at the end of the data. */
  bits(count: number): number {
    let value = 0;
    for (let i = 0; i < count; i++) {
      const bit = this.bit();
      if (bit < 0) return -1;
      value = value * 2 + bit;
    }
    return value;
  }

  /**
   * Skips to the next marker and over it.
   * @returns whether it is the restart marker of this number, from 0 to 7
   */
  restart(number: number): boolean {
    this.#held = 0;
    let at = this.#at;
    for (;;) {
      at = this.#bytes.indexOf(0xff, at);
      if (at < 0 || at + 1 >= this.#bytes.length) return false;
      const marker = this.#bytes[at + 1]!;
      if (marker !== 0 && marker !== 0xff) {
        this.#at = at + 2;
        return marker === 0xd0 + number;
      }
      at += marker === 0 ? 2 : 1;
    }
  }

  #fill(): boolean {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) return false;
    if (byte === 0xff) {
      if (this.#bytes[this.#at + 1] !== 0) return false;
      this.#at++;
    }
    this.#at++;
    this.#value = byte;
    this.#held = 8;
    return true;
  }
}

/** A Huffman table (ITU-T T.81, annex C and F.2.2.3). */
export class HuffmanTable {
  readonly #maxCode = new Int32Array(17).fill(-1);
  readonly #offset = new Int32Array(17);
  readonly #values: Uint8Array;

  /**
   * @param counts of the codes of 1 to 16 bits
   * @param values in the order of the codes
   */
  constructor(counts: Uint8Array, values: Uint8Array) {
    this.#values = values;
    let code = 0;
    let index = 0;
    for (let length = 1; length <= 16; length++) {
      const count = counts[length - 1]!;
      if (count > 0) {
        this.#offset[length] = index - code;
        code += count;
        index += count;
        this.#maxCode[length] = code - 1;
      }
      code *= 2;
    }
  }

  /** Decodes the next value; -1 at the end of the data or for an invalid code. */
  decode(bits: JpegBits): number {
    let code = 0;
    for (let length = 1; length <= 16; length++) {
      const bit = bits.bit();
      if (bit < 0) return -1;
      code = code * 2 + bit;
      if (code <= this.#maxCode[length]!) return this.#values[this.#offset[length]! + code] ?? -1;
    }
    return -1;
  }
}

/**
 * The tables of a DHT segment, by class (0 DC and lossless, 1 AC) times 16 plus number.
 * @param body behind the segment's length
 */
export function readHuffmanTables(body: Uint8Array, into: Map<number, HuffmanTable>): void {
  for (let at = 0; at + 17 <= body.length; ) {
    const counts = body.subarray(at + 1, at + 17);
    const total = counts.reduce((sum, n) => sum + n, 0);
    into.set(body[at]!, new HuffmanTable(counts, body.subarray(at + 17, at + 17 + total)));
    at += 17 + total;
  }
}
