/** Seeded random numbers: https://github.com/bryc/code/blob/master/jshash/PRNGs.md (sfc32, public domain). */
export class Random {
  #a = 0;
  #b = 0;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#c = seed | 0;
    for (let i = 0; i < 12; i++) this.uniform();
  }

  /** In [0, 1). */
  uniform(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  }

  /** True with this probability. */
  happens(share: number): boolean {
    return share > 0 && this.uniform() < share;
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.uniform();
  }

  /** Log-normal with median 1; `sigma` is the standard deviation of the logarithm. */
  lognormal(sigma: number): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return Math.exp(sigma * radius * Math.cos(2 * Math.PI * this.uniform()));
  }

  /** 32 hexadecimal digits, as ids of jobs. */
  hex(): string {
    return Array.from({ length: 4 }, () =>
      Math.floor(this.uniform() * 2 ** 32)
        .toString(16)
        .padStart(8, "0"),
    ).join("");
  }
}
