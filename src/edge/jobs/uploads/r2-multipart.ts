import type { R2Bucket } from "@cloudflare/workers-types";
import { type Multipart, MultipartMismatchError, type StoredPart } from "./multipart-port.ts";

/** R2's error codes for a missing upload and for missing parts; they appear in messages only. */
const NO_SUCH_UPLOAD = /\(10024\)/;
const INVALID_PART = /\(10025\)/;

/** Multipart uploads through a Worker's binding. */
export class R2Multipart implements Multipart {
  readonly #bucket: R2Bucket;

  constructor(bucket: R2Bucket) {
    this.#bucket = bucket;
  }

  async create(key: string, customMetadata: Record<string, string>): Promise<string> {
    return (await this.#bucket.createMultipartUpload(key, { customMetadata })).uploadId;
  }

  async complete(key: string, uploadId: string, parts: readonly StoredPart[]): Promise<{ etag: string }> {
    const upload = this.#bucket.resumeMultipartUpload(key, uploadId);
    try {
      const { etag } = await upload.complete(parts.map(({ n, etag }) => ({ partNumber: n, etag })));
      return { etag };
    } catch (cause) {
      throw toMismatchError(cause) ?? cause;
    }
  }

  async abort(key: string, uploadId: string): Promise<void> {
    try {
      await this.#bucket.resumeMultipartUpload(key, uploadId).abort();
    } catch (error) {
      if (toMismatchError(error)?.missing !== "upload") throw error;
    }
  }

  async head(key: string): Promise<{ etag: string; byteLength: number } | undefined> {
    const found = await this.#bucket.head(key);
    return found ? { etag: found.etag, byteLength: found.size } : undefined;
  }
}

/** Converts an error of R2 about the upload; undefined for other errors. */
export function toMismatchError(error: unknown): MultipartMismatchError | undefined {
  const message = (error as Error)?.message ?? "";
  if (NO_SUCH_UPLOAD.test(message)) return new MultipartMismatchError("upload", { cause: error });
  if (INVALID_PART.test(message)) return new MultipartMismatchError("parts", { cause: error });
  return undefined;
}
