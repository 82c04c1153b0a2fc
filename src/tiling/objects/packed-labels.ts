/** Bits of a packed label; 8: not packed. */
export type LabelBits = 2 | 4 | 8;

/** @param classes background included */
export function labelBits(classes: number): LabelBits {
  return classes <= 4 ? 2 : classes <= 16 ? 4 : 8;
}

/** Lookup table from packed bytes to four (or two) labels, one byte each. */
const SPREAD = {
  2: Uint32Array.from(
    { length: 256 },
    (_, b) => (b & 3) | ((b & 12) << 6) | ((b & 48) << 12) | ((b & 192) << 18),
  ),
  4: Uint16Array.from({ length: 256 }, (_, b) => (b & 15) | ((b & 240) << 4)),
} as const;

/**
 * Class indices packed in as few bits as the number of classes needs: a quarter or half of the memory, for chunks of a
 * wide label map that wait for others.
 */
export class PackedLabels {
  readonly length: number;
  readonly #bits: LabelBits;
  readonly #packed: Uint8Array;

  /** @throws {RangeError} if a label is not a class */
  constructor(labels: Uint8Array, bits: LabelBits) {
    this.length = labels.length;
    this.#bits = bits;
    this.#packed = bits === 8 ? labels : pack(labels, bits);
  }

  get byteLength(): number {
    return this.#packed.byteLength;
  }

  /** Fills `target` with the labels from `from`, a multiple of 4. */
  unpack(from: number, target: Uint8Array): void {
    const bits = this.#bits;
    if (bits === 8) {
      target.set(this.#packed.subarray(from, from + target.length));
      return;
    }
    const perByte = 8 / bits;
    const spread = SPREAD[bits];
    const whole = Math.floor(target.length / perByte);
    const first = from / perByte;
    if (target.byteOffset % perByte === 0) {
      const Words = bits === 2 ? Uint32Array : Uint16Array;
      const words = new Words(target.buffer as ArrayBuffer, target.byteOffset, whole);
      for (let i = 0; i < whole; i++) words[i] = spread[this.#packed[first + i]!]!;
    } else {
      for (let i = 0; i < whole; i++) this.#unpackByte(first + i, target, i * perByte);
    }
    this.#unpackByte(first + whole, target, whole * perByte);
  }

  /** Fills `target`. */
  #unpackByte(at: number, target: Uint8Array, to: number): void {
    const mask = (1 << this.#bits) - 1;
    for (let n = 0; n * this.#bits < 8 && to + n < target.length; n++) {
      target[to + n] = (this.#packed[at]! >> (n * this.#bits)) & mask;
    }
  }
}

function pack(labels: Uint8Array, bits: 2 | 4): Uint8Array {
  const packed = new Uint8Array(Math.ceil((labels.length * bits) / 8));
  let seen = 0;
  for (let i = 0, at = 0; i < packed.length; i++) {
    let byte = 0;
    for (let shift = 0; shift < 8; shift += bits, at++) {
      // Labels after the last one are 0.
      const label = labels[at]! | 0;
      seen |= label;
      byte |= label << shift;
    }
    packed[i] = byte;
  }
  const most = 1 << bits;
  if (seen >= most)
    throw new RangeError(`a label map of at most ${most} classes has a label outside of them`);
  return packed;
}
