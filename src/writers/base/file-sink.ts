import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { ByteSink } from "../../image/byte-sink.ts";
import type { WrittenOutput } from "../../image/label-sink.ts";

/** Appends are collected to this size: label tiles are a few KB, and a system call for each costs more. */
const BUFFER_BYTES = 1 << 20;

/**
 * A `ByteSink` on a file system. Bytes go to `.<name>.partial` beside `path`, which a later run overwrites; `finish`
 * flushes them to the disk and renames the file. Errors (a full disk, a missing directory) are those of the platform.
 */
export async function createFileSink(path: string): Promise<ByteSink> {
  const partial = join(dirname(path), `.${basename(path)}.partial`);
  return new FileSink(path, partial, await open(partial, "w+"));
}

class FileSink implements ByteSink {
  readonly #path: string;
  readonly #partial: string;
  readonly #handle: FileHandle;
  readonly #hash = createHash("sha256");
  readonly #buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  #buffered = 0;
  #byteLength = 0;
  #state: "open" | "finished" | "aborted" = "open";

  constructor(path: string, partial: string, handle: FileHandle) {
    this.#path = path;
    this.#partial = partial;
    this.#handle = handle;
  }

  get byteLength(): number {
    return this.#byteLength;
  }

  async append(bytes: Uint8Array): Promise<void> {
    if (this.#state !== "open")
      throw new Error(`${this.#path} is ${this.#state}: nothing can be appended to it`);
    this.#hash.update(bytes);
    this.#byteLength += bytes.length;
    if (this.#buffered + bytes.length > BUFFER_BYTES) await this.#flush();
    if (bytes.length > BUFFER_BYTES) {
      await writeAll(this.#handle, bytes, null);
      return;
    }
    this.#buffer.set(bytes, this.#buffered);
    this.#buffered += bytes.length;
  }

  async finish(head?: Uint8Array): Promise<WrittenOutput> {
    if (this.#state !== "open")
      throw new Error(`${this.#path} is ${this.#state}: it cannot be finished again`);
    await this.#flush();
    if (head !== undefined) await writeAll(this.#handle, head, 0);
    await this.#handle.datasync();
    await this.#handle.close();
    // A head that is written last changes the digest, so the file is read once more.
    const sha256 = head === undefined ? this.#hash.digest("hex") : await sha256OfFile(this.#partial);
    await rename(this.#partial, this.#path);
    this.#state = "finished";
    return { name: basename(this.#path), byteLength: this.#byteLength, sha256 };
  }

  async abort(): Promise<void> {
    if (this.#state !== "open") return;
    this.#state = "aborted";
    await this.#handle.close().catch(() => undefined);
    await rm(this.#partial, { force: true });
  }

  async #flush(): Promise<void> {
    const length = this.#buffered;
    this.#buffered = 0;
    if (length > 0) await writeAll(this.#handle, this.#buffer.subarray(0, length), null);
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number | null): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const at = position === null ? null : position + done;
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, at);
    done += bytesWritten;
  }
}

async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const part of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(part as Buffer);
  return hash.digest("hex");
}
