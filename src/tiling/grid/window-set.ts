/** A set of windows of a grid, as a bitset: a plan of millions of windows stays small. */
export class WindowSet {
  readonly length: number;
  readonly bits: Uint8Array;

  constructor(length: number, bits?: Uint8Array) {
    const byteLength = Math.ceil(length / 8);
    if (bits && bits.length !== byteLength) {
      throw new RangeError(`a set of ${length} windows takes ${byteLength} bytes, not ${bits.length}`);
    }
    this.length = length;
    this.bits = bits ?? new Uint8Array(byteLength);
  }

  static all(length: number): WindowSet {
    const set = new WindowSet(length);
    for (let i = 0; i < length; i++) set.add(i);
    return set;
  }

  has(index: number): boolean {
    return (this.bits[index >> 3]! & (1 << (index & 7))) !== 0;
  }

  add(index: number): void {
    if (index < 0 || index >= this.length) throw new RangeError(`window ${index} of ${this.length}`);
    this.bits[index >> 3]! |= 1 << (index & 7);
  }

  get size(): number {
    let n = 0;
    for (let i = 0; i < this.bits.length; i++) {
      for (let b = this.bits[i]!; b !== 0; b &= b - 1) n++;
    }
    return n;
  }

  *[Symbol.iterator](): Generator<number> {
    for (let i = 0; i < this.length; i++) if (this.has(i)) yield i;
  }
}
