import { StorageError } from "../../../src/storage/errors.ts";
import { checkKey } from "../../../src/storage/key.ts";
import type {
  ObjectInfo,
  ObjectStore,
  PutOptions,
  RangeOptions,
  ReadOptions,
  StoredObject,
} from "../../../src/storage/object-store.ts";

/** A folder that the browser lets this page write to: one that the user chose, or the tab's own. */
export class FolderStore implements ObjectStore {
  readonly #top: FileSystemDirectoryHandle;
  /** By their keys: a handle costs a message to the browser's process for each name of a path. */
  readonly #folders = new Map<string, FileSystemDirectoryHandle>();

  constructor(top: FileSystemDirectoryHandle) {
    this.#top = top;
  }

  async head(key: string, options?: ReadOptions): Promise<ObjectInfo | undefined> {
    const file = await this.#find(key, options);
    return file && describe(file);
  }

  async get(key: string, options?: ReadOptions): Promise<StoredObject | undefined> {
    const file = await this.#find(key, options);
    return file && { ...describe(file), bytes: new Uint8Array(await file.arrayBuffer()) };
  }

  async getRange(
    key: string,
    offset: number,
    length: number,
    options?: RangeOptions,
  ): Promise<Uint8Array | undefined> {
    const file = await this.#find(key, options);
    if (file === undefined) return undefined;
    const start = offset < 0 ? Math.max(0, file.size + offset) : offset;
    return new Uint8Array(await file.slice(start, start + length).arrayBuffer());
  }

  async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<boolean> {
    options?.signal?.throwIfAborted();
    if (options?.ifNoneMatch === "*" && (await this.#find(key)) !== undefined) return false;
    const writable = await this.open(key);
    await withReason(key, async () => {
      await writable.write(bytes as Uint8Array<ArrayBuffer>);
      // The file has its content from here on.
      await writable.close();
    });
    return true;
  }

  async *list(prefix: string, options?: ReadOptions): AsyncIterable<string> {
    const keys: string[] = [];
    for await (const key of keysBelow(this.#top, "")) if (key.startsWith(prefix)) keys.push(key);
    for (const key of keys.sort()) {
      options?.signal?.throwIfAborted();
      yield key;
    }
  }

  /** A file to write; it appears when the stream is closed. */
  async open(key: string): Promise<FileSystemWritableFileStream> {
    checkKey(key);
    const at = key.lastIndexOf("/");
    return withReason(key, async () => {
      const folder = await this.#folder(key.slice(0, Math.max(0, at)));
      const handle = await folder.getFileHandle(key.slice(at + 1), { create: true });
      return handle.createWritable();
    });
  }

  /** Names of the files and folders at the top. */
  async names(): Promise<string[]> {
    const names: string[] = [];
    for await (const name of this.#top.keys()) names.push(name);
    return names;
  }

  /** Removes an object, or all objects below a key; harmless if nothing is there. */
  async remove(key: string): Promise<void> {
    this.#folders.clear();
    const at = key.lastIndexOf("/");
    await withReason(key, async () => {
      const folder = await this.#folder(key.slice(0, Math.max(0, at)));
      await folder.removeEntry(key.slice(at + 1), { recursive: true }).catch(ifMissing);
    });
  }

  async #folder(key: string): Promise<FileSystemDirectoryHandle> {
    if (key === "") return this.#top;
    const known = this.#folders.get(key);
    if (known) return known;
    const at = key.lastIndexOf("/");
    const above = await this.#folder(key.slice(0, Math.max(0, at)));
    const folder = await above.getDirectoryHandle(key.slice(at + 1), { create: true });
    this.#folders.set(key, folder);
    return folder;
  }

  async #find(key: string, options?: ReadOptions): Promise<File | undefined> {
    options?.signal?.throwIfAborted();
    checkKey(key);
    return withReason(key, async () => {
      const names = key.split("/");
      let folder = this.#top;
      try {
        for (const name of names.slice(0, -1)) folder = await folder.getDirectoryHandle(name);
        return await (await folder.getFileHandle(names.at(-1)!)).getFile();
      } catch (error) {
        return ifMissing(error);
      }
    });
  }
}

/** Every file of a folder with its key, in any order. */
export async function* filesBelow(
  folder: FileSystemDirectoryHandle,
  prefix = "",
): AsyncGenerator<{ key: string; handle: FileSystemFileHandle }> {
  for await (const [name, handle] of folder.entries()) {
    if (handle.kind === "file") yield { key: prefix + name, handle: handle as FileSystemFileHandle };
    else yield* filesBelow(handle as FileSystemDirectoryHandle, `${prefix}${name}/`);
  }
}

async function* keysBelow(folder: FileSystemDirectoryHandle, prefix: string): AsyncGenerator<string> {
  for await (const { key } of filesBelow(folder, prefix)) yield key;
}

function describe(file: File): ObjectInfo {
  return {
    byteLength: file.size,
    etag: `"${file.lastModified.toString(36)}-${file.size.toString(36)}"`,
  };
}

function ifMissing(error: unknown): undefined {
  const { name } = error as Error;
  if (name === "NotFoundError" || name === "TypeMismatchError") return undefined;
  throw error;
}

/** What browsers call the errors of files, in words that say what to do. */
const REASONS: Readonly<Record<string, string>> = {
  QuotaExceededError: "the disk, or the part of it that the browser gives to a page, is full",
  NotAllowedError: "the browser does not allow this page to write to the folder any more; choose it again",
  NoModificationAllowedError: "another program or tab uses it",
  NotFoundError: "the folder was moved or deleted",
};

/** @throws {StorageError} with the reason why a file cannot be written */
export async function withReason<T>(key: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (cause) {
    const { name, message } = cause as Error;
    throw new StorageError(`cannot write ${key}: ${REASONS[name] ?? message}`, { retryable: false, cause });
  }
}
