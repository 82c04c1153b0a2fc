import { detachBuffers } from "../../tiling/wire/detach-buffers.ts";
import type { MaskRecord } from "../../tiling/wire/mask-record.ts";
import type { ShardInput } from "../input/read-shard.ts";

/**
 * Counts the records in each buffer and detaches a buffer after its last record. The garbage collector would free it
 * late: it sees a few bytes of a record, and records of volumes have megabytes.
 */
export class RecordBuffers {
  /** Number of records and label arrays in each buffer. */
  readonly #users = new Map<ArrayBufferLike, number>();

  /** Takes ownership of the buffers of these records. */
  hold(records: readonly MaskRecord[]): void {
    for (const { data, labels } of records) {
      for (const { buffer } of labels ? [data, labels] : [data])
        this.#users.set(buffer, (this.#users.get(buffer) ?? 0) + 1);
    }
  }

  /** Decrements the count of a buffer; unknown buffers count as 1. */
  release(buffer: ArrayBufferLike): void {
    const left = (this.#users.get(buffer) ?? 1) - 1;
    if (left > 0) return void this.#users.set(buffer, left);
    this.#users.delete(buffer);
    if (buffer instanceof ArrayBuffer) buffer.transfer(0);
  }
}

/** Detaches the pixels of a shard after all of its windows have run. */
export class PixelBuffers {
  readonly #run = new WeakMap<ShardInput, number>();

  done(shard: ShardInput, windows: number): void {
    const run = (this.#run.get(shard) ?? 0) + windows;
    this.#run.set(shard, run);
    if (run === shard.windows.length) detachBuffers(shard.pixels.data);
  }
}
