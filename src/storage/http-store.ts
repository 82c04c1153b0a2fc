import { describeTransportError, ObjectChangedError, StorageError } from "./errors.ts";
import { checkKey } from "./key.ts";
import type {
  ObjectInfo,
  ObjectStore,
  PutOptions,
  RangeOptions,
  ReadOptions,
  StoredObject,
} from "./object-store.ts";
import { type BoundedRead, describeRangeMismatch, parseContentRange, readAtMost } from "./read-at-most.ts";

export interface HttpStoreOptions {
  /** Query string of every request, without "?": the signature of a presigned address. */
  search?: string;
  headers?: Record<string, string>;
  /** Largest object that is read whole, on request or because the server does not serve ranges. */
  maxWholeBytes?: number;
  /**
   * First bytes of an object that `head` asks for, and keeps for the next read of them: one request less for each object that
   * is opened. Default 0.
   */
  headBytes?: number;
  fetch?: typeof fetch;
}

const DEFAULT_MAX_WHOLE_BYTES = 64 * 2 ** 20;
/** Default limit of an object that is read whole, such as a chunk of a Zarr. */
const DEFAULT_MAX_OBJECT_BYTES = 512 * 2 ** 20;

/**
 * A web server read by ranges; read-only. It uses GET alone, because presigned addresses allow no HEAD. The etag is
 * the server's, or made of Last-Modified and size.
 */
export class HttpStore implements ObjectStore {
  readonly #base: string;
  readonly #options: HttpStoreOptions;
  /** Objects of servers without ranges, by key: together at most as large as one of them may be. */
  readonly #whole = new Map<string, { etag: string; bytes: Uint8Array }>();
  #wholeBytes = 0;
  /** First bytes of objects, until they are read. */
  readonly #heads = new Map<string, { etag: string; bytes: Uint8Array }>();

  /** @param base address that keys are appended to, with or without a final "/" */
  constructor(base: string, options: HttpStoreOptions = {}) {
    this.#base = base.endsWith("/") ? base : `${base}/`;
    this.#options = options;
  }

  async head(key: string, options?: ReadOptions): Promise<ObjectInfo | undefined> {
    const most = Math.max(1, this.#options.headBytes ?? 0);
    const range = `bytes=0-${most - 1}`;
    const response = await this.#request(key, { range, signal: options?.signal });
    if (response === undefined) return undefined;
    if (response.status !== 206 && response.status !== 416) {
      const { bytes, etag } = await this.#readWhole(key, response);
      return { byteLength: bytes.length, etag };
    }
    if (response.status === 416) {
      await discard(response);
      return { byteLength: parseTotalBytes(response) ?? 0, etag: responseEtag(response, 0) };
    }
    const byteLength = parseTotalBytes(response);
    if (byteLength === undefined) {
      await discard(response);
      throw this.#unusable(key, "does not tell the size of the file");
    }
    const etag = responseEtag(response, byteLength);
    if (this.#options.headBytes === undefined) await discard(response);
    else {
      const { bytes } = await this.#body(key, response, Math.min(most, byteLength));
      if (bytes.length === Math.min(most, byteLength)) this.#heads.set(key, { etag, bytes });
    }
    return { byteLength, etag };
  }

  async get(key: string, options?: ReadOptions): Promise<StoredObject | undefined> {
    const response = await this.#request(key, { signal: options?.signal });
    if (response === undefined) return undefined;
    const limit = this.#options.maxWholeBytes ?? DEFAULT_MAX_OBJECT_BYTES;
    const { bytes, more } = await this.#body(key, response, limit);
    if (more) throw this.#unusable(key, `has ${key} with more than ${limit} bytes`);
    return { bytes, byteLength: bytes.length, etag: responseEtag(response, bytes.length) };
  }

  async getRange(
    key: string,
    offset: number,
    length: number,
    options?: RangeOptions,
  ): Promise<Uint8Array | undefined> {
    const whole = this.#whole.get(key);
    if (whole) return sliceWhole(key, whole, offset, length, options?.ifMatch);
    if (length === 0) return new Uint8Array(0);
    const head = this.#heads.get(key);
    if (head && offset >= 0 && offset + length <= head.bytes.length && options?.ifMatch === head.etag) {
      this.#heads.delete(key);
      return head.bytes.slice(offset, offset + length);
    }
    // A suffix range ("bytes=-n") always reaches to the end: bytes beyond `length` are cut off below.
    const range = offset < 0 ? `bytes=${offset}` : `bytes=${offset}-${offset + length - 1}`;
    const response = await this.#request(key, { range, ifMatch: options?.ifMatch, signal: options?.signal });
    if (response === undefined) return undefined;
    if (response.status === 416) {
      await discard(response);
      return new Uint8Array(0);
    }
    if (response.status !== 206) {
      const whole = await this.#readWhole(key, response);
      return sliceWhole(key, whole, offset, length, options?.ifMatch);
    }
    if (
      options?.ifMatch !== undefined &&
      responseEtag(response, parseTotalBytes(response) ?? -1) !== options.ifMatch
    ) {
      await discard(response);
      throw new ObjectChangedError(key);
    }
    const sent = parseContentRange(response.headers.get("Content-Range"));
    const wrong = describeRangeMismatch(sent, offset, length);
    if (wrong !== undefined) {
      await discard(response);
      throw this.#unusable(key, wrong);
    }
    // A suffix range may return more than was requested.
    const expected = Math.min(length, sent!.after - sent!.first);
    const { bytes, more } = await this.#body(key, response, expected);
    if (more && offset >= 0) {
      throw this.#unusable(key, `sends more than the ${expected} bytes that it was asked for`);
    }
    if (bytes.length < expected) {
      throw new StorageError(
        `${this.#host()} sent ${bytes.length} of ${expected} bytes of ${key}; try again`,
        { retryable: true },
      );
    }
    return bytes;
  }

  async put(key: string, _bytes: Uint8Array, _options?: PutOptions): Promise<boolean> {
    throw new StorageError(
      `cannot write ${key}: web addresses are read only; give a directory or s3:// address`,
      {
        retryable: false,
      },
    );
  }

  // biome-ignore lint/correctness/useYield: the port is an iterable, and this adapter has nothing to list
  async *list(prefix: string): AsyncIterable<string> {
    throw new StorageError(
      `cannot list ${this.#base}${prefix}: web servers have no listing; give the file itself`,
      {
        retryable: false,
      },
    );
  }

  /** Undefined for 404 and 410. Any other failure is a `StorageError` that says what to do. */
  async #request(
    key: string,
    { range, ifMatch, signal }: { range?: string; ifMatch?: string; signal?: AbortSignal },
  ): Promise<Response | undefined> {
    checkKey(key);
    const url = this.#toUrl(key);
    const headers: Record<string, string> = { ...this.#options.headers };
    if (range !== undefined) {
      headers.Range = range;
      // Ranges of a compressed response would not be ranges of the file.
      headers["Accept-Encoding"] = "identity";
    }
    // Weak etags never match (RFC 9110, 13.1.1); `getRange` compares them instead.
    if (ifMatch !== undefined && /^"/.test(ifMatch)) headers["If-Match"] = ifMatch;
    let response: Response;
    try {
      response = await (this.#options.fetch ?? fetch)(url, { headers, signal, redirect: "follow" });
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      throw new StorageError(
        `cannot reach ${new URL(url).host} (${describeTransportError(cause)}); check the address and the network`,
        {
          retryable: true,
          cause,
        },
      );
    }
    if (response.ok || response.status === 416) return response;
    await discard(response);
    if (response.status === 404 || response.status === 410) return undefined;
    if (response.status === 412) throw new ObjectChangedError(key);
    const denied = response.status === 401 || response.status === 403;
    const advice = denied
      ? "check that the address is public or its signature has not expired"
      : "try again later";
    throw new StorageError(`${new URL(url).host} answers ${response.status} for ${key}; ${advice}`, {
      retryable: response.status >= 500 || response.status === 429 || response.status === 408,
    });
  }

  /** Reads a whole response of a server that ignores ranges, if it is small enough to keep. */
  async #readWhole(key: string, response: Response): Promise<{ etag: string; bytes: Uint8Array }> {
    const limit = this.#options.maxWholeBytes ?? DEFAULT_MAX_WHOLE_BYTES;
    const stated = Number(response.headers.get("Content-Length") ?? Number.NaN);
    if (stated > limit) {
      await discard(response);
      throw this.#unusable(
        key,
        `does not serve byte ranges, and the file of ${stated} bytes is too large to read whole`,
      );
    }
    const { bytes, more } = await this.#body(key, response, limit);
    if (more) throw this.#unusable(key, `does not serve byte ranges, and the file is over ${limit} bytes`);
    const whole = { etag: responseEtag(response, bytes.length), bytes };
    this.#wholeBytes += bytes.length - (this.#whole.get(key)?.bytes.length ?? 0);
    this.#whole.delete(key);
    this.#whole.set(key, whole);
    for (const [oldest, { bytes }] of this.#whole) {
      if (this.#wholeBytes <= limit || oldest === key) break;
      this.#whole.delete(oldest);
      this.#wholeBytes -= bytes.length;
    }
    return whole;
  }

  async #body(key: string, response: Response, most: number): Promise<BoundedRead> {
    try {
      return await readAtMost(response.body, most);
    } catch (cause) {
      if ((cause as Error)?.name === "AbortError") throw cause;
      throw new StorageError(`the connection to ${this.#host()} broke while reading ${key}; try again`, {
        retryable: true,
        cause,
      });
    }
  }

  #toUrl(key: string): string {
    const path = key.split("/").map(encodeURIComponent).join("/");
    return this.#base + path + (this.#options.search ? `?${this.#options.search}` : "");
  }

  #host(): string {
    return new URL(this.#base).host;
  }

  #unusable(key: string, reason: string): StorageError {
    return new StorageError(`${this.#host()} ${reason}; download ${key} first and give the local file`, {
      retryable: false,
    });
  }
}

function sliceWhole(
  key: string,
  whole: { etag: string; bytes: Uint8Array },
  offset: number,
  length: number,
  ifMatch: string | undefined,
): Uint8Array {
  if (ifMatch !== undefined && ifMatch !== whole.etag) throw new ObjectChangedError(key);
  const start = offset < 0 ? Math.max(0, whole.bytes.length + offset) : offset;
  return whole.bytes.slice(start, start + length);
}

/** The size in `Content-Range: bytes 0-0/1234`. */
function parseTotalBytes(response: Response): number | undefined {
  const match = /\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "");
  return match ? Number(match[1]) : undefined;
}

function responseEtag(response: Response, byteLength: number): string {
  return response.headers.get("ETag") ?? `${response.headers.get("Last-Modified") ?? ""}#${byteLength}`;
}

/** An unread response must be cancelled, or its connection stays in use. */
async function discard(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => {});
}
