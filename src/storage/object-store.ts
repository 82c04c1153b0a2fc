/** What `head` tells about an object. `etag` changes whenever the content does. */
export interface ObjectInfo {
  byteLength: number;
  etag: string;
}

/** An object of a listing. */
export interface ListedObject extends ObjectInfo {
  key: string;
}

export interface StoredObject extends ObjectInfo {
  bytes: Uint8Array;
}

export interface ReadOptions {
  signal?: AbortSignal;
}

export interface RangeOptions extends ReadOptions {
  /** Fail with `ObjectChangedError` unless the object still has this etag. */
  ifMatch?: string;
}

export interface PutOptions extends ReadOptions {
  /** `"*"`: write only if the key is absent; `put` returns whether it was written. */
  ifNoneMatch?: "*";
  contentType?: string;
}

/**
 * Bytes by key: all that the pipeline needs from a disk, a bucket or a web server. A missing key is `undefined`,
 * never an error. Keys are relative, `/`-separated, without `.` or `..` segments.
 */
export interface ObjectStore {
  head(key: string, options?: ReadOptions): Promise<ObjectInfo | undefined>;
  get(key: string, options?: ReadOptions): Promise<StoredObject | undefined>;
  /** Bytes `[offset, offset + length)`, shorter only at the end of the object. Negative offset counts from the end. */
  getRange(
    key: string,
    offset: number,
    length: number,
    options?: RangeOptions,
  ): Promise<Uint8Array | undefined>;
  /** Atomic: readers see the old bytes or the new ones. `false` when `ifNoneMatch` found the key present. */
  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<boolean>;
  /** Keys that start with `prefix`, in lexical order. */
  list(prefix: string, options?: ReadOptions): AsyncIterable<string>;
}
