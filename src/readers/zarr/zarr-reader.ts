import type { AsyncReadable, GetOptions, RangeQuery } from "zarrita";
import type { ObjectStore } from "../../storage/object-store.ts";

/** A directory with any of these is a Zarr node. */
export const ZARR_NODES: readonly string[] = ["zarr.json", ".zattrs", ".zgroup", ".zarray"];

/** Keys of metadata: small, and read at every opening. */
const METADATA = /(^|\/)(zarr\.json|\.zarray|\.zgroup|\.zattrs|\.zmetadata)$/;

/** An `ObjectStore` under a key prefix, as zarrita reads it. Counts bytes and remembers the etags of metadata. */
export class ZarrReader implements AsyncReadable {
  readonly #store: ObjectStore;
  readonly #prefix: string;
  readonly #etags = new Map<string, string>();
  #bytesRead = 0;

  constructor(store: ObjectStore, prefix: string) {
    this.#store = store;
    this.#prefix = prefix;
  }

  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** Etag over all metadata that was read: changes when an image is rewritten, not when a single chunk is. */
  get etag(): string {
    return [...this.#etags.entries()]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, etag]) => etag)
      .join("+");
  }

  async get(key: string, options?: GetOptions): Promise<Uint8Array | undefined> {
    const object = await this.#store.get(this.#prefix + key, { signal: options?.signal });
    if (object === undefined) return undefined;
    this.#bytesRead += object.byteLength;
    if (METADATA.test(key)) this.#etags.set(key, object.etag);
    return object.bytes;
  }

  async getRange(key: string, range: RangeQuery, options?: GetOptions): Promise<Uint8Array | undefined> {
    const [offset, length] =
      "suffixLength" in range ? [-range.suffixLength, range.suffixLength] : [range.offset, range.length];
    const bytes = await this.#store.getRange(this.#prefix + key, offset, length, { signal: options?.signal });
    this.#bytesRead += bytes?.length ?? 0;
    return bytes;
  }

  async json(key: string, signal?: AbortSignal): Promise<unknown> {
    const bytes = await this.get(key, { signal });
    if (bytes === undefined) return undefined;
    try {
      return JSON.parse(new TextDecoder().decode(bytes));
    } catch (cause) {
      // The parser's message quotes the file and speaks of tokens.
      throw new Error(`${key.slice(1)} is not JSON`, { cause });
    }
  }
}
