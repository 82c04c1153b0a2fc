import {
  GetObjectCommand,
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

export interface S3StoreOptions {
  /** Prepended to every key, with its final "/". */
  prefix?: string;
  /** For servers other than AWS; also from AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL. */
  endpoint?: string;
  /** Also from AWS_REGION or AWS_DEFAULT_REGION; us-east-1 where nothing is said. */
  region?: string;
  /** Bucket in the path and not in the host name. Default: with an endpoint yes, on AWS no. */
  pathStyle?: boolean;
  credentials?: S3ClientConfig["credentials"];
  client?: S3Client;
}

/**
 * A bucket of any S3 server. Credentials, endpoint and region come from the options, else from AWS_*.
 * On servers without conditional writes (Swift) a `put` with `ifNoneMatch` looks first and then writes: what was there
 * is never written over, but of several writers at the same moment more than one may be told `true`.
 */
export class S3Store implements ObjectStore {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;

  constructor(bucket: string, options: S3StoreOptions = {}) {
    this.#bucket = bucket;
    this.#prefix = options.prefix ?? "";
    this.#client = options.client ?? new S3Client(clientConfig(options));
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
      return { bytes: await answer.Body!.transformToByteArray(), etag: answer.ETag ?? "" };
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
          throw new ObjectChangedError(key);
        }
        return answer.Body!.transformToByteArray();
      },
      new Uint8Array(0),
    );
    return bytes?.subarray(0, length);
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
      if (statusOf((error as Error).cause) !== 501) throw error;
      if ((await this.head(key, options)) !== undefined) return false;
      if ((await write(undefined)) === undefined) throw this.#noBucket();
      return true;
    }
  }

  async *list(prefix: string, options?: ReadOptions): AsyncIterable<string> {
    let ContinuationToken: string | undefined;
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
      ContinuationToken = page?.NextContinuationToken;
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

  /** Undefined when the key (or bucket) is not there; `beyond` when the range begins behind the end. */
  async #send<T>(key: string, call: () => Promise<T>, beyond?: T): Promise<T | undefined> {
    try {
      return await call();
    } catch (cause) {
      const name = (cause as Error)?.name;
      const status = statusOf(cause);
      if (name === "AbortError" || cause instanceof ObjectChangedError || cause instanceof TypeError)
        throw cause;
      if (status === 404) return undefined;
      if (status === 412) throw new ObjectChangedError(key);
      if (status === 416 && beyond !== undefined) return beyond;
      throw this.#failure(key, cause, status);
    }
  }

  #failure(key: string, cause: unknown, status: number | undefined): StorageError {
    const { name, message } = cause as Error;
    const where = `s3://${this.#bucket}/${this.#prefix}${key}`;
    // An answer to HEAD has no body: the SDK then knows the status alone and says "Unknown".
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
    const detail = known ? ` (${name}: ${message})` : "";
    // 409: a write or delete of the same key was under way; which of them won is not known yet.
    const retryable = (status >= 500 && status !== 501) || status === 429 || status === 409;
    const advice = retryable ? "try again later" : "check the bucket's name and AWS_REGION";
    return new StorageError(`the S3 server answers ${status} for ${where}${detail}; ${advice}`, {
      retryable,
      cause,
    });
  }
}

function statusOf(error: unknown): number | undefined {
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
    // The SDK's own checksums are not understood by every server (facts of Swift, older MinIO and Ceph).
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  };
}
