import type { ByteSink } from "../../image/byte-sink.ts";
import type { WrittenOutput } from "../../image/label-sink.ts";

/** Characters gathered before a flush. */
const FLUSH_CHARACTERS = 1 << 20;

/** A text file that is written in pieces: text is gathered, then encoded and appended by `flush`. */
export class TextOutput {
  readonly #sink: ByteSink;
  readonly #encoder = new TextEncoder();
  #parts: string[] = [];
  #length = 0;

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  add(text: string): void {
    this.#parts.push(text);
    this.#length += text.length;
  }

  /** Whether enough text was gathered for a `flush`. */
  get isFull(): boolean {
    return this.#length >= FLUSH_CHARACTERS;
  }

  async flush(): Promise<void> {
    const parts = this.#parts;
    this.#parts = [];
    this.#length = 0;
    // A few thousand objects at a time, so that no string grows with the slide.
    for (let i = 0; i < parts.length; i += 2048) {
      await this.#sink.append(this.#encoder.encode(parts.slice(i, i + 2048).join("")));
    }
  }

  async finalize(): Promise<WrittenOutput> {
    await this.flush();
    return this.#sink.finish();
  }

  abort(): Promise<void> {
    return this.#sink.abort();
  }
}
