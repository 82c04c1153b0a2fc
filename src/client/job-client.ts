import * as z from "zod";
import {
  cohortPageSchema,
  type RemoteCohortPage,
  type RemoteCohortStatus,
} from "../contracts/cohort-request.ts";
import { type JobRequest, type JobState, type JobStatus, jobStatusSchema } from "../contracts/job-request.ts";
import { ServiceError, tryParseJson, undefinedIfNotFound } from "./errors.ts";
import { serverEvents } from "./events.ts";
import {
  completedFolderSchema,
  completedUploadSchema,
  folderFilesSchema,
  folderSchema,
  healthSchema,
  type JobPage,
  jobPageSchema,
  listingSchema,
  type OutputFile,
  type RemoteModel,
  type RemoteUpload,
  remoteModelSchema,
  remoteUploadSchema,
  type StatedRequest,
  statedRequestSchema,
} from "./schemas.ts";

import { type JobClientOptions, ServiceHttp } from "./service-http.ts";

export type { JobPage, OutputFile, RemoteModel, RemoteUpload, StatedRequest } from "./schemas.ts";

const HEALTH_TIMEOUT_MS = 10_000;
/** The storage needs a while to join many parts. */
const COMPLETE_TIMEOUT_MS = 300_000;
/** Allows the largest part at a tenth of a megabyte a second. */
const PART_TIMEOUT_MS = 600_000;
/** Treat an event stream as dead after this long without data: the service sends keep-alives more often. */
const SILENCE_TIMEOUT_MS = 90_000;

/** Client of the job service. It retries what fails for a while; what the service rejects is a `ServiceError`. */
export class JobClient {
  readonly url: URL;
  readonly #http: ServiceHttp;

  /** @throws {JobError} when `base` is not an address */
  constructor(base: string, options: JobClientOptions = {}) {
    this.#http = new ServiceHttp(base, options);
    this.url = this.#http.url;
  }

  /** @param upload `request`: null starts no job */
  async createUpload(upload: {
    name: string;
    byteLength: number;
    request: object | null;
  }): Promise<RemoteUpload> {
    const begun = await this.#http.json(remoteUploadSchema, "POST", "v1/uploads", {
      body: JSON.stringify(upload),
    });
    if (begun.byteLength === upload.byteLength) return begun;
    throw this.#http.unexpectedResponse("byteLength: it is another file's", false);
  }

  /** @returns undefined when the service does not have the upload, or no longer */
  async upload(id: string): Promise<RemoteUpload | undefined> {
    return this.#http.json(remoteUploadSchema, "GET", `v1/uploads/${id}`).catch(undefinedIfNotFound);
  }

  async putPart(id: string, n: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const body = { body: bytes, type: "application/octet-stream", timeoutMs: PART_TIMEOUT_MS };
    await this.#http.json(z.object({}), "PUT", `v1/uploads/${id}/parts/${n}`, body);
  }

  completeUpload(id: string): Promise<{ source: string; job?: string }> {
    const timeoutMs = COMPLETE_TIMEOUT_MS;
    return this.#http.json(completedUploadSchema, "POST", `v1/uploads/${id}/complete`, { timeoutMs });
  }

  async abortUpload(id: string): Promise<void> {
    await this.#http
      .withRetry(() => this.#http.request("DELETE", `v1/uploads/${id}`))
      .catch(undefinedIfNotFound);
  }

  /** @param request model and variant that its job will ask for, if they are named */
  createFolder(name: string, request?: { model?: string; variant?: string }): Promise<{ id: string }> {
    return this.#http.json(folderSchema, "POST", "v1/folders", { body: JSON.stringify({ name, request }) });
  }

  /** The files of a folder that the service has: the etag of each path. */
  async folderFiles(id: string): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    let cursor: string | undefined;
    let pages = 0;
    do {
      this.#http.checkPages(++pages);
      const query: string = cursor === undefined ? "" : `?cursor=${encodeURIComponent(cursor)}`;
      const page = await this.#http.json(folderFilesSchema, "GET", `v1/folders/${id}/files${query}`);
      for (const { path, etag } of page.files) found.set(path, etag);
      cursor = page.cursor;
    } while (cursor !== undefined);
    return found;
  }

  async putFile(id: string, path: string, bytes: Uint8Array<ArrayBuffer>, md5: Uint8Array): Promise<void> {
    const address = `v1/folders/${id}/files/${path.split("/").map(encodeURIComponent).join("/")}`;
    const headers = { "Content-MD5": btoa(String.fromCharCode(...md5)) };
    const body = { body: bytes, type: "application/octet-stream", headers, timeoutMs: PART_TIMEOUT_MS };
    await (await this.#http.withRetry(() => this.#http.request("PUT", address, body))).body?.cancel();
  }

  /** @param etag of all files, by their MD5: see `prefixEtag` */
  completeFolder(
    id: string,
    folder: { name: string; etag: string; request: object | null },
  ): Promise<{ source: string; job?: string }> {
    const details = { body: JSON.stringify(folder), timeoutMs: COMPLETE_TIMEOUT_MS };
    return this.#http.json(completedFolderSchema, "POST", `v1/folders/${id}/complete`, details);
  }

  /** Starts a job, or finds the existing one for the same request. */
  startJob(request: JobRequest): Promise<JobStatus> {
    return this.#http.json(jobStatusSchema, "POST", "v1/jobs", { body: JSON.stringify(request) });
  }

  /** The request that a job was created from, without its callback. `name`: last part of the source's address */
  request(job: string): Promise<StatedRequest> {
    return this.#http.json(statedRequestSchema, "GET", `v1/jobs/${encodeURIComponent(job)}/request`);
  }

  /** The model that jobs run. `cpuMsPerWindow`: what the service estimates costs with */
  model(): Promise<RemoteModel> {
    return this.#http.json(remoteModelSchema, "GET", "v1/model");
  }

  /** A page of jobs, newest first. @param query `text`: a part of the source's address */
  jobs(
    query: { limit?: number; cursor?: string; text?: string; states?: readonly JobState[] } = {},
  ): Promise<JobPage> {
    const { limit, cursor, text, states = [] } = query;
    const fields = new URLSearchParams(states.map((state): [string, string] => ["state", state]));
    for (const [name, value] of Object.entries({ limit, cursor, text }))
      if (value !== undefined) fields.set(name, String(value));
    return this.#http.json(jobPageSchema, "GET", `v1/jobs?${fields}`);
  }

  /** A page of cohorts, newest first. */
  cohorts(
    query: { limit?: number; cursor?: string; states?: readonly RemoteCohortStatus["state"][] } = {},
  ): Promise<RemoteCohortPage> {
    const { limit, cursor, states = [] } = query;
    const fields = new URLSearchParams(states.map((state): [string, string] => ["state", state]));
    for (const [name, value] of Object.entries({ limit, cursor }))
      if (value !== undefined) fields.set(name, String(value));
    return this.#http.json(cohortPageSchema, "GET", `v1/cohorts?${fields}`);
  }

  status(job: string): Promise<JobStatus> {
    return this.#http.json(jobStatusSchema, "GET", `v1/jobs/${encodeURIComponent(job)}`);
  }

  async cancel(job: string): Promise<void> {
    const response = await this.#http.withRetry(() =>
      this.#http.request("DELETE", `v1/jobs/${encodeURIComponent(job)}`),
    );
    await response.body?.cancel();
  }

  /** Starts a job again that failed or was cancelled. @returns it; another one if its scan was replaced meanwhile */
  retry(job: string): Promise<JobStatus> {
    return this.#http.json(jobStatusSchema, "POST", `v1/jobs/${encodeURIComponent(job)}/retry`);
  }

  /** Deletes the results and the record of a job that has ended. */
  delete(job: string): Promise<void> {
    return this.deletePath(`v1/jobs/${encodeURIComponent(job)}/data`);
  }

  /** Deletes a resource. 404 counts as success: the response to an earlier attempt may have been lost. */
  async deletePath(path: string): Promise<void> {
    try {
      const response = await this.#http.withRetry(() =>
        this.#http.request("DELETE", path, { timeoutMs: COMPLETE_TIMEOUT_MS }),
      );
      await response.body?.cancel();
    } catch (error) {
      if (!(error instanceof ServiceError && error.status === 404)) throw error;
    }
  }

  /**
   * Statuses as the service sends them, until the stream ends or breaks. No retries.
   * @throws {ServiceError}
   */
  async *events(job: string): AsyncGenerator<JobStatus> {
    const silence = new AbortController();
    const given = this.#http.options.signal;
    const signal = given ? AbortSignal.any([given, silence.signal]) : silence.signal;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const restart = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_TIMEOUT_MS);
    };
    restart();
    const accept = { Accept: "text/event-stream" };
    try {
      const path = `v1/jobs/${encodeURIComponent(job)}/events`;
      const response = await this.#http.request("GET", path, { signal, headers: accept });
      if (!response.headers.get("Content-Type")?.startsWith("text/event-stream") || !response.body) {
        await response.body?.cancel();
        throw this.#http.unexpectedResponse("it sends no events", false);
      }
      for await (const { event, data } of serverEvents(response.body, restart)) {
        if (event === "status") yield this.#http.parse(jobStatusSchema, data);
      }
    } catch (cause) {
      if (given?.aborted) throw given.reason;
      throw cause instanceof ServiceError ? cause : this.#http.unreachable(cause);
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
  }

  /** Asks, once, whether the service is healthy. @returns the reason if it is not @throws {ServiceError} */
  async health(): Promise<string | undefined> {
    const signal = AbortSignal.timeout(HEALTH_TIMEOUT_MS);
    const response = await fetch(new URL("healthz", this.url), { signal, redirect: "manual" }).catch(
      (cause: unknown) => {
        throw this.#http.unreachable(cause);
      },
    );
    const text = await this.#http.readText(response);
    if (response.ok) return undefined;
    const parsed = healthSchema.safeParse(tryParseJson(text));
    return parsed.success ? parsed.data.reason : `it answers ${response.status}`;
  }

  /** Lists every file that a job has written. */
  async outputs(job: string): Promise<OutputFile[]> {
    const files: OutputFile[] = [];
    let cursor: string | undefined;
    let pages = 0;
    do {
      this.#http.checkPages(++pages);
      const query: string = cursor === undefined ? "" : `?cursor=${encodeURIComponent(cursor)}`;
      const page = await this.#http.json(
        listingSchema,
        "GET",
        `v1/jobs/${encodeURIComponent(job)}/outputs${query}`,
      );
      files.push(...page.files);
      cursor = page.cursor;
    } while (cursor !== undefined);
    return files;
  }

  /**
   * Downloads a file as a stream. A broken connection is resumed where it broke.
   * @throws {ServiceError} also when the file is no longer the one that was listed
   */
  async *output(job: string, { name, byteLength, etag }: OutputFile): AsyncGenerator<Uint8Array> {
    const path = `v1/jobs/${encodeURIComponent(job)}/outputs/${name.split("/").map(encodeURIComponent).join("/")}`;
    let offset = 0;
    let failures = 0;
    while (offset < byteLength) {
      const range = offset === 0 ? undefined : { Range: `bytes=${offset}-`, "If-Range": `"${etag}"` };
      // A compressed response would have another length and etag.
      const headers = { "Accept-Encoding": "identity", ...range };
      try {
        const response = await this.#http.withRetry(() =>
          this.#http.request("GET", path, { headers, timeoutMs: PART_TIMEOUT_MS }),
        );
        if (response.headers.get("ETag") !== `"${etag}"` || response.status !== (range ? 206 : 200)) {
          await response.body?.cancel();
          throw this.#http.otherFile(name, "was replaced meanwhile; begin again", false);
        }
        for await (const chunk of response.body ?? []) {
          offset += chunk.length;
          if (offset > byteLength)
            throw this.#http.otherFile(name, "is longer than it was listed; begin again", false);
          failures = 0;
          yield chunk;
        }
        if (offset < byteLength) throw this.#http.otherFile(name, "ends too early; try again later", true);
      } catch (cause) {
        this.#http.options.signal?.throwIfAborted();
        const error = cause instanceof ServiceError ? cause : this.#http.unreachable(cause);
        // The next request waits before its own retries.
        if (!error.retryable || ++failures > 4) throw error;
      }
    }
  }

  /**
   * Sends JSON to a path below the service's address, with retries, and parses the response.
   * @throws {ServiceError}
   */
  requestJson<T>(schema: z.ZodType<T>, method: string, path: string, body?: object): Promise<T> {
    return this.#http.json(schema, method, path, body && { body: JSON.stringify(body) });
  }
}
