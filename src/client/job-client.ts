import { z } from "zod";
import { type JobStatus, jobStatusSchema } from "../contracts/job-request.ts";
import { JobError } from "../orchestrator/errors.ts";
import { readAtMost } from "../storage/read-at-most.ts";
import { parseRetryAfter, RETRYABLE_STATUS, retry } from "../storage/retry.ts";
import {
  describeTransportError,
  hostAndPort,
  ServiceError,
  tryParseJson,
  undefinedIfNotFound,
} from "./errors.ts";
import { serverEvents } from "./events.ts";
import {
  completedFolderSchema,
  completionSchema,
  errorBodySchema,
  folderFilesSchema,
  folderSchema,
  healthSchema,
  listingSchema,
  type OutputFile,
  type RemoteUpload,
  uploadSchema,
} from "./schemas.ts";

export type { OutputFile, RemoteUpload } from "./schemas.ts";

export interface JobClientOptions {
  /** Bearer token of the service. */
  token?: string;
  signal?: AbortSignal;
  /** Told when something is about to be tried again. */
  onRetry?: (error: ServiceError, delayMs: number) => void;
  /** Wait before a second try. */
  firstDelayMs?: number;
}

/** Backoff of requests; doubled at each attempt. */
const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 20_000;
/** A minute or two, in which a service is started again. */
const ATTEMPTS = 8;
/** An address where nothing ever answered is more likely wrong. */
const FIRST_ATTEMPTS = 3;
/** Of a thousand files each: chunks of the largest label map are far fewer. */
const MAX_PAGES = 2000;
const HEALTH_TIMEOUT_MS = 10_000;
/** A page of a thousand files, or of a cohort's rows, has less. */
const MAX_ANSWER_BYTES = 64 * 2 ** 20;
const ANSWER_TIMEOUT_MS = 60_000;
/** Many parts take the storage a while to put together. */
const COMPLETE_TIMEOUT_MS = 300_000;
/** The largest part in this time is a tenth of a megabyte a second. */
const PART_TIMEOUT_MS = 600_000;
/** A stream that is silent for longer than its service lets it be is dead, though nobody said so. */
const SILENCE_TIMEOUT_MS = 90_000;

/** The job service over HTTP. What fails for a while is tried again; what it refuses is a `ServiceError`. */
export class JobClient {
  readonly url: URL;
  readonly #options: JobClientOptions;
  /** Whether the service has answered at all. */
  #reached = false;

  /** @throws {JobError} where `base` is no address */
  constructor(base: string, options: JobClientOptions = {}) {
    const url = URL.canParse(base) ? new URL(base) : undefined;
    if (!url || !/^https?:$/.test(url.protocol)) {
      throw new JobError(`--server ${base} is not an address: give one that begins with https:// or http://`);
    }
    if (url.username || url.password) {
      throw new JobError(
        "--server must not contain a password: give the token with --token or TILEWRIGHT_TOKEN",
      );
    }
    url.search = "";
    url.hash = "";
    if (!url.pathname.endsWith("/")) url.pathname += "/";
    this.url = url;
    this.#options = options;
  }

  /** @param upload `request`: null starts no job */
  async createUpload(upload: {
    name: string;
    byteLength: number;
    request: object | null;
  }): Promise<RemoteUpload> {
    const begun = await this.#json(uploadSchema, "POST", "v1/uploads", { body: JSON.stringify(upload) });
    if (begun.byteLength === upload.byteLength) return begun;
    throw this.#badAnswer("byteLength: it is another file's", false);
  }

  /** Undefined where the service does not know it (any more). */
  async upload(id: string): Promise<RemoteUpload | undefined> {
    return this.#json(uploadSchema, "GET", `v1/uploads/${id}`).catch(undefinedIfNotFound);
  }

  async putPart(id: string, n: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const body = { body: bytes, type: "application/octet-stream", timeoutMs: PART_TIMEOUT_MS };
    await this.#json(z.object({}), "PUT", `v1/uploads/${id}/parts/${n}`, body);
  }

  completeUpload(id: string): Promise<{ source: string; job?: string }> {
    const timeoutMs = COMPLETE_TIMEOUT_MS;
    return this.#json(completionSchema, "POST", `v1/uploads/${id}/complete`, { timeoutMs });
  }

  async abortUpload(id: string): Promise<void> {
    await this.#again(() => this.#request("DELETE", `v1/uploads/${id}`)).catch(undefinedIfNotFound);
  }

  /** @param request model and variant that its job will ask for, where they are named */
  createFolder(name: string, request?: { model?: string; variant?: string }): Promise<{ id: string }> {
    return this.#json(folderSchema, "POST", "v1/folders", { body: JSON.stringify({ name, request }) });
  }

  /** What the service has of a folder: the etag of each path. */
  async folderFiles(id: string): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    let cursor: string | undefined;
    let pages = 0;
    do {
      this.#checkPages(++pages);
      const query: string = cursor === undefined ? "" : `?cursor=${encodeURIComponent(cursor)}`;
      const page = await this.#json(folderFilesSchema, "GET", `v1/folders/${id}/files${query}`);
      for (const { path, etag } of page.files) found.set(path, etag);
      cursor = page.cursor;
    } while (cursor !== undefined);
    return found;
  }

  async putFile(id: string, path: string, bytes: Uint8Array<ArrayBuffer>, md5: Uint8Array): Promise<void> {
    const address = `v1/folders/${id}/files/${path.split("/").map(encodeURIComponent).join("/")}`;
    const headers = { "Content-MD5": Buffer.from(md5).toString("base64") };
    const body = { body: bytes, type: "application/octet-stream", headers, timeoutMs: PART_TIMEOUT_MS };
    await (await this.#again(() => this.#request("PUT", address, body))).body?.cancel();
  }

  /** @param etag of all files, by their MD5: see `prefixEtag` */
  completeFolder(
    id: string,
    folder: { name: string; etag: string; request: object | null },
  ): Promise<{ source: string; job?: string }> {
    const details = { body: JSON.stringify(folder), timeoutMs: COMPLETE_TIMEOUT_MS };
    return this.#json(completedFolderSchema, "POST", `v1/folders/${id}/complete`, details);
  }

  /** Starts a job, or finds the one that is there. */
  startJob(request: { source: string }): Promise<JobStatus> {
    return this.#json(jobStatusSchema, "POST", "v1/jobs", { body: JSON.stringify(request) });
  }

  status(job: string): Promise<JobStatus> {
    return this.#json(jobStatusSchema, "GET", `v1/jobs/${encodeURIComponent(job)}`);
  }

  async cancel(job: string): Promise<void> {
    const response = await this.#again(() => this.#request("DELETE", `v1/jobs/${encodeURIComponent(job)}`));
    await response.body?.cancel();
  }

  /** Removes all that the service keeps of a job that has ended. */
  remove(job: string): Promise<void> {
    return this.removeAt(`v1/jobs/${encodeURIComponent(job)}/data`);
  }

  /** Removes what lies under a path, which may be gone already: the answer to a try before may have been lost. */
  async removeAt(path: string): Promise<void> {
    try {
      const response = await this.#again(() =>
        this.#request("DELETE", path, { timeoutMs: COMPLETE_TIMEOUT_MS }),
      );
      await response.body?.cancel();
    } catch (error) {
      if (!(error instanceof ServiceError && error.status === 404)) throw error;
    }
  }

  /**
   * Statuses as the service sends them, until the stream ends or breaks; nothing is tried again.
   * @throws {ServiceError}
   */
  async *events(job: string): AsyncGenerator<JobStatus> {
    const silence = new AbortController();
    const given = this.#options.signal;
    const signal = given ? AbortSignal.any([given, silence.signal]) : silence.signal;
    const timer = setTimeout(() => silence.abort(), SILENCE_TIMEOUT_MS);
    const accept = { Accept: "text/event-stream" };
    try {
      const path = `v1/jobs/${encodeURIComponent(job)}/events`;
      const response = await this.#request("GET", path, { signal, headers: accept });
      if (!response.headers.get("Content-Type")?.startsWith("text/event-stream") || !response.body) {
        await response.body?.cancel();
        throw this.#badAnswer("it sends no events", false);
      }
      for await (const { event, data } of serverEvents(response.body, () => timer.refresh())) {
        if (event === "status") yield this.#parse(jobStatusSchema, data);
      }
    } catch (cause) {
      if (given?.aborted) throw given.reason;
      throw cause instanceof ServiceError ? cause : this.#unreachable(cause);
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
  }

  /** Why the service says that its jobs stand still; undefined where it is well. Asked once. @throws {ServiceError} */
  async health(): Promise<string | undefined> {
    const signal = AbortSignal.timeout(HEALTH_TIMEOUT_MS);
    const response = await fetch(new URL("healthz", this.url), { signal, redirect: "manual" }).catch(
      (cause: unknown) => {
        throw this.#unreachable(cause);
      },
    );
    const text = await this.#text(response);
    if (response.ok) return undefined;
    const parsed = healthSchema.safeParse(tryParseJson(text));
    return parsed.success ? parsed.data.reason : `it answers ${response.status}`;
  }

  /** Every file that a job has written. */
  async outputs(job: string): Promise<OutputFile[]> {
    const files: OutputFile[] = [];
    let cursor: string | undefined;
    let pages = 0;
    do {
      this.#checkPages(++pages);
      const query: string = cursor === undefined ? "" : `?cursor=${encodeURIComponent(cursor)}`;
      const page = await this.#json(
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
   * A file as it comes in, from `offset` on; a connection that breaks is taken up where it broke.
   * @throws {ServiceError} also where the file is not the one that was listed any more
   */
  async *output(job: string, { name, byteLength, etag }: OutputFile): AsyncGenerator<Uint8Array> {
    const path = `v1/jobs/${encodeURIComponent(job)}/outputs/${name.split("/").map(encodeURIComponent).join("/")}`;
    let offset = 0;
    let failures = 0;
    while (offset < byteLength) {
      const range = offset === 0 ? undefined : { Range: `bytes=${offset}-`, "If-Range": `"${etag}"` };
      // Of a compressed answer neither length nor etag would be the file's.
      const headers = { "Accept-Encoding": "identity", ...range };
      try {
        const response = await this.#again(() =>
          this.#request("GET", path, { headers, timeoutMs: PART_TIMEOUT_MS }),
        );
        if (response.headers.get("ETag") !== `"${etag}"` || response.status !== (range ? 206 : 200)) {
          await response.body?.cancel();
          throw this.#otherFile(name, "was replaced meanwhile; begin again", false);
        }
        for await (const chunk of response.body ?? []) {
          offset += chunk.length;
          if (offset > byteLength)
            throw this.#otherFile(name, "is longer than it was listed; begin again", false);
          failures = 0;
          yield chunk;
        }
        if (offset < byteLength) throw this.#otherFile(name, "ends too early; try again later", true);
      } catch (cause) {
        this.#options.signal?.throwIfAborted();
        const error = cause instanceof ServiceError ? cause : this.#unreachable(cause);
        // Waits between tries are those of the next request.
        if (!error.retryable || ++failures > 4) throw error;
      }
    }
  }

  /**
   * One question in JSON to a path below the service's address; what fails for a while is tried again.
   * @throws {ServiceError}
   */
  ask<T>(schema: z.ZodType<T>, method: string, path: string, body?: object): Promise<T> {
    return this.#json(schema, method, path, body && { body: JSON.stringify(body) });
  }

  async #json<T>(schema: z.ZodType<T>, method: string, path: string, init: RequestDetails = {}): Promise<T> {
    return this.#again(async () => {
      const response = await this.#request(method, path, init);
      const text = await this.#text(response);
      return this.#parse(schema, text);
    });
  }

  #checkPages(pages: number): void {
    if (pages > MAX_PAGES) throw this.#badAnswer(`a listing of more than ${MAX_PAGES} pages`, false);
  }

  /** The body, as far as an answer of the service may go. */
  async #text(response: Response): Promise<string> {
    const { bytes, more } = await readAtMost(response.body, MAX_ANSWER_BYTES).catch((cause: unknown) => {
      this.#options.signal?.throwIfAborted();
      throw this.#unreachable(cause);
    });
    if (more) throw this.#badAnswer(`it is longer than ${MAX_ANSWER_BYTES} bytes`, false);
    return new TextDecoder().decode(bytes);
  }

  #again<T>(call: () => Promise<T>): Promise<T> {
    const { signal, onRetry, firstDelayMs = FIRST_DELAY_MS } = this.#options;
    const attempts = this.#reached ? ATTEMPTS : FIRST_ATTEMPTS;
    return retry(call, { attempts, signal, onRetry, firstDelayMs, maxDelayMs: MAX_DELAY_MS });
  }

  /** One try. @returns an answer that is ok. @throws {ServiceError} else */
  async #request(method: string, path: string, details: RequestDetails = {}): Promise<Response> {
    const { body, type = "application/json", headers, timeoutMs = ANSWER_TIMEOUT_MS } = details;
    const { token, signal: given } = this.#options;
    const timeout = AbortSignal.timeout(timeoutMs);
    const signal = details.signal ?? (given ? AbortSignal.any([given, timeout]) : timeout);
    let response: Response;
    try {
      response = await fetch(new URL(path, this.url), {
        method,
        body,
        signal,
        // Not followed: a redirect could carry the token and the scan anywhere.
        redirect: "manual",
        headers: {
          ...(token ? { Authorization: `Bearer ${token}` } : {}),
          ...(body === undefined ? {} : { "Content-Type": type }),
          ...headers,
        },
      });
    } catch (cause) {
      if (given?.aborted) throw given.reason;
      throw this.#unreachable(cause);
    }
    this.#reached = true;
    if (response.ok) return response;
    throw await this.#refusal(response);
  }

  async #refusal(response: Response): Promise<ServiceError> {
    const { status, headers } = response;
    if (status >= 300 && status < 400) {
      await response.body?.cancel();
      return new ServiceError(`${this.url.host} redirects to another address: give that one to --server`, {
        code: "redirected",
        retryable: false,
        status,
      });
    }
    const parsed = errorBodySchema.safeParse(tryParseJson(await this.#text(response).catch(() => "")));
    const { code, message } = parsed.success
      ? parsed.data.error
      : { code: "bad_answer", message: `it answers ${status}; check that the job service is there` };
    const advice = status === 401 ? "; give it with --token or TILEWRIGHT_TOKEN" : "";
    return new ServiceError(`${this.url.host}: ${message}${advice}`, {
      code,
      status,
      // Two tries of ours met: the part is whole when it is sent once more.
      retryable: RETRYABLE_STATUS.has(status) || code === "part_overtaken",
      retryAfterMs: parseRetryAfter(headers.get("Retry-After"), Date.now()),
    });
  }

  #parse<T>(schema: z.ZodType<T>, text: string): T {
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch (cause) {
      throw this.#badAnswer("it is no JSON", false, cause);
    }
    const parsed = schema.safeParse(json);
    if (parsed.success) return parsed.data;
    const { path, message } = parsed.error.issues[0]!;
    throw this.#badAnswer(`${path.join(".")}: ${message}`, false);
  }

  #badAnswer(reason: string, retryable: boolean, cause?: unknown): ServiceError {
    return new ServiceError(`${this.url.host} does not answer as a job service of this version: ${reason}`, {
      code: "bad_answer",
      retryable,
      cause,
    });
  }

  #otherFile(name: string, reason: string, retryable: boolean): ServiceError {
    return new ServiceError(`${this.url.host}: ${name} ${reason}`, { code: "bad_answer", retryable });
  }

  #unreachable(cause: unknown): ServiceError {
    return new ServiceError(
      `cannot reach ${hostAndPort(this.url)} (${describeTransportError(cause)}); check the address and that the service runs`,
      { code: "unreachable", retryable: true, cause },
    );
  }
}

interface RequestDetails {
  body?: string | Uint8Array<ArrayBuffer>;
  /** Of the body. */
  type?: string;
  headers?: Record<string, string>;
  timeoutMs?: number;
  /** Instead of the client's own signal and a time limit. */
  signal?: AbortSignal;
}
