import { type FileHandle, link, mkdir, open, readdir, rename, stat, unlink } from "node:fs/promises";
import path from "node:path";
import { ObjectChangedError, StorageError } from "./errors.ts";
import { checkKey } from "./key.ts";
import type {
  ObjectInfo,
  ObjectStore,
  PutOptions,
  RangeOptions,
  ReadOptions,
  StoredObject,
} from "./object-store.ts";

/** Prefix of files that are being written; `list` skips them. */
export const TEMPORARY_PREFIX = ".tilewright-writing-";

const MAX_OPEN_FILES = 16;

interface OpenFile {
  handle: FileHandle;
  etag: string;
  /** Reads in progress: a handle is closed when the last one ends. */
  users: number;
  stale: boolean;
}

/**
 * A directory as a store. Node only. The etag is made of modification time, size and inode, so it also changes when a
 * file is replaced by one of the same size. Range reads keep a few file handles open: call `close`.
 */
export class FsStore implements ObjectStore {
  readonly root: string;
  readonly #open = new Map<string, OpenFile>();
  #keepsOpen = true;
  #writes = 0;

  constructor(root: string) {
    this.root = path.resolve(root);
  }

  async head(key: string, options?: ReadOptions): Promise<ObjectInfo | undefined> {
    options?.signal?.throwIfAborted();
    return this.#stat(key);
  }

  async get(key: string, options?: ReadOptions): Promise<StoredObject | undefined> {
    const info = await this.head(key, options);
    if (info === undefined) return undefined;
    const bytes = await this.getRange(key, 0, info.byteLength, { ...options, ifMatch: info.etag });
    return bytes && { ...info, bytes };
  }

  async getRange(
    key: string,
    offset: number,
    length: number,
    options?: RangeOptions,
  ): Promise<Uint8Array | undefined> {
    options?.signal?.throwIfAborted();
    const before = await this.#stat(key);
    if (before === undefined) return undefined;
    if (options?.ifMatch !== undefined && options.ifMatch !== before.etag) throw new ObjectChangedError(key);
    const start = offset < 0 ? Math.max(0, before.byteLength + offset) : Math.min(offset, before.byteLength);
    const bytes = new Uint8Array(Math.max(0, Math.min(length, before.byteLength - start)));
    if (bytes.length === 0) return bytes;

    const file = await this.#acquire(key, before.etag);
    let filled = 0;
    try {
      while (filled < bytes.length) {
        const { bytesRead } = await file.handle.read(bytes, filled, bytes.length - filled, start + filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
    } catch (cause) {
      throw toStorageError(`cannot read ${key}`, cause);
    } finally {
      await this.#release(file);
    }
    // Checked again after the read, to notice a file that was overwritten meanwhile.
    const after = await this.#stat(key);
    if (after?.etag !== before.etag || filled < bytes.length) throw new ObjectChangedError(key);
    return bytes;
  }

  async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<boolean> {
    options?.signal?.throwIfAborted();
    const target = this.#path(key);
    const directory = path.dirname(target);
    // A name of fixed length: the key's own name may already be as long as the file system allows.
    const temporary = path.join(
      directory,
      `${TEMPORARY_PREFIX}${process.pid}-${Date.now()}-${++this.#writes}`,
    );
    try {
      await mkdir(directory, { recursive: true });
      const handle = await open(temporary, "wx");
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
      options?.signal?.throwIfAborted();
      if (options?.ifNoneMatch !== "*") {
        await rename(temporary, target);
        return true;
      }
      // Unlike rename, link never replaces a file: it is the file system's atomic "only if absent".
      await link(temporary, target);
      await unlink(temporary);
      return true;
    } catch (cause) {
      await unlink(temporary).catch(() => {});
      if (options?.ifNoneMatch === "*" && errnoCode(cause) === "EEXIST") return false;
      if (options?.signal?.aborted) throw options.signal.reason;
      throw toStorageError(`cannot write ${key}`, cause);
    }
  }

  async *list(prefix: string, options?: ReadOptions): AsyncIterable<string> {
    // Only the directory part of the prefix narrows the walk; the rest is compared as text.
    const slash = prefix.lastIndexOf("/");
    const base = slash < 0 ? "" : prefix.slice(0, slash);
    if (base !== "") checkKey(base);
    yield* this.#walk(base, prefix, options);
  }

  /** Closes the file handles of range reads. The store stays usable, and keeps no handle open from then on. */
  async close(): Promise<void> {
    // One of several parallel reads may have failed while others are still running.
    this.#keepsOpen = false;
    const files = [...this.#open.values()];
    this.#open.clear();
    for (const file of files) await this.#retire(file);
  }

  async *#walk(directory: string, prefix: string, options?: ReadOptions): AsyncIterable<string> {
    options?.signal?.throwIfAborted();
    const entries = await readdir(path.join(this.root, directory), { withFileTypes: true }).catch((cause) => {
      if (isAbsent(cause)) return [];
      throw toStorageError(`cannot list ${directory || this.root}`, cause);
    });
    // A directory sorts as "name/": keys then come in lexical order across directories.
    const names = entries
      .filter((entry) => !entry.name.startsWith(TEMPORARY_PREFIX))
      .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
      .sort();
    for (const name of names) {
      const key = directory === "" ? name : `${directory}/${name}`;
      if (name.endsWith("/")) {
        if (key.startsWith(prefix) || prefix.startsWith(key))
          yield* this.#walk(key.slice(0, -1), prefix, options);
      } else if (key.startsWith(prefix)) {
        yield key;
      }
    }
  }

  #path(key: string): string {
    checkKey(key);
    return path.join(this.root, ...key.split("/"));
  }

  /** @returns `undefined` for absent keys and for directories, which are not objects */
  async #stat(key: string): Promise<ObjectInfo | undefined> {
    try {
      const info = await stat(this.#path(key), { bigint: true });
      return info.isDirectory() ? undefined : { byteLength: Number(info.size), etag: fileEtag(info) };
    } catch (cause) {
      if (isAbsent(cause)) return undefined;
      if (cause instanceof TypeError) throw cause;
      throw toStorageError(`cannot read ${key}`, cause);
    }
  }

  async #acquire(key: string, etag: string): Promise<OpenFile> {
    const known = this.#open.get(key);
    if (known?.etag === etag) {
      this.#open.delete(key);
      this.#open.set(key, known);
      known.users++;
      return known;
    }
    const handle = await open(this.#path(key), "r").catch((cause) => {
      throw toStorageError(`cannot open ${key}`, cause);
    });
    const opened = fileEtag(await handle.stat({ bigint: true }));
    if (opened !== etag) {
      await handle.close();
      throw new ObjectChangedError(key);
    }
    const file: OpenFile = { handle, etag, users: 1, stale: !this.#keepsOpen };
    if (file.stale) return file;
    const raced = this.#open.get(key);
    this.#open.set(key, file);
    if (raced) await this.#retire(raced);
    for (const [oldest, old] of this.#open) {
      if (this.#open.size <= MAX_OPEN_FILES) break;
      this.#open.delete(oldest);
      await this.#retire(old);
    }
    return file;
  }

  async #release(file: OpenFile): Promise<void> {
    file.users--;
    if (file.stale && file.users === 0) await file.handle.close();
  }

  async #retire(file: OpenFile): Promise<void> {
    file.stale = true;
    if (file.users === 0) await file.handle.close();
  }
}

function fileEtag(info: { mtimeNs: bigint; size: bigint; ino: bigint }): string {
  return `"${info.mtimeNs.toString(36)}-${info.size.toString(36)}-${info.ino.toString(36)}"`;
}

function errnoCode(cause: unknown): string | undefined {
  return (cause as NodeJS.ErrnoException | undefined)?.code;
}

/** A path through a file ("slide.svs/zarr.json") counts as absent. */
function isAbsent(cause: unknown): boolean {
  const code = errnoCode(cause);
  return code === "ENOENT" || code === "ENOTDIR" || code === "ENAMETOOLONG";
}

const REASONS: Record<string, string> = {
  ENOSPC: "the disk is full; free some space and run again",
  EDQUOT: "the disk quota is used up; free some space and run again",
  EACCES: "permission denied; check who may read and write there",
  EPERM: "permission denied; check who may read and write there",
  EROFS: "the file system is read-only; choose another directory",
  EMFILE: "too many files are open; raise the limit (ulimit -n)",
  EIO: "the disk reports an input/output error",
  EISDIR: "a directory is in the way; choose another name",
  ENOTDIR: "a file is in the way of a directory; choose another name",
  EEXIST: "a file is in the way of a directory; choose another name",
};

function toStorageError(what: string, cause: unknown): StorageError {
  const code = errnoCode(cause) ?? "";
  const reason = REASONS[code] ?? (cause instanceof Error ? cause.message : String(cause));
  return new StorageError(`${what}: ${reason}`, { retryable: code === "EMFILE" || code === "EAGAIN", cause });
}
