import type { ByteSink } from "../../image/byte-sink.ts";

/**
 * Packs frames of one bit per sample, lowest bit first. Frames are contiguous: a frame may begin inside a byte (PS3.5
 * section 8.1.1).
 */
export class BitFrames {
  readonly #sink: ByteSink;
  #byte = 0;
  #bits = 0;

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  /** Sets the bits of the samples that equal `label`. */
  append(samples: Uint8Array, label: number): Promise<void> {
    const out = new Uint8Array((this.#bits + samples.length) >> 3);
    let byte = this.#byte;
    let bit = this.#bits;
    let at = 0;
    for (let i = 0; i < samples.length; i++) {
      if (samples[i] === label) byte |= 1 << bit;
      if (++bit === 8) {
        out[at++] = byte;
        byte = 0;
        bit = 0;
      }
    }
    this.#byte = byte;
    this.#bits = bit;
    return this.#sink.append(out);
  }

  /** The last byte, if it is not full. */
  async finish(): Promise<void> {
    if (this.#bits > 0) await this.#sink.append(Uint8Array.of(this.#byte));
  }
}
