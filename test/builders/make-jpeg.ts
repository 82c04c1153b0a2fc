/** Packs bits to bytes, most significant first, stuffs zeros behind 0xff, and fills the rest with ones. */
class BitWriter {
  readonly bytes: number[] = [];
  #value = 0;
  #held = 0;

  put(value: number, count: number): void {
    for (let i = count - 1; i >= 0; i--) {
      this.#value = (this.#value << 1) | ((value >> i) & 1);
      if (++this.#held === 8) this.#flush();
    }
  }

  align(): void {
    while (this.#held > 0) this.put(1, 1);
  }

  #flush(): void {
    this.bytes.push(this.#value);
    if (this.#value === 0xff) this.bytes.push(0);
    this.#value = 0;
    this.#held = 0;
  }
}

/** A Huffman table with codes of five bits for the values from 0 on: the body of a DHT segment. */
const table = (id: number, values: number) => [
  id,
  ...[0, 0, 0, 0, values, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  ...Array.from({ length: values }, (_, i) => i),
];

const segment = (marker: number, ...body: number[]) => [
  0xff,
  marker,
  (body.length + 2) >> 8,
  (body.length + 2) & 255,
  ...body,
];

/** Category and bits of a difference (ITU-T T.81, table F.1). */
function putDifference(out: BitWriter, difference: number): void {
  const size = difference === 0 ? 0 : Math.floor(Math.log2(Math.abs(difference))) + 1;
  out.put(size, 5);
  if (size > 0 && size < 16) out.put(difference > 0 ? difference : difference + 2 ** size - 1, size);
}

export interface MadeJpeg {
  width: number;
  height: number;
  components: number;
  /** MCUs between restart markers. */
  restart?: number;
  /** Inserted before each restart marker and the end. */
  junk?: number[];
  bits?: 8 | 12;
}

/**
 * A sequential JPEG of constant blocks, baseline unless it has 12 bits: decodes exactly to what `value` gives for
 * each 8 × 8 block and component.
 */
export function makeBlockJpeg(
  { width, height, components, restart = 0, junk = [], bits = 8 }: MadeJpeg,
  value: (x: number, y: number, c: number) => number,
): Uint8Array {
  const out = new BitWriter();
  const across = Math.ceil(width / 8);
  let previous = new Array<number>(components).fill(0);
  const count = across * Math.ceil(height / 8);
  for (let mcu = 0; mcu < count; mcu++) {
    if (restart > 0 && mcu > 0 && mcu % restart === 0) {
      out.align();
      out.bytes.push(...junk, 0xff, 0xd0 + ((mcu / restart - 1) % 8));
      previous = new Array<number>(components).fill(0);
    }
    for (let c = 0; c < components; c++) {
      const level = 8 * (value(mcu % across, Math.floor(mcu / across), c) - 2 ** (bits - 1));
      putDifference(out, level - previous[c]!);
      previous[c] = level;
      out.put(0, 5); // end of block
    }
  }
  out.align();
  const ids = Array.from({ length: components }, (_, c) => c + 1);
  return Uint8Array.from([
    ...[0xff, 0xd8],
    ...segment(0xdb, 0, ...new Array<number>(64).fill(1)),
    ...segment(
      bits === 8 ? 0xc0 : 0xc1,
      ...[bits, height >> 8, height & 255, width >> 8, width & 255, components],
      ...ids.flatMap((id) => [id, 0x11, 0]),
    ),
    ...segment(0xc4, ...table(0, 16)),
    ...segment(0xc4, ...table(0x10, 16)),
    ...segment(0xdd, restart >> 8, restart & 255),
    ...segment(0xda, components, ...ids.flatMap((id) => [id, 0]), 0, 63, 0),
    ...out.bytes,
    ...junk,
    ...[0xff, 0xd9],
  ]);
}

export interface MadeLossless {
  width: number;
  height: number;
  components: number;
  bits: number;
  predictor: number;
  pointTransform: number;
  /** Rows between restart markers. */
  restartRows: number;
}

/** A lossless JPEG (SOF3) of interleaved samples; the bits that the point transform drops must be 0. */
export function makeLosslessJpeg(made: MadeLossless, samples: ArrayLike<number>): Uint8Array {
  const { width, height, components, bits, predictor, pointTransform, restartRows } = made;
  const out = new BitWriter();
  const at = (x: number, y: number, c: number) =>
    samples[(y * width + x) * components + c]! >> pointTransform;
  for (let y = 0; y < height; y++) {
    const fresh = y === 0 || (restartRows > 0 && y % restartRows === 0);
    if (fresh && y > 0) {
      out.align();
      out.bytes.push(0xff, 0xd0 + ((y / restartRows - 1) % 8));
    }
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < components; c++) {
        const a = x > 0 ? at(x - 1, y, c) : 0;
        const b = y > 0 ? at(x, y - 1, c) : 0;
        const corner = x > 0 && y > 0 ? at(x - 1, y - 1, c) : 0;
        const guesses = [
          0,
          a,
          b,
          corner,
          a + b - corner,
          a + ((b - corner) >> 1),
          b + ((a - corner) >> 1),
          (a + b) >> 1,
        ];
        const first = 2 ** (bits - pointTransform - 1);
        const guess = fresh ? (x === 0 ? first : a) : x === 0 ? b : guesses[predictor]!;
        // Modulo 2¹⁶, as a number from -32767 to 32768.
        const difference = (at(x, y, c) - guess) & 0xffff;
        putDifference(out, difference > 32768 ? difference - 65536 : difference);
      }
    }
  }
  out.align();
  const ids = Array.from({ length: components }, (_, c) => c + 1);
  const restart = restartRows * width;
  return Uint8Array.from([
    ...[0xff, 0xd8],
    ...segment(
      0xc3,
      ...[bits, height >> 8, height & 255, width >> 8, width & 255, components],
      ...ids.flatMap((id) => [id, 0x11, 0]),
    ),
    ...segment(0xc4, ...table(0, 17)),
    ...segment(0xdd, restart >> 8, restart & 255),
    ...segment(0xda, components, ...ids.flatMap((id) => [id, 0]), predictor, 0, pointTransform),
    ...out.bytes,
    ...[0xff, 0xd9],
  ]);
}
