import { DurableObject } from "cloudflare:workers";
import type { Bindings } from "../context/bindings.ts";
import { type Multipart, PartsRefused, type StoredPart } from "./multipart.ts";
import { announceScan } from "./publish-upload-event.ts";
import { R2Multipart } from "./r2-multipart.ts";
import { S3Multipart } from "./s3-multipart.ts";
import { type Cut, keyOf, partCount, partLength, REQUEST_METADATA } from "./upload-plan.ts";
import { s3AccessOf, uploadSettingsOf } from "./upload-settings.ts";

/** What is asked for when an upload begins. */
export interface NewUpload extends Cut {
  id: string;
  name: string;
  presigned: boolean;
  /** JSON of the job that is to follow. */
  request?: string;
}

/** An upload as it is written down. */
export interface Upload extends Cut {
  id: string;
  bucket: string;
  key: string;
  presigned: boolean;
  state: "open" | "complete";
  createdAt: string;
  /** Of the whole object, once it is complete. */
  etag?: string;
  /** Whether the rest of the service knows that it is complete. */
  told?: boolean;
  /** The job that it started, or why it started none. */
  job?: string;
  refusal?: string;
}

/** An upload, and the parts that are there, in order. */
export interface UploadState extends Upload {
  done: number[];
}

/** The sending of one part, which another of the same part may overtake. */
export interface PartAttempt {
  upload: Upload;
  uploadId: string;
  attempt: number;
}

export type Completion =
  | { outcome: "complete"; upload: Upload & { etag: string } }
  /** No such upload, or it was given up. */
  | { outcome: "absent" }
  /** Parts that are not there or have a wrong size, the first ones. */
  | { outcome: "missing"; parts: number[] };

/** Everything the object stores; the storage's own id of the upload stays inside. */
type StoredUpload = Upload & { uploadId: string };

const UPLOAD = "upload";
/** An upload of which nothing was heard so long is given up; R2 does so by itself after the same time. */
const IDLE_MS = 7 * 24 * 3600 * 1000;
const TELL_AGAIN_MS = 15_000;
const NAMED_MISSING = 20;
const URLS_AT_A_TIME = 100;

/**
 * What is known of one upload: which parts are there, and what became of it. The object is named by the upload's id;
 * one that was never begun stores nothing. Bytes never pass through here.
 */
export class UploadLedger extends DurableObject<Bindings> {
  protected readonly idleMs: number = IDLE_MS;
  #completing: Promise<Completion> | undefined;

  async create({ id, name, byteLength, partBytes, presigned, request }: NewUpload): Promise<UploadState> {
    const { bucket } = uploadSettingsOf(this.env);
    const key = keyOf(id, name);
    const metadata: Record<string, string> = request === undefined ? {} : { [REQUEST_METADATA]: request };
    const uploadId = await this.#storage(presigned).create(key, metadata);
    const createdAt = new Date().toISOString();
    const cut = { byteLength, partBytes };
    const upload: StoredUpload = { id, bucket, key, ...cut, presigned, uploadId, state: "open", createdAt };
    this.ctx.storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS parts (n INTEGER PRIMARY KEY, attempt INTEGER NOT NULL, etag TEXT, at INTEGER NOT NULL)",
    );
    await this.ctx.storage.put(UPLOAD, upload);
    await this.ctx.storage.setAlarm(Date.now() + this.idleMs);
    return { ...publicPart(upload), done: [] };
  }

  async read(): Promise<UploadState | undefined> {
    const upload = await this.#read();
    if (!upload) return undefined;
    if (upload.state === "complete") {
      return { ...publicPart(upload), done: Array.from({ length: partCount(upload) }, (_, i) => i + 1) };
    }
    return { ...publicPart(upload), done: (await this.#parts(upload)).map(({ n }) => n) };
  }

  /** Part `n` is about to be sent. The attempt is 0 where the upload does not take it so. */
  async begin(n: number, byteLength: number): Promise<PartAttempt | undefined> {
    const upload = await this.#read();
    if (!upload) return undefined;
    const { uploadId } = upload;
    if (upload.state === "complete" || upload.presigned || partLength(upload, n) !== byteLength) {
      return { upload: publicPart(upload), uploadId, attempt: 0 };
    }
    const { attempt } = this.ctx.storage.sql
      .exec<{ attempt: number }>(
        "INSERT INTO parts VALUES (?, 1, NULL, ?) ON CONFLICT (n) DO UPDATE SET attempt = attempt + 1, at = excluded.at RETURNING attempt",
        n,
        Date.now(),
      )
      .one();
    return { upload: publicPart(upload), uploadId, attempt };
  }

  /**
   * Part `n` was stored. False where the same part was being sent a second time meanwhile: which of both the storage
   * kept is not known then, so it counts as not there.
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

  /** Addresses for the first hundred parts from part `from` on that are not there. */
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

  /** Makes the parts one object. Once it is, the answer stays the same. */
  async complete(): Promise<Completion> {
    // Two that come at once wait for one: the second would find the upload gone.
    this.#completing ??= this.#complete().finally(() => {
      this.#completing = undefined;
    });
    return this.#completing;
  }

  /** The rest of the service knows that the upload is complete. */
  async told(job: string | undefined): Promise<void> {
    await this.#change({ told: true, ...(job === undefined ? {} : { job }) });
  }

  /** What came of the upload: the job that it started, or the sentence that says why it started none. */
  async conclude(outcome: { job: string } | { refusal: string }): Promise<void> {
    await this.#change(outcome);
  }

  /** Gives the upload up. @returns its state before, undefined where there was none */
  async abort(): Promise<Upload["state"] | undefined> {
    const upload = await this.#read();
    if (upload?.state === "open") {
      await this.#storage(upload.presigned).abort(upload.key, upload.uploadId);
      await this.#forget();
    }
    return upload?.state;
  }

  override async alarm(): Promise<void> {
    const upload = await this.#read();
    if (!upload) return;
    if (await this.#tellAgain(upload)) return;
    const since = Math.max(Date.parse(upload.createdAt), await this.#lastHeard(upload));
    if (Date.now() - since < this.idleMs) return this.ctx.storage.setAlarm(since + this.idleMs);
    if (upload.state === "open") await this.#storage(upload.presigned).abort(upload.key, upload.uploadId);
    await this.#forget();
  }

  async #complete(): Promise<Completion> {
    const upload = await this.#read();
    if (!upload) return { outcome: "absent" };
    if (upload.state === "complete") return completed(upload);
    const storage = this.#storage(upload.presigned);
    try {
      const parts = await this.#parts(upload);
      const missing = missingOf(upload, parts);
      if (missing.length > 0) return { outcome: "missing", parts: missing };
      const { etag } = await storage.complete(upload.key, upload.uploadId, parts);
      return completed(await this.#finish(etag));
    } catch (error) {
      // A try before may have got so far and no further. The key is this upload's alone, so what lies there is its.
      const found = await storage.head(upload.key);
      if (found?.byteLength === upload.byteLength) {
        return completed(await this.#finish(found.etag));
      }
      if (!(error instanceof PartsRefused)) throw error;
      if (error.missing === "upload") {
        await this.#forget();
        return { outcome: "absent" };
      }
      // Which of them the storage holds is not told: all must be sent again.
      this.ctx.storage.sql.exec("DELETE FROM parts");
      return { outcome: "missing", parts: missingOf(upload, []) };
    }
  }

  /** A synthesised event may be lost with the local queue that held it: it is told until something comes of it. */
  async #tellAgain({ state, job, refusal, ...scan }: StoredUpload): Promise<boolean> {
    if (this.env.SYNTHESISE_EVENTS !== "true" || state !== "complete" || job || refusal) return false;
    await announceScan({ ...scan, etag: scan.etag! }, this.env);
    await this.ctx.storage.setAlarm(Date.now() + TELL_AGAIN_MS);
    return true;
  }

  /** Parts that are there with their right size, in order. */
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

  async #lastHeard(upload: StoredUpload): Promise<number> {
    // Of parts that go to the storage directly nothing is heard: the time counts from the beginning.
    if (upload.presigned) return 0;
    return this.ctx.storage.sql.exec<{ at: number | null }>("SELECT max(at) AS at FROM parts").one().at ?? 0;
  }

  #storage(presigned: boolean): Multipart {
    return presigned ? this.#s3() : new R2Multipart(uploadSettingsOf(this.env).scans);
  }

  #s3(): S3Multipart {
    const access = s3AccessOf(this.env);
    if (!access) throw new Error("presigned uploads are not set up any more");
    return new S3Multipart(access);
  }

  #read(): Promise<StoredUpload | undefined> {
    return this.ctx.storage.get<StoredUpload>(UPLOAD);
  }

  async #finish(etag: string): Promise<StoredUpload | undefined> {
    const upload = await this.#change({ state: "complete", etag });
    if (this.env.SYNTHESISE_EVENTS === "true") await this.ctx.storage.setAlarm(Date.now() + TELL_AGAIN_MS);
    return upload;
  }

  async #change(change: Partial<StoredUpload>): Promise<StoredUpload | undefined> {
    const upload = await this.#read();
    if (!upload) return undefined;
    const changed = { ...upload, ...change };
    await this.ctx.storage.put(UPLOAD, changed);
    return changed;
  }

  async #forget(): Promise<void> {
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }
}

function publicPart({ uploadId: _, ...upload }: StoredUpload): Upload {
  return upload;
}

function completed(upload: StoredUpload | undefined): Completion {
  if (upload?.etag === undefined) return { outcome: "absent" };
  return { outcome: "complete", upload: { ...publicPart(upload), etag: upload.etag } };
}

function missingOf(cut: Cut, parts: readonly StoredPart[]): number[] {
  const there = new Set(parts.map(({ n }) => n));
  const missing: number[] = [];
  for (let n = 1; n <= partCount(cut) && missing.length < NAMED_MISSING; n++)
    if (!there.has(n)) missing.push(n);
  return missing;
}
