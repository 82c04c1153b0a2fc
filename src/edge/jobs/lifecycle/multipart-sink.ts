import type {
  DigestStream as CloudflareDigestStream,
  R2Bucket,
  R2MultipartUpload,
  R2UploadedPart,
} from "@cloudflare/workers-types";
import type { ByteSink } from "../../../image/byte-sink.ts";
import type { WrittenOutput } from "../../../image/label-sink.ts";
import { toHex } from "../../../storage/digest.ts";

/** R2's minimum part size; all parts but the last have the same size. Each open output holds two parts in memory. */
const PART_BYTES = 5 * 2 ** 20;

/**
 * A `ByteSink` that writes an object by multipart upload. It holds the first part until the end, because its head may
 * change, and a second one. The object appears when it is complete.
 */
export class MultipartSink implements ByteSink {
  readonly #bucket: R2Bucket;
  readonly #key: string;
  readonly #name: string;
  readonly #contentType: string;
  #first: Uint8Array | undefined;
  #buffer = new Uint8Array(PART_BYTES);
  #filled = 0;
  #upload: R2MultipartUpload | undefined;
  readonly #parts: R2UploadedPart[] = [];
  #byteLength = 0;
  #finished = false;

  constructor(bucket: R2Bucket, key: string, name: string, contentType: string) {
    this.#bucket = bucket;
    this.#key = key;
    this.#name = name;
    this.#contentType = contentType;
  }

  get byteLength(): number {
    return this.#byteLength;
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.#byteLength += bytes.length;
    for (let at = 0; at < bytes.length; ) {
      const some = bytes.subarray(at, at + PART_BYTES - this.#filled);
      this.#buffer.set(some, this.#filled);
      this.#filled += some.length;
      at += some.length;
      if (this.#filled === PART_BYTES) await this.#flush();
    }
  }

  async finish(head?: Uint8Array): Promise<WrittenOutput> {
    const first = this.#first ?? this.#buffer.subarray(0, this.#filled);
    if (head) first.set(head);
    const options = { httpMetadata: { contentType: this.#contentType } };
    if (!this.#first) await this.#bucket.put(this.#key, first, options);
    else {
      if (this.#filled > 0) await this.#send(this.#buffer.subarray(0, this.#filled));
      const upload = await this.#open();
      this.#parts.unshift(await upload.uploadPart(1, first));
      await upload.complete(this.#parts);
    }
    this.#finished = true;
    return { name: this.#name, byteLength: this.#byteLength, sha256: await this.#digest() };
  }

  async abort(): Promise<void> {
    if (!this.#finished) await this.#upload?.abort();
  }

  async #flush(): Promise<void> {
    if (this.#first) await this.#send(this.#buffer);
    else {
      this.#first = this.#buffer;
      this.#buffer = new Uint8Array(PART_BYTES);
    }
    this.#filled = 0;
  }

  async #send(bytes: Uint8Array): Promise<void> {
    const upload = await this.#open();
    this.#parts.push(await upload.uploadPart(this.#parts.length + 2, bytes));
  }

  async #open(): Promise<R2MultipartUpload> {
    this.#upload ??= await this.#bucket.createMultipartUpload(this.#key, {
      httpMetadata: { contentType: this.#contentType },
    });
    return this.#upload;
  }

  /** Reads the object back: a head written last changes the digest, and reading proves what is stored. */
  async #digest(): Promise<string> {
    const object = await this.#bucket.get(this.#key);
    if (!object) throw new Error(`${this.#key} is missing after the upload`);
    const { DigestStream } = crypto as unknown as { DigestStream: typeof CloudflareDigestStream };
    const stream = new DigestStream("SHA-256");
    await object.body.pipeTo(stream);
    return toHex(new Uint8Array(await stream.digest));
  }
}
