/** A part that the storage holds. */
export interface StoredPart {
  /** Counted from 1. */
  n: number;
  etag: string;
}

/** Multipart uploads of a storage: what the ledger of an upload needs of R2's binding and of the S3 API alike. */
export interface Multipart {
  /** @returns the storage's own id of the upload */
  create(key: string, metadata: Record<string, string>): Promise<string>;
  /** @throws {MultipartMismatchError} where the parts are not those that the storage holds */
  complete(key: string, uploadId: string, parts: readonly StoredPart[]): Promise<{ etag: string }>;
  /** An upload that is gone already is no error. */
  abort(key: string, uploadId: string): Promise<void>;
  head(key: string): Promise<{ etag: string; byteLength: number } | undefined>;
}

/** The storage does not know the upload or holds other parts than were named. */
export class MultipartMismatchError extends Error {
  override readonly name = "MultipartMismatchError";
  /** "upload": there is no such upload (any more). "parts": it holds other parts. */
  readonly missing: "upload" | "parts";
  constructor(missing: "upload" | "parts", options: { cause?: unknown } = {}) {
    super(`the storage holds no such ${missing}`, options);
    this.missing = missing;
  }
}
