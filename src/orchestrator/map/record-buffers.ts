import { detachBuffers } from "../../tiling/wire/detach-buffers.ts";
import type { MaskRecord } from "../../tiling/wire/mask-record.ts";
import type { ShardInput } from "../input/read-shard.ts";

/**
 * Gives memory back as soon as the last record in it is done with. Left to the garbage collector it would be there for long:
 * what a collector sees of a record is a few bytes, and of volumes each record has megabytes.
 */
export class RecordBuffers {
  /** Records, and their labels, that lie in a buffer. */
  readonly #users = new Map<ArrayBufferLike, number>();

  /** The records, and nobody else, use their buffers from now on. */
  hold(records: readonly MaskRecord[]): void {
    for (const { data, labels } of records) {
      for (const { buffer } of labels ? [data, labels] : [data])
        this.#users.set(buffer, (this.#users.get(buffer) ?? 0) + 1);
    }
  }

  /** One record less in a buffer; one that nothing was said of has one. */
  release(buffer: ArrayBufferLike): void {
    const left = (this.#users.get(buffer) ?? 1) - 1;
    if (left > 0) return void this.#users.set(buffer, left);
    this.#users.delete(buffer);
    if (buffer instanceof ArrayBuffer) buffer.transfer(0);
  }
}

/** The same for the pixels of a shard, once all of its windows have been run. */
export class PixelBuffers {
  readonly #run = new WeakMap<ShardInput, number>();

  done(shard: ShardInput, windows: number): void {
    const run = (this.#run.get(shard) ?? 0) + windows;
    this.#run.set(shard, run);
    if (run === shard.windows.length) detachBuffers(shard.pixels.data);
  }
}
