import { DurableObject } from "cloudflare:workers";
import type { Bindings } from "../context/bindings.ts";
import { type Multipart, MultipartMismatchError, type StoredPart } from "./multipart-port.ts";
import { publishUploadEvent } from "./publish-upload-event.ts";
import { R2Multipart } from "./r2-multipart.ts";
import { S3Multipart } from "./s3-multipart.ts";
import { type PartLayout, partCount, partLength, REQUEST_METADATA, uploadKey } from "./upload-plan.ts";
import { readS3Access, readUploadSettings } from "./upload-settings.ts";

/** The request that creates an upload. */
export interface NewUpload extends PartLayout {
  id: string;
  name: string;
  presigned: boolean;
  /** JSON of the job request. */
  request?: string;
}

/** An upload as stored. */
export interface Upload extends PartLayout {
  id: string;
  bucket: string;
  key: string;
  presigned: boolean;
  state: "open" | "complete";
  createdAt: string;
  /** Etag of the whole object, once it is complete. */
  etag?: string;
  /** The event that the upload is complete was published. */
  published?: boolean;
  /** The job that the upload started, or why it started none. */
  job?: string;
  refusal?: string;
}

/** An upload and its stored parts, in order. */
export interface UploadState extends Upload {
  done: number[];
}

/** One attempt to send a part; a later attempt for the same part supersedes it. */
export interface PartAttempt {
  upload: Upload;
  uploadId: string;
  attempt: number;
}

export type Completion =
  | { outcome: "complete"; upload: Upload & { etag: string } }
  /** No such upload, or it was aborted. */
  | { outcome: "absent" }
  /** The first parts that are missing or have a wrong size. */
  | { outcome: "missing"; parts: number[] };

/** Everything the object stores; the storage's id of the upload is private. */
type StoredUpload = Upload & { uploadId: string };

/** The name that version 0.1.0 stored for `published`. */
type OldUpload = StoredUpload & { told?: boolean };

const UPLOAD = "upload";
/** Uploads without activity for this time are aborted; R2 aborts its own after the same time. */
const IDLE_MS = 7 * 24 * 3600 * 1000;
const PUBLISH_AGAIN_MS = 15_000;
const NAMED_MISSING = 20;
const URLS_AT_A_TIME = 100;

/**
 * The ledger of one upload: which parts are stored, and the outcome. The object is named by the upload's id; an upload
 * that was never created stores nothing. Bytes of parts do not pass through it.
 */
export class UploadLedger extends DurableObject<Bindings> {
  protected readonly idleMs: number = IDLE_MS;
  #completing: Promise<Completion> | undefined;

  async create({ id, name, byteLength, partBytes, presigned, request }: NewUpload): Promise<UploadState> {
    const { bucket } = readUploadSettings(this.env);
    const key = uploadKey(id, name);
    const metadata: Record<string, string> = request === undefined ? {} : { [REQUEST_METADATA]: request };
    const uploadId = await this.#storage(presigned).create(key, metadata);
    const createdAt = new Date().toISOString();
    const layout = { byteLength, partBytes };
    const upload: StoredUpload = {
      id,
      bucket,
      key,
      ...layout,
      presigned,
      uploadId,
      state: "open",
      createdAt,
    };
    this.ctx.storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS parts (n INTEGER PRIMARY KEY, attempt INTEGER NOT NULL, etag TEXT, at INTEGER NOT NULL)",
    );
    await this.ctx.storage.put(UPLOAD, upload);
    await this.ctx.storage.setAlarm(Date.now() + this.idleMs);
    return { ...toPublicUpload(upload), done: [] };
  }

  async read(): Promise<UploadState | undefined> {
    const upload = await this.#read();
    if (!upload) return undefined;
    if (upload.state === "complete") {
      return { ...toPublicUpload(upload), done: Array.from({ length: partCount(upload) }, (_, i) => i + 1) };
    }
    return { ...toPublicUpload(upload), done: (await this.#parts(upload)).map(({ n }) => n) };
  }

  /** Starts an attempt to send part `n`. The attempt is 0 where the upload does not accept the part. */
  async begin(n: number, byteLength: number): Promise<PartAttempt | undefined> {
    const upload = await this.#read();
    if (!upload) return undefined;
    const { uploadId } = upload;
    if (upload.state === "complete" || upload.presigned || partLength(upload, n) !== byteLength) {
      return { upload: toPublicUpload(upload), uploadId, attempt: 0 };
    }
    const { attempt } = this.ctx.storage.sql
      .exec<{ attempt: number }>(
        "INSERT INTO parts VALUES (?, 1, NULL, ?) ON CONFLICT (n) DO UPDATE SET attempt = attempt + 1, at = excluded.at RETURNING attempt",
        n,
        Date.now(),
      )
      .one();
    return { upload: toPublicUpload(upload), uploadId, attempt };
  }

  /**
   * Records part `n` as stored.
   * @returns false where another attempt for the part started meanwhile: which of them the storage kept is unknown, so the
   * part counts as missing
   */
  async record(n: number, attempt: number, etag: string): Promise<boolean> {
    if ((await this.#read())?.state !== "open") return false;
    const { rowsWritten } = this.ctx.storage.sql.exec(
      "UPDATE parts SET etag = ?, at = ? WHERE n = ? AND attempt = ?",
      etag,
      Date.now(),
      n,
      attempt,
    );
    if (rowsWritten > 0) return true;
    this.ctx.storage.sql.exec("UPDATE parts SET etag = NULL WHERE n = ?", n);
    return false;
  }

  /** Presigned URLs for the first hundred missing parts from part `from` on. */
  async addresses(from: number): Promise<{ n: number; url: string }[] | undefined> {
    const upload = await this.#read();
    if (!upload?.presigned || upload.state !== "open") return undefined;
    const there = new Set((await this.#parts(upload)).map(({ n }) => n));
    const s3 = this.#s3();
    const addresses: { n: number; url: string }[] = [];
    for (let n = Math.max(1, from); n <= partCount(upload) && addresses.length < URLS_AT_A_TIME; n++) {
      if (!there.has(n)) addresses.push({ n, url: await s3.presign(upload.key, upload.uploadId, n) });
    }
    return addresses;
  }

  /** Joins the parts into one object. Idempotent. */
  async complete(): Promise<Completion> {
    // Concurrent calls share one completion: the second would not find the upload.
    this.#completing ??= this.#complete().finally(() => {
      this.#completing = undefined;
    });
    return this.#completing;
  }

  /** The event that the upload is complete was published. */
  async markPublished(job: string | undefined): Promise<void> {
    await this.#change({ published: true, ...(job === undefined ? {} : { job }) });
  }

  /** Records the job that the upload started, or the sentence that says why it started none. */
  async setOutcome(outcome: { job: string } | { refusal: string }): Promise<void> {
    await this.#change(outcome);
  }

  /** Aborts the upload. @returns its state before; undefined where there was none */
  async abort(): Promise<Upload["state"] | undefined> {
    const upload = await this.#read();
    if (upload?.state === "open") {
      await this.#storage(upload.presigned).abort(upload.key, upload.uploadId);
      await this.#delete();
    }
    return upload?.state;
  }

  override async alarm(): Promise<void> {
    const upload = await this.#read();
    if (!upload) return;
    if (await this.#publishAgain(upload)) return;
    const since = Math.max(Date.parse(upload.createdAt), await this.#lastActivity(upload));
    if (Date.now() - since < this.idleMs) return this.ctx.storage.setAlarm(since + this.idleMs);
    if (upload.state === "open") await this.#storage(upload.presigned).abort(upload.key, upload.uploadId);
    await this.#delete();
  }

  async #complete(): Promise<Completion> {
    const upload = await this.#read();
    if (!upload) return { outcome: "absent" };
    if (upload.state === "complete") return completed(upload);
    const storage = this.#storage(upload.presigned);
    try {
      const parts = await this.#parts(upload);
      const missing = findMissingParts(upload, parts);
      if (missing.length > 0) return { outcome: "missing", parts: missing };
      const { etag } = await storage.complete(upload.key, upload.uploadId, parts);
      return completed(await this.#finish(etag));
    } catch (error) {
      // An earlier attempt may have completed it without storing so. No other upload has this key.
      const found = await storage.head(upload.key);
      if (found?.byteLength === upload.byteLength) {
        return completed(await this.#finish(found.etag));
      }
      if (!(error instanceof MultipartMismatchError)) throw error;
      if (error.missing === "upload") {
        await this.#delete();
        return { outcome: "absent" };
      }
      // The storage does not say which parts it holds: all must be sent again.
      this.ctx.storage.sql.exec("DELETE FROM parts");
      return { outcome: "missing", parts: findMissingParts(upload, []) };
    }
  }

  /** A local queue may lose the event, so it is published again until the upload has an outcome. */
  async #publishAgain({ state, job, refusal, ...scan }: StoredUpload): Promise<boolean> {
    if (this.env.SYNTHESISE_EVENTS !== "true" || state !== "complete" || job || refusal) return false;
    await publishUploadEvent({ ...scan, etag: scan.etag! }, this.env);
    await this.ctx.storage.setAlarm(Date.now() + PUBLISH_AGAIN_MS);
    return true;
  }

  /** Stored parts of the right size, in order. */
  async #parts(upload: StoredUpload): Promise<StoredPart[]> {
    if (!upload.presigned) {
      return this.ctx.storage.sql
        .exec<{ n: number; etag: string }>("SELECT n, etag FROM parts WHERE etag IS NOT NULL ORDER BY n")
        .toArray();
    }
    const listed = await this.#s3().parts(upload.key, upload.uploadId);
    return listed
      .filter(({ n, byteLength }) => byteLength === partLength(upload, n))
      .sort((a, b) => a.n - b.n);
  }

  async #lastActivity(upload: StoredUpload): Promise<number> {
    // Parts go to the storage directly: the time counts from the beginning.
    if (upload.presigned) return 0;
    return this.ctx.storage.sql.exec<{ at: number | null }>("SELECT max(at) AS at FROM parts").one().at ?? 0;
  }

  #storage(presigned: boolean): Multipart {
    return presigned ? this.#s3() : new R2Multipart(readUploadSettings(this.env).scans);
  }

  #s3(): S3Multipart {
    const access = readS3Access(this.env);
    if (!access) throw new Error("presigned uploads are no longer configured");
    return new S3Multipart(access);
  }

  async #read(): Promise<StoredUpload | undefined> {
    const stored = await this.ctx.storage.get<OldUpload>(UPLOAD);
    if (stored?.told === undefined) return stored;
    const { told, ...upload } = stored;
    return { ...upload, published: told };
  }

  async #finish(etag: string): Promise<StoredUpload | undefined> {
    const upload = await this.#change({ state: "complete", etag });
    if (this.env.SYNTHESISE_EVENTS === "true") await this.ctx.storage.setAlarm(Date.now() + PUBLISH_AGAIN_MS);
    return upload;
  }

  async #change(change: Partial<StoredUpload>): Promise<StoredUpload | undefined> {
    const upload = await this.#read();
    if (!upload) return undefined;
    const changed = { ...upload, ...change };
    await this.ctx.storage.put(UPLOAD, changed);
    return changed;
  }

  async #delete(): Promise<void> {
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }
}

function toPublicUpload({ uploadId: _, ...upload }: StoredUpload): Upload {
  return upload;
}

function completed(upload: StoredUpload | undefined): Completion {
  if (upload?.etag === undefined) return { outcome: "absent" };
  return { outcome: "complete", upload: { ...toPublicUpload(upload), etag: upload.etag } };
}

function findMissingParts(layout: PartLayout, parts: readonly StoredPart[]): number[] {
  const there = new Set(parts.map(({ n }) => n));
  const missing: number[] = [];
  for (let n = 1; n <= partCount(layout) && missing.length < NAMED_MISSING; n++)
    if (!there.has(n)) missing.push(n);
  return missing;
}
