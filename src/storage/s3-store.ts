import {
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
} from "@aws-sdk/client-s3";
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
import { describeRangeMismatch, parseContentRange, readAtMost } from "./read-at-most.ts";

export interface S3StoreOptions {
  /** Prepended to every key, with its final "/". */
  prefix?: string;
  /** For servers other than AWS; default AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL. */
  endpoint?: string;
  /** Default AWS_REGION or AWS_DEFAULT_REGION, else us-east-1. */
  region?: string;
  /** Bucket in the path, not in the host name. Default: yes with an endpoint, no on AWS. */
  pathStyle?: boolean;
  credentials?: S3ClientConfig["credentials"];
  client?: S3Client;
}

/** Limit of an object that is read whole, such as a chunk of a Zarr. */
const MAX_OBJECT_BYTES = 512 * 2 ** 20;
/** Consecutive pages of a listing without any key: servers may send some. */
const MAX_EMPTY_PAGES = 100;
/** Limit of every response that is not an object: a thousand keys of a kilobyte, each byte escaped. */
const MAX_ANSWER_BYTES = 16 * 2 ** 20;

/**
 * A bucket of any S3 server. Credentials, endpoint and region come from the options, else from AWS_*. On servers
 * without conditional writes (Swift) a `put` with `ifNoneMatch` checks and then writes: existing objects are never
 * overwritten, but of several writers at the same moment more than one may get `true`.
 */
export class S3Store implements ObjectStore {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;

  constructor(bucket: string, options: S3StoreOptions = {}) {
    this.#bucket = bucket;
    this.#prefix = options.prefix ?? "";
    this.#client = options.client ?? new S3Client(clientConfig(options));
    limitResponses(this.#client);
  }

  async head(key: string, options?: ReadOptions): Promise<ObjectInfo | undefined> {
    const answer = await this.#send(key, () =>
      this.#client.send(new HeadObjectCommand(this.#address(key)), { abortSignal: options?.signal }),
    );
    return answer && { byteLength: answer.ContentLength ?? 0, etag: answer.ETag ?? "" };
  }

  async get(key: string, options?: ReadOptions): Promise<StoredObject | undefined> {
    const found = await this.#send(key, async () => {
      const answer = await this.#client.send(new GetObjectCommand(this.#address(key)), {
        abortSignal: options?.signal,
      });
      const { bytes, more } = await readAtMost(toByteIterable(answer.Body), MAX_OBJECT_BYTES);
      if (more)
        throw this.#unusable(key, `has more than ${MAX_OBJECT_BYTES} bytes, which are not read at once`);
      return { bytes, etag: answer.ETag ?? "" };
    });
    return found && { ...found, byteLength: found.bytes.length };
  }

  async getRange(
    key: string,
    offset: number,
    length: number,
    options?: RangeOptions,
  ): Promise<Uint8Array | undefined> {
    if (length === 0) return new Uint8Array(0);
    const Range = offset < 0 ? `bytes=${offset}` : `bytes=${offset}-${offset + length - 1}`;
    const bytes = await this.#send(
      key,
      async () => {
        const answer = await this.#client.send(
          new GetObjectCommand({ ...this.#address(key), Range, IfMatch: options?.ifMatch }),
          { abortSignal: options?.signal },
        );
        if (options?.ifMatch !== undefined && answer.ETag !== undefined && answer.ETag !== options.ifMatch) {
          discardBody(answer.Body);
          throw new ObjectChangedError(key);
        }
        // For an empty object some servers return all of it for any range.
        if (answer.ContentRange === undefined && answer.ContentLength === 0) {
          discardBody(answer.Body);
          return new Uint8Array(0);
        }
        const range = parseContentRange(answer.ContentRange);
        const wrong = describeRangeMismatch(range, offset, length);
        if (wrong !== undefined) {
          discardBody(answer.Body);
          const ignored = answer.ContentRange === undefined;
          throw this.#unusable(
            key,
            ignored ? "is sent whole where a range was asked for" : `: the server ${wrong}`,
          );
        }
        // A suffix range may return more than was requested.
        const expected = Math.min(length, range!.after - range!.first);
        const { bytes, more } = await readAtMost(toByteIterable(answer.Body), expected);
        if (more && offset >= 0) {
          throw this.#unusable(
            key,
            `: the server sends more than the ${expected} bytes that it was asked for`,
          );
        }
        if (bytes.length < expected) {
          throw new StorageError(
            `the S3 server sent ${bytes.length} of ${expected} bytes of ${this.#name(key)}; try again`,
            { retryable: true },
          );
        }
        return bytes;
      },
      new Uint8Array(0),
    );
    return bytes;
  }

  async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<boolean> {
    const write = (IfNoneMatch: "*" | undefined) =>
      this.#send(key, async () => {
        await this.#client.send(
          new PutObjectCommand({
            ...this.#address(key),
            Body: bytes,
            ContentType: options?.contentType,
            IfNoneMatch,
          }),
          { abortSignal: options?.signal },
        );
        return true;
      });
    if (options?.ifNoneMatch !== "*") {
      if ((await write(undefined)) === undefined) throw this.#noBucket();
      return true;
    }
    try {
      if ((await write("*")) === undefined) throw this.#noBucket();
      return true;
    } catch (error) {
      if (error instanceof ObjectChangedError) return false;
      if (httpStatus((error as Error).cause) !== 501) throw error;
      if ((await this.head(key, options)) !== undefined) return false;
      if ((await write(undefined)) === undefined) throw this.#noBucket();
      return true;
    }
  }

  async *list(prefix: string, options?: ReadOptions): AsyncIterable<string> {
    let ContinuationToken: string | undefined;
    let empty = 0;
    do {
      const page = await this.#send(prefix, () =>
        this.#client.send(
          new ListObjectsV2Command({
            Bucket: this.#bucket,
            Prefix: this.#prefix + prefix,
            ContinuationToken,
          }),
          { abortSignal: options?.signal },
        ),
      );
      for (const { Key } of page?.Contents ?? []) if (Key) yield Key.slice(this.#prefix.length);
      empty = page?.Contents?.length ? 0 : empty + 1;
      const next = page?.NextContinuationToken;
      if (next !== undefined && (empty > MAX_EMPTY_PAGES || next === ContinuationToken)) {
        throw this.#unusable(prefix, ": the server sends a listing that does not advance");
      }
      ContinuationToken = next;
    } while (ContinuationToken !== undefined);
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }

  #address(key: string): { Bucket: string; Key: string } {
    checkKey(key);
    return { Bucket: this.#bucket, Key: this.#prefix + key };
  }

  #noBucket(): StorageError {
    return new StorageError(`bucket ${this.#bucket} does not exist; check its name`, { retryable: false });
  }

  /** Undefined when the key or the bucket does not exist; `beyond` when the range begins behind the end. */
  async #send<T>(key: string, call: () => Promise<T>, beyond?: T): Promise<T | undefined> {
    try {
      return await call();
    } catch (cause) {
      const name = (cause as Error)?.name;
      const status = httpStatus(cause);
      const isOurs = cause instanceof ObjectChangedError || cause instanceof StorageError;
      // The SDK appends advice for programmers to errors that occur while it reads a response.
      if (cause instanceof StorageError && cause.message.includes("\n")) {
        throw new StorageError(firstLine(cause.message), { retryable: cause.retryable });
      }
      if (name === "AbortError" || isOurs || cause instanceof TypeError) throw cause;
      if (status === 404) return undefined;
      if (status === 412) throw new ObjectChangedError(key);
      if (status === 416 && beyond !== undefined) return beyond;
      throw this.#failure(key, cause, status);
    }
  }

  #name(key: string): string {
    return `s3://${this.#bucket}/${this.#prefix}${key}`;
  }

  #unusable(key: string, what: string): StorageError {
    return new StorageError(
      `${this.#name(key)}${what.startsWith(":") ? "" : " "}${what}; check AWS_ENDPOINT_URL, or download the object and give the local file`,
      { retryable: false },
    );
  }

  #failure(key: string, cause: unknown, status: number | undefined): StorageError {
    const { name, message } = cause as Error;
    const where = this.#name(key);
    // A response to HEAD has no body: the SDK knows only the status and calls the error "Unknown".
    const known = name !== "Unknown";
    if (name === "CredentialsProviderError" || status === 401 || status === 403) {
      return new StorageError(
        `access to ${where} is denied (${known ? name : status}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy`,
        { retryable: false, cause },
      );
    }
    if (status === undefined) {
      const code = (cause as { code?: string }).code ?? name;
      return new StorageError(
        `cannot reach the S3 server for ${where} (${code}); check AWS_ENDPOINT_URL and the network`,
        { retryable: true, cause },
      );
    }
    const detail = known ? ` (${name}: ${firstLine(message)})` : "";
    // 409: another write or delete of the same key was in progress; which one won is unknown.
    const retryable = (status >= 500 && status !== 501) || status === 429 || status === 409;
    const advice = retryable ? "try again later" : "check the bucket's name and AWS_REGION";
    return new StorageError(`the S3 server answers ${status} for ${where}${detail}; ${advice}`, {
      retryable,
      cause,
    });
  }
}

function firstLine(text: string): string {
  return text.replace(/\s*\n.*/s, "");
}

type Body = GetObjectCommandOutput["Body"];

/** In Node the SDK's bodies are streams of bytes. */
function toByteIterable(body: Body): AsyncIterable<Uint8Array> | undefined {
  return body as AsyncIterable<Uint8Array> | undefined;
}

/** An unread response must be closed, or its connection stays in use. */
function discardBody(body: Body): void {
  (body as { destroy?: () => void } | undefined)?.destroy?.();
}

/** The SDK reads listings and errors whole: this cuts off endless ones. */
function limitResponses(client: S3Client): void {
  client.middlewareStack.add(
    (next, context) => async (args) => {
      const result = await next(args);
      const response = result.response as { statusCode?: number; body?: AsyncIterable<Uint8Array> };
      const isObject = context.commandName === "GetObjectCommand" && (response.statusCode ?? 500) < 300;
      const { body } = response;
      if (!isObject && body && typeof body === "object" && Symbol.asyncIterator in body) {
        response.body = toReadableStream(limitBytes(body)) as unknown as AsyncIterable<Uint8Array>;
      }
      return result;
    },
    { step: "deserialize", priority: "low", name: "boundAnswers", override: true },
  );
}

/** The kind of stream that the SDK can collect, besides Node's. */
function toReadableStream(chunks: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await chunks.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await chunks.return(undefined);
    },
  });
}

async function* limitBytes(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let total = 0;
  for await (const chunk of body) {
    total += chunk.length;
    if (total > MAX_ANSWER_BYTES) {
      throw new StorageError(
        `the S3 server answers with more than ${MAX_ANSWER_BYTES} bytes where it lists or refuses; check AWS_ENDPOINT_URL`,
        { retryable: false },
      );
    }
    yield chunk;
  }
}

function httpStatus(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata?.httpStatusCode;
}

function clientConfig(options: S3StoreOptions): S3ClientConfig {
  const environment = typeof process === "undefined" ? {} : process.env;
  const endpoint = options.endpoint ?? environment.AWS_ENDPOINT_URL_S3 ?? environment.AWS_ENDPOINT_URL;
  return {
    endpoint,
    region: options.region ?? environment.AWS_REGION ?? environment.AWS_DEFAULT_REGION ?? "us-east-1",
    forcePathStyle: options.pathStyle ?? endpoint !== undefined,
    credentials: options.credentials,
    // Not every server understands the SDK's own checksums (Swift, older MinIO and Ceph).
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  };
}
