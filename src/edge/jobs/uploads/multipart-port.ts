/** A part that the storage holds. */
export interface StoredPart {
  /** Counted from 1. */
  n: number;
  etag: string;
}

/** Multipart uploads of a storage, over R2's binding or the S3 API. */
export interface Multipart {
  /** @returns the storage's id of the upload */
  create(key: string, metadata: Record<string, string>): Promise<string>;
  /** @throws {MultipartMismatchError} where the parts are not those that the storage holds */
  complete(key: string, uploadId: string, parts: readonly StoredPart[]): Promise<{ etag: string }>;
  /** Succeeds for an upload that does not exist. */
  abort(key: string, uploadId: string): Promise<void>;
  head(key: string): Promise<{ etag: string; byteLength: number } | undefined>;
}

/** The storage does not have the upload, or has other parts than the given ones. */
export class MultipartMismatchError extends Error {
  override readonly name = "MultipartMismatchError";
  /** "upload": there is no such upload. "parts": it has other parts. */
  readonly missing: "upload" | "parts";
  constructor(missing: "upload" | "parts", options: { cause?: unknown } = {}) {
    super(`the storage holds no such ${missing}`, options);
    this.missing = missing;
  }
}
