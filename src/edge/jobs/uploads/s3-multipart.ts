import { AwsClient } from "aws4fetch";
import { childrenNamed, childText, escapeXml, type XmlElement } from "../../../codecs/xml.ts";
import { readS3Xml } from "../../shared/s3-xml.ts";
import { type Multipart, MultipartMismatchError, type StoredPart } from "./multipart-port.ts";

export interface S3Access {
  /** Of the server, without the bucket. */
  endpoint: string;
  bucket: string;
  accessKeyId: string;
  secretAccessKey: string;
  /** R2 takes "auto". */
  region: string;
}

/** The client chooses the sizes of parts, so they are listed and checked. */
export interface ListedPart extends StoredPart {
  byteLength: number;
}

export const URL_MAX_AGE_SECONDS = 3600;

/** A page of 1000 parts has about 250 kB. */
const MAX_RESPONSE_BYTES = 2 ** 20;
const MAX_PAGES = 11;

/**
 * Multipart uploads over the S3 API, whose parts clients may send by presigned addresses.
 *
 * Written by hand over aws4fetch: @aws-sdk/lib-storage is too large for a Worker and gives no presigned parts.
 */
export class S3Multipart implements Multipart {
  readonly #access: S3Access;
  readonly #client: AwsClient;

  constructor(access: S3Access) {
    this.#access = access;
    const { accessKeyId, secretAccessKey, region } = access;
    this.#client = new AwsClient({ accessKeyId, secretAccessKey, region, service: "s3", retries: 2 });
  }

  async create(key: string, metadata: Record<string, string>): Promise<string> {
    const headers = Object.fromEntries(Object.entries(metadata).map(([k, v]) => [`x-amz-meta-${k}`, v]));
    const response = await this.#request("POST", this.#url(key, { uploads: "" }), { headers });
    const uploadId = childText(response, "UploadId");
    if (!uploadId) throw new Error("the S3 server did not start an upload");
    return uploadId;
  }

  /** The parts that the storage holds, in order. @throws {MultipartMismatchError} where the upload is not there */
  async parts(key: string, uploadId: string): Promise<ListedPart[]> {
    const parts: ListedPart[] = [];
    let marker = "0";
    for (let i = 0; i < MAX_PAGES; i++) {
      const page = await this.#request(
        "GET",
        this.#url(key, { uploadId, "max-parts": "1000", "part-number-marker": marker }),
      );
      for (const part of childrenNamed(page, "Part")) {
        const n = Number(childText(part, "PartNumber"));
        const etag = childText(part, "ETag");
        const byteLength = Number(childText(part, "Size"));
        if (!Number.isInteger(n) || !etag || !Number.isInteger(byteLength)) {
          throw new Error("the S3 server lists a part without number, etag or size");
        }
        parts.push({ n, etag, byteLength });
      }
      const next = childText(page, "NextPartNumberMarker");
      if (childText(page, "IsTruncated") !== "true" || !next || next === marker) break;
      marker = next;
    }
    return parts;
  }

  async complete(key: string, uploadId: string, parts: readonly StoredPart[]): Promise<{ etag: string }> {
    const list = parts.map(
      ({ n, etag }) => `<Part><PartNumber>${n}</PartNumber><ETag>${escapeXml(etag)}</ETag></Part>`,
    );
    const body = `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${list.join("")}</CompleteMultipartUpload>`;
    const headers = { "Content-Type": "application/xml" };
    const response = await this.#request("POST", this.#url(key, { uploadId }), { body, headers });
    const etag = childText(response, "ETag");
    // The server sends the status before it is done, so an error may follow.
    if (!etag) throw toMismatchError(response) ?? new Error("the S3 server did not complete the upload");
    return { etag: etag.replace(/^"|"$/g, "") };
  }

  async abort(key: string, uploadId: string): Promise<void> {
    try {
      await this.#request("DELETE", this.#url(key, { uploadId }));
    } catch (error) {
      if (!(error instanceof MultipartMismatchError)) throw error;
    }
  }

  async head(key: string): Promise<{ etag: string; byteLength: number } | undefined> {
    const response = await this.#client.fetch(this.#url(key, {}), { method: "HEAD" });
    if (response.status === 404) return undefined;
    if (!response.ok) throw new Error(`the S3 server responds ${response.status}`);
    const etag = (response.headers.get("ETag") ?? "").replace(/^"|"$/g, "");
    return { etag, byteLength: Number(response.headers.get("Content-Length")) };
  }

  /** A presigned URL: anyone who has it can put part `n` for an hour. */
  async presign(key: string, uploadId: string, n: number): Promise<string> {
    const url = this.#url(key, {
      partNumber: String(n),
      uploadId,
      "X-Amz-Expires": String(URL_MAX_AGE_SECONDS),
    });
    return (await this.#client.sign(url, { method: "PUT", aws: { signQuery: true } })).url;
  }

  #url(key: string, query: Record<string, string>): string {
    const { endpoint, bucket } = this.#access;
    const path = [bucket, ...key.split("/")].map(encodeURIComponent).join("/");
    const url = new URL(`${endpoint.replace(/\/+$/, "")}/${path}`);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    return url.href;
  }

  async #request(
    method: string,
    url: string,
    init: { body?: string; headers?: Record<string, string> } = {},
  ): Promise<XmlElement | undefined> {
    const response = await this.#client.fetch(url, { method, ...init, redirect: "manual" });
    const root = await readS3Xml(response, MAX_RESPONSE_BYTES);
    if (response.ok) return root;
    throw (
      toMismatchError(root) ??
      new Error(`the S3 server responds ${response.status} ${childText(root, "Code") ?? ""}`)
    );
  }
}

function toMismatchError(response: XmlElement | undefined): MultipartMismatchError | undefined {
  const code = childText(response, "Code");
  if (code === "NoSuchUpload") return new MultipartMismatchError("upload");
  if (code === "InvalidPart" || code === "InvalidPartOrder") return new MultipartMismatchError("parts");
  return undefined;
}
