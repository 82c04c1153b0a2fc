/**
 * Reverses Blosc's byte shuffle: stored are all first bytes of the samples, then all second bytes, and so on. Bytes
 * beyond the last whole sample stay in place.
 *
 * Written by hand: a filter of Blosc, see blosc.ts.
 */
export function unshuffle(input: Uint8Array, output: Uint8Array, sampleBytes: number): void {
  const samples = Math.floor(input.length / sampleBytes);
  for (let byte = 0, from = 0; byte < sampleBytes; byte++) {
    for (let i = 0, to = byte; i < samples; i++, to += sampleBytes) output[to] = input[from++]!;
  }
  const whole = samples * sampleBytes;
  output.set(input.subarray(whole), whole);
}

/**
 * Reverses the bit shuffle: stored are the lowest bits of all first bytes, eight samples a byte, and so on. When the
 * number of samples is not a multiple of eight, Blosc stores the block unshuffled.
 */
export function unshuffleBits(input: Uint8Array, output: Uint8Array, sampleBytes: number): void {
  const samples = Math.floor(input.length / sampleBytes);
  if (samples % 8 !== 0) {
    output.set(input);
    return;
  }
  const row = samples / 8;
  for (let byte = 0; byte < sampleBytes; byte++) {
    const base = byte * 8 * row;
    for (let group = 0; group < row; group++) {
      const at = base + group;
      // Bit n of sample m is bit m of byte n: transposes an 8 × 8 bit matrix (Warren, Hacker's Delight, section 7-3).
      let high =
        (input[at + 7 * row]! << 24) |
        (input[at + 6 * row]! << 16) |
        (input[at + 5 * row]! << 8) |
        input[at + 4 * row]!;
      let low =
        (input[at + 3 * row]! << 24) | (input[at + 2 * row]! << 16) | (input[at + row]! << 8) | input[at]!;
      let swap = (high ^ (high >>> 7)) & 0x00aa00aa;
      high ^= swap ^ (swap << 7);
      swap = (low ^ (low >>> 7)) & 0x00aa00aa;
      low ^= swap ^ (swap << 7);
      swap = (high ^ (high >>> 14)) & 0x0000cccc;
      high ^= swap ^ (swap << 14);
      swap = (low ^ (low >>> 14)) & 0x0000cccc;
      low ^= swap ^ (swap << 14);
      const upper = (high & 0xf0f0f0f0) | ((low >>> 4) & 0x0f0f0f0f);
      const lower = ((high << 4) & 0xf0f0f0f0) | (low & 0x0f0f0f0f);
      let to = group * 8 * sampleBytes + byte;
      for (const word of [lower, upper]) {
        output[to] = word;
        output[to + sampleBytes] = word >>> 8;
        output[to + 2 * sampleBytes] = word >>> 16;
        output[to + 3 * sampleBytes] = word >>> 24;
        to += 4 * sampleBytes;
      }
    }
  }
  const whole = samples * sampleBytes;
  output.set(input.subarray(whole), whole);
}
