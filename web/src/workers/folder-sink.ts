import { sha256 } from "@noble/hashes/sha2.js";
import type { ByteSink } from "../../../src/image/byte-sink.ts";
import type { WrittenOutput } from "../../../src/image/label-sink.ts";
import { toHex } from "../../../src/storage/digest.ts";
import { type FolderStore, withReason } from "./folder-store.ts";

/** Appends are collected to this size: each write is a message to the browser's process. */
const BUFFER_BYTES = 1 << 20;

/**
 * A `ByteSink` in a folder. The file appears when it is finished. The digest is @noble/hashes', because the platform's takes
 * whole files only.
 */
export class FolderSink implements ByteSink {
  readonly #store: FolderStore;
  readonly #name: string;
  readonly #writable: FileSystemWritableFileStream;
  readonly #hash = sha256.create();
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #buffered = 0;
  byteLength = 0;
  #isOpen = true;

  private constructor(store: FolderStore, name: string, writable: FileSystemWritableFileStream) {
    this.#store = store;
    this.#name = name;
    this.#writable = writable;
  }

  static async create(store: FolderStore, name: string): Promise<FolderSink> {
    return new FolderSink(store, name, await store.open(name));
  }

  async append(bytes: Uint8Array): Promise<void> {
    if (!this.#isOpen) throw new Error(`${this.#name} is closed: nothing can be appended to it`);
    this.#hash.update(bytes);
    this.byteLength += bytes.length;
    if (this.#buffered + bytes.length > BUFFER_BYTES) await this.#flush();
    if (bytes.length > BUFFER_BYTES) return this.#write(bytes);
    this.#buffer.set(bytes, this.#buffered);
    this.#buffered += bytes.length;
  }

  async finish(head?: Uint8Array): Promise<WrittenOutput> {
    if (!this.#isOpen) throw new Error(`${this.#name} is closed: it cannot be finished again`);
    await this.#flush();
    if (head)
      await withReason(this.#name, () =>
        this.#writable.write({ type: "write", position: 0, data: head as Uint8Array<ArrayBuffer> }),
      );
    await withReason(this.#name, () => this.#writable.close());
    this.#isOpen = false;
    // A head that is written last changes the digest, so the file is read once more.
    const digest = head ? await this.#digestFile() : this.#hash.digest();
    return { name: this.#name, byteLength: this.byteLength, sha256: toHex(digest) };
  }

  async abort(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.#writable.abort().catch(() => {});
    await this.#store.remove(this.#name).catch(() => {});
  }

  async #flush(): Promise<void> {
    const length = this.#buffered;
    this.#buffered = 0;
    // Copied, because a write may read it after it has resolved.
    if (length > 0) await this.#write(this.#buffer.slice(0, length));
  }

  #write(bytes: Uint8Array): Promise<void> {
    return withReason(this.#name, () => this.#writable.write(bytes as Uint8Array<ArrayBuffer>));
  }

  async #digestFile(): Promise<Uint8Array> {
    const hash = sha256.create();
    for (let at = 0; at < this.byteLength; at += BUFFER_BYTES)
      hash.update((await this.#store.getRange(this.#name, at, BUFFER_BYTES))!);
    return hash.digest();
  }
}
