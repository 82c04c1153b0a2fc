import { StorageError } from "../../../src/storage/errors.ts";
import type { ObjectInfo, ObjectStore } from "../../../src/storage/object-store.ts";

/** A file or blob, and its key: its path inside the dropped directory, or its name. */
export interface LocalFile {
  key: string;
  file: Blob & { lastModified?: number };
}

/** Files of this machine that the user chose. They are read in place, by ranges, and go nowhere. */
export function createFileStore(files: readonly LocalFile[]): ObjectStore {
  const known = new Map(files.map(({ key, file }) => [key, file]));
  const describe = (file: LocalFile["file"]): ObjectInfo => ({
    byteLength: file.size,
    etag: `"${(file.lastModified ?? 0).toString(36)}-${file.size.toString(36)}"`,
  });
  const read = async (blob: Blob, key: string) => {
    try {
      return new Uint8Array(await blob.arrayBuffer());
    } catch (cause) {
      throw new StorageError(`${key} cannot be read: it was moved or changed; choose it again`, {
        retryable: false,
        cause,
      });
    }
  };
  return {
    async head(key) {
      const file = known.get(key);
      return file && describe(file);
    },
    async get(key) {
      const file = known.get(key);
      return file && { ...describe(file), bytes: await read(file, key) };
    },
    async getRange(key, offset, length) {
      const file = known.get(key);
      if (file === undefined) return undefined;
      const start = offset < 0 ? Math.max(0, file.size + offset) : offset;
      return read(file.slice(start, start + length), key);
    },
    async put(key) {
      throw new StorageError(`cannot write ${key}: the files that were chosen are only read`, {
        retryable: false,
      });
    },
    async *list(prefix) {
      for (const key of [...known.keys()].sort()) if (key.startsWith(prefix)) yield key;
    },
  };
}
