import { StorageError } from "../storage/errors.ts";
import { FsStore } from "../storage/fs-store.ts";
import type { PutOptions } from "../storage/object-store.ts";
import { OutputError } from "./errors.ts";

/** The work directory as a store. Failed writes are errors of the output directory, not of the source. */
export class WorkStore extends FsStore {
  override async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<boolean> {
    try {
      return await super.put(key, bytes, options);
    } catch (cause) {
      throw cause instanceof StorageError ? new OutputError(cause.message, { cause }) : cause;
    }
  }
}
