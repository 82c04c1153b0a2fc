/** Values read together. A whole-slide offset table has up to a million; one region needs a few dozen. */
const SEGMENT = 4096;

/** The values of a long tag, read segment by segment on demand, and cached. */
export class TagArray {
  readonly length: number;
  readonly #read: (first: number, count: number, signal?: AbortSignal) => Promise<ArrayLike<number>>;
  readonly #segments = new Map<number, ArrayLike<number>>();

  /** @param read reads `count` values, from the `first` on */
  constructor(
    length: number,
    read: (first: number, count: number, signal?: AbortSignal) => Promise<ArrayLike<number>>,
  ) {
    this.length = length;
    this.#read = read;
  }

  static of(values: ArrayLike<number>): TagArray {
    return new TagArray(values.length, async (first, count) =>
      Array.from({ length: count }, (_, i) => values[first + i]!),
    );
  }

  /** The values at these indices, in the given order. */
  async at(indices: readonly number[], signal?: AbortSignal): Promise<number[]> {
    for (const segment of new Set(indices.map((i) => Math.floor(i / SEGMENT)))) {
      if (this.#segments.has(segment)) continue;
      const first = segment * SEGMENT;
      this.#segments.set(segment, await this.#read(first, Math.min(SEGMENT, this.length - first), signal));
    }
    return indices.map((i) => this.#segments.get(Math.floor(i / SEGMENT))![i % SEGMENT]!);
  }
}
