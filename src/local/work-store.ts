import { StorageError } from "../storage/errors.ts";
import { FsStore } from "../storage/fs-store.ts";
import type { PutOptions } from "../storage/object-store.ts";
import { OutputError } from "./errors.ts";

/** The run's own directory as a store: what cannot be written there is a fault of the output, not of the source. */
export class WorkStore extends FsStore {
  override async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<boolean> {
    try {
      return await super.put(key, bytes, options);
    } catch (cause) {
      throw cause instanceof StorageError ? new OutputError(cause.message, { cause }) : cause;
    }
  }
}
