import { canonicalCodes, codeLengths } from "./huffman.ts";

// Limits of RFC 1951.
const END = 256;
const MAX_MATCH = 258;
const MAX_DISTANCE = 32768;
const CODE_BITS = 15;
/** Order in which the lengths of the code-length code are sent. */
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** First value of each symbol; `counts[b]` consecutive symbols stand for 2^b values each. */
function firstValues(from: number, counts: readonly number[]): number[] {
  let next = from;
  return counts.flatMap((count, bits) =>
    Array.from({ length: count }, () => {
      next += 1 << bits;
      return next - (1 << bits);
    }),
  );
}

/** By symbol, from 257; the longest match has a symbol of its own. */
const LENGTHS = [...firstValues(3, [8, 4, 4, 4, 4, 4]), MAX_MATCH];
const DISTANCES = firstValues(1, [4, ...new Array<number>(13).fill(2)]);

function findSymbol(value: number, first: readonly number[]): number {
  return first.findLastIndex((from) => from <= value);
}

const LENGTH_SYMBOL = Uint16Array.from({ length: MAX_MATCH + 1 }, (_, n) => 257 + findSymbol(n, LENGTHS));
/** Extra bits that select a length among those of its symbol. */
const LENGTH_EXTRA = LENGTHS.map((from, s) => (from === MAX_MATCH ? 0 : Math.max(0, (s >> 2) - 1)));

/** Shorter matches take as many bits as the literals they replace. */
const SHORTEST_RUN = 4;
const SHORTEST_COPY = 6;

/** Tokens that share a code: a literal, or a match length added to one of these. */
const BLOCK_TOKENS = 16384;
const RUN = 256;
const COPY = 768;

/** Compresses bytes to one DEFLATE stream, see `LabelDeflate`. */
export function deflateLabels(bytes: Uint8Array, sample: number, row: number): Uint8Array<ArrayBuffer> {
  const deflate = new LabelDeflate(sample, row);
  deflate.push(bytes);
  return deflate.finish();
}

/**
 * A DEFLATE compressor (RFC 1951) for label maps. It looks for two matches only: the sample before and the row
 * above, which is what label maps repeat. Any bytes are allowed and every inflater reads the result.
 *
 * Written by hand: fflate and zlib search all earlier bytes, which takes four times as long or more and compresses
 * label maps less, noise aside (bench/deflate.ts). CompressionStream may give other bytes on another platform; here
 * the same labels give the same file everywhere.
 */
export class LabelDeflate {
  readonly #blocks: BlockWriter;
  readonly #sample: number;
  readonly #row: number;

  /**
   * @param sample bytes of a sample
   * @param row bytes of a row
   */
  constructor(sample: number, row: number) {
    this.#sample = sample;
    // A row longer than the maximum distance cannot be matched: runs only.
    this.#row = row > sample && row <= MAX_DISTANCE ? row : sample;
    this.#blocks = new BlockWriter(sample, this.#row);
  }

  /** Adds bytes; matches do not reach into earlier calls. Full blocks are then ready for `take`. */
  push(bytes: Uint8Array): void {
    const { length } = bytes;
    const sample = this.#sample;
    const row = this.#row;
    const firstCopy = row > sample ? row : length;
    for (let at = 0; at < length; ) {
      const end = Math.min(at + MAX_MATCH, length);
      let run = at;
      if (at >= sample) while (run < end && bytes[run] === bytes[run - sample]) run++;
      let copy = at;
      if (at >= firstCopy && run < end) while (copy < end && bytes[copy] === bytes[copy - row]) copy++;
      if (copy > run + 1 && copy - at >= SHORTEST_COPY) {
        this.#blocks.add(COPY + copy - at);
        at = copy;
      } else if (run - at >= SHORTEST_RUN) {
        this.#blocks.add(RUN + run - at);
        at = run;
      } else this.#blocks.add(bytes[at++]!);
    }
  }

  /** Returns the finished part of the stream, once. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#blocks.take();
  }

  /** Returns the rest of the stream. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#blocks.finish();
  }
}

/** Writes tokens in blocks, each with its own best code. */
class BlockWriter {
  readonly #tokens = new Uint16Array(BLOCK_TOKENS);
  readonly #distances: readonly number[];
  #count = 0;
  #out = new Uint8Array(4096);
  #length = 0;
  /** Bits that do not fill a byte yet. */
  #bits = 0;
  #bitCount = 0;

  /** Distances of a run and of a copy. */
  constructor(run: number, copy: number) {
    this.#distances = [run, copy];
  }

  add(token: number): void {
    if (this.#count === BLOCK_TOKENS) this.#writeBlock(false);
    this.#tokens[this.#count++] = token;
  }

  take(): Uint8Array<ArrayBuffer> {
    const done = this.#out.slice(0, this.#length);
    this.#length = 0;
    return done;
  }

  finish(): Uint8Array<ArrayBuffer> {
    this.#writeBlock(true);
    this.#put(0, (8 - this.#bitCount) & 7);
    return this.take();
  }

  #writeBlock(last: boolean): void {
    const tokens = this.#tokens.subarray(0, this.#count);
    this.#count = 0;
    // No symbol takes more than 15 bits, and extra bits of a distance no more than 13.
    this.#reserve(512 + tokens.length * 7);
    const counts = new Uint32Array(286);
    counts[END] = 1;
    const distanceCounts = new Uint32Array(DISTANCES.length);
    const symbols = this.#distances.map((distance) => findSymbol(distance, DISTANCES));
    for (const token of tokens) {
      if (token < RUN) counts[token]!++;
      else {
        const copy = token < COPY ? 0 : 1;
        counts[LENGTH_SYMBOL[token - (copy ? COPY : RUN)]!]!++;
        distanceCounts[symbols[copy]!]!++;
      }
    }
    const lengths = codeLengths(counts, CODE_BITS);
    const distanceLengths = codeLengths(distanceCounts, CODE_BITS);
    this.#put(last ? 0b101 : 0b100, 3);
    this.#writeCodes(lengths, distanceLengths);

    const codes = canonicalCodes(lengths);
    const distanceCodes = canonicalCodes(distanceLengths);
    for (const token of tokens) {
      if (token < RUN) {
        this.#put(codes[token]!, lengths[token]!);
        continue;
      }
      const copy = token < COPY ? 0 : 1;
      const length = token - (copy ? COPY : RUN);
      const s = LENGTH_SYMBOL[length]!;
      this.#put(codes[s]!, lengths[s]!);
      this.#put(length - LENGTHS[s - 257]!, LENGTH_EXTRA[s - 257]!);
      const symbol = symbols[copy]!;
      this.#put(distanceCodes[symbol]!, distanceLengths[symbol]!);
      this.#put(this.#distances[copy]! - DISTANCES[symbol]!, Math.max(0, (symbol >> 1) - 1));
    }
    this.#put(codes[END]!, lengths[END]!);
  }

  /** Writes the header of a block (RFC 1951, 3.2.7): the code lengths of both codes, themselves coded. */
  #writeCodes(lengths: Uint8Array, distanceLengths: Uint8Array): void {
    const used = (of: Uint8Array, least: number) => Math.max(least, of.findLastIndex((n) => n > 0) + 1);
    const literals = used(lengths, 257);
    const distances = used(distanceLengths, 1);
    const all = [...lengths.subarray(0, literals), ...distanceLengths.subarray(0, distances)];
    const steps = repeats(all);
    const counts = new Uint32Array(ORDER.length);
    for (const { symbol } of steps) counts[symbol]!++;
    const stepLengths = codeLengths(counts, 7);
    const stepCodes = canonicalCodes(stepLengths);
    const codeCount = Math.max(4, ORDER.findLastIndex((symbol) => stepLengths[symbol]! > 0) + 1);
    this.#put(literals - 257, 5);
    this.#put(distances - 1, 5);
    this.#put(codeCount - 4, 4);
    for (const symbol of ORDER.slice(0, codeCount)) this.#put(stepLengths[symbol]!, 3);
    for (const { symbol, extra, extraBits } of steps) {
      this.#put(stepCodes[symbol]!, stepLengths[symbol]!);
      this.#put(extra, extraBits);
    }
  }

  /** Writes up to 16 bits, lowest first. */
  #put(value: number, count: number): void {
    this.#bits |= value << this.#bitCount;
    this.#bitCount += count;
    while (this.#bitCount >= 8) {
      this.#out[this.#length++] = this.#bits;
      this.#bits >>>= 8;
      this.#bitCount -= 8;
    }
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#out.length) return;
    const wider = new Uint8Array(Math.max(2 * this.#out.length, this.#length + bytes));
    wider.set(this.#out.subarray(0, this.#length));
    this.#out = wider;
  }
}

/** Run-length encodes code lengths: 16 repeats the last length 3 to 6 times, 17 and 18 are zeros. */
function repeats(lengths: readonly number[]): { symbol: number; extra: number; extraBits: number }[] {
  const steps: { symbol: number; extra: number; extraBits: number }[] = [];
  for (let at = 0; at < lengths.length; ) {
    const value = lengths[at]!;
    let end = at + 1;
    while (end < lengths.length && lengths[end] === value) end++;
    let left = end - at;
    if (value > 0) {
      steps.push({ symbol: value, extra: 0, extraBits: 0 });
      left--;
    }
    while (left > 0) {
      const [symbol, least, most, extraBits] =
        value > 0 ? [16, 3, 6, 2] : left > 10 ? [18, 11, 138, 7] : [17, 3, 10, 3];
      if (left < least!) {
        for (; left > 0; left--) steps.push({ symbol: value, extra: 0, extraBits: 0 });
        break;
      }
      const count = Math.min(left, most!);
      steps.push({ symbol: symbol!, extra: count - least!, extraBits: extraBits! });
      left -= count;
    }
    at = end;
  }
  return steps;
}
