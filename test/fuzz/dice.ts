/** Random choices derived from one number, so that a case can be made again from its number. */
export class Dice {
  #state: number;

  constructor(start: number) {
    // Neighbouring numbers must give different sequences.
    this.#state = Math.imul(start ^ 0x9e3779b9, 0x85ebca6b) >>> 0;
    this.next();
  }

  /** At least 0 and below 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0, below `n`; 0 for an empty range. */
  below(n: number): number {
    return Math.floor(this.next() * Math.max(1, n));
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  weighted<T>(values: readonly T[], weight: (value: T) => number): T {
    let at = this.next() * values.reduce((sum, value) => sum + weight(value), 0);
    for (const value of values) {
      at -= weight(value);
      if (at < 0) return value;
    }
    return values.at(-1)!;
  }
}
