import type { MaskRecord } from "../tiling/mask-record.ts";

/**
 * Gives the memory of records back as soon as the last record in a buffer is done with. Left to the garbage collector it
 * would be there for long: what a collector sees of a record is a few bytes, and of volumes each record has megabytes.
 */
export class RecordMemory {
  readonly #records = new Map<ArrayBufferLike, number>();

  /** The records, and nobody else, use their buffers from now on. */
  hold(records: readonly MaskRecord[]): void {
    for (const { data } of records) this.#records.set(data.buffer, (this.#records.get(data.buffer) ?? 0) + 1);
  }

  release({ data: { buffer }, labels }: MaskRecord): void {
    if (labels?.buffer instanceof ArrayBuffer) labels.buffer.transfer(0);
    const left = this.#records.get(buffer)! - 1;
    if (left > 0) return void this.#records.set(buffer, left);
    this.#records.delete(buffer);
    if (buffer instanceof ArrayBuffer) buffer.transfer(0);
  }
}
